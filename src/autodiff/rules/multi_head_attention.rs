use super::attention::through_attention;
use super::packed_attention;
use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::NodeExt;

/// `com.microsoft.MultiHeadAttention` with query, key and value `[B,N,D]`, or packed, and nothing else;
/// probabilities are computed again.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    if step.emit.shapes.rank(step.input(0)?) == Some(5) {
        return packed_attention::multi_head(step);
    }
    if (3..step.node.input.len()).any(|slot| step.node.input_name(slot).is_some()) {
        return Err(step.unsupported("biases, masks or caches"));
    }
    if (1..4).any(|slot| step.grad_of(slot).is_some()) {
        return Err(step.unsupported("its caches or scores are used"));
    }
    let plain = (0..3).all(|slot| step.node.input_name(slot).and_then(|name| step.emit.shapes.rank(name)) == Some(3));
    if !plain {
        return Err(step.unsupported("packed query, key and value"));
    }
    let heads = step.node.attr_int("num_heads").ok_or_else(|| step.unsupported("num_heads is missing"))?;
    through_attention(step, Some(heads), step.node.attr_float("scale"))
}
