use std::collections::BTreeMap;

use prost::Message;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Result, Survey, Variant, base_model_hash};
use crate::onnx::{DataType, Model};

/// What `<stem>.infusion.json` says of the graphs beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the graph contract.
    pub version: u32,
    /// What the graphs were made of.
    pub source: Source,
    /// The element type of maps, values, masks and Δ, e.g. `float16`.
    pub float_type: String,
    /// The graph input that holds the prompt's hidden states.
    pub context: String,
    /// The layers in execution order.
    pub layers: Vec<Layer>,
    /// `sha256:…` over the value projections, by which concept files know their model; absent where
    /// they cannot be read from the graph.
    pub base_model_hash: Option<String>,
    /// Whether attention was written as `com.microsoft.MultiHeadAttention`, which not every provider knows.
    #[serde(default)]
    pub fused: bool,
    /// Variant → file name.
    pub graphs: BTreeMap<String, String>,
    /// All files that were written with this one: graphs, and weights linked or copied for them.
    pub files: Vec<String>,
}

/// The exported model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its file name.
    pub file: String,
    /// `sha256:…` over the graph without its weights.
    pub hash: String,
}

/// One cross-attention layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its number in execution order.
    pub index: usize,
    /// Its module in the diffusers library.
    pub module_path: String,
    /// H.
    pub heads: usize,
    /// d, the width of its value rows.
    pub width: usize,
    /// How the probabilities lie in the source, e.g. `[B*H,N,L]`, or `fused`.
    pub probs: String,
    /// The recipe that describes it.
    pub dialect: String,
}

impl Manifest {
    /// The version of the graph contract that this library writes.
    pub const VERSION: u32 = 1;

    /// Describes `survey` of `model`; the graphs and files are still to be filled in.
    ///
    /// # Errors
    /// Weights that cannot be read.
    pub fn describe(model: &Model, survey: &Survey) -> Result<Self> {
        let layer = |layer: &super::CrossAttention| Layer {
            index: layer.index,
            module_path: layer.module_path.clone(),
            heads: layer.heads,
            width: layer.width,
            probs: layer.probs_layout(),
            dialect: layer.dialect.clone(),
        };
        let file = model.path().and_then(|path| path.file_name()).unwrap_or_default();
        Ok(Self {
            version: Self::VERSION,
            source: Source { file: file.to_string_lossy().into_owned(), hash: graph_hash(model)? },
            float_type: float_name(survey.float_type).to_owned(),
            context: survey.context_input.clone(),
            layers: survey.layers.iter().map(layer).collect(),
            base_model_hash: base_model_hash(model, survey)?,
            fused: false,
            graphs: BTreeMap::new(),
            files: Vec::new(),
        })
    }

    /// The file name of `variant` of a source whose file is called `<stem>.onnx`.
    pub fn graph_name(stem: &str, variant: Variant) -> String {
        format!("{stem}.{variant}.onnx")
    }

    /// The manifest's own file name.
    pub fn file_name(stem: &str) -> String {
        format!("{stem}.infusion.json")
    }
}

fn float_name(element: DataType) -> &'static str {
    match element {
        DataType::Float16 => "float16",
        DataType::Bfloat16 => "bfloat16",
        DataType::Double => "float64",
        _ => "float32",
    }
}

/// `sha256:…` over the model without the contents of its initializers.
fn graph_hash(model: &Model) -> Result<String> {
    let mut proto = model.to_proto()?;
    for tensor in proto.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
        tensor.raw_data = None;
        tensor.float_data.clear();
    }
    Ok(prefixed(&Sha256::digest(proto.encode_to_vec())))
}

/// A hash as text.
pub(super) fn prefixed(hash: &[u8]) -> String {
    hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
