use super::anchor::{Part, Place};
use super::flow::DataFlow;
use super::layout::Sizes;
use crate::onnx::DataType;
use crate::onnx::infer::Shapes;

/// What [`find`](super::find) found in a model.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The graph input that holds the prompt's hidden states, `[B,L,d]`.
    pub context_input: String,
    /// The element type of that input, which is also that of maps, values, masks and Δ.
    pub float_type: DataType,
    /// The cross-attention layers in execution order.
    pub layers: Vec<CrossAttention>,
    /// The self-attention layers in execution order.
    pub self_attention: Vec<Attention>,
    /// What looks like attention but was not taken.
    pub near_misses: Vec<NearMiss>,
    pub(super) flow: DataFlow,
    pub(super) shapes: Shapes,
}

/// One cross-attention layer.
#[derive(Clone, Debug)]
pub struct CrossAttention {
    /// Its number in execution order.
    pub index: usize,
    /// Its module in the diffusers library, e.g. `down_blocks.0.attentions.0.transformer_blocks.0.attn2`.
    pub module_path: String,
    /// The recipe that describes it.
    pub dialect: String,
    /// H.
    pub heads: usize,
    /// d, the width of its value rows over all heads.
    pub width: usize,
    /// Where everything is.
    pub attention: Attention,
}

/// An attention layer of either kind.
#[derive(Clone, Debug)]
pub struct Attention {
    /// Its anchors: one, or one for each head or run of rows, in order.
    pub parts: Vec<Part>,
    /// The sizes over all parts.
    pub sizes: Sizes,
    /// What leaves the layer towards its output projection: the last tensor that is still
    /// nothing but probabilities · values.
    pub exit: Place,
}

/// An attention that was not taken.
#[derive(Clone, Debug, serde::Serialize)]
pub struct NearMiss {
    /// The node that looked like one.
    pub node: String,
    /// Why it was not taken.
    pub reason: String,
    /// Whether Q and K come from different data, so that a layer to patch may have been missed.
    pub cross: bool,
}

impl CrossAttention {
    /// How the probabilities lie in the model, e.g. `[B*H,N,L]`, or `fused`.
    pub fn probs_layout(&self) -> String {
        let probs = self.attention.parts.first().and_then(|part| part.probs.as_ref());
        probs.map_or_else(|| "fused".to_owned(), |probs| probs.layout.to_string())
    }
}

impl Survey {
    /// D, the length of one row of `infusion.delta`: all layers' widths together.
    pub fn total_width(&self) -> usize {
        self.layers.iter().map(|layer| layer.width).sum()
    }

    /// Where each layer's slice of a row of `infusion.delta` begins.
    pub fn offsets(&self) -> Vec<usize> {
        let ends = self.layers.iter().scan(0, |end, layer| {
            let start = *end;
            *end += layer.width;
            Some(start)
        });
        ends.collect()
    }
}
