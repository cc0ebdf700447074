//! Δ in front of the value projection, as text features are wide, folded through W_V.
//!
//! The paper's §5.1 gives Δ the width of the text encoder (768), added to τ(y)'s row before W_V. Since
//! (τ(y) + δ) W_V = τ(y) W_V + δ W_V, it is the same as Δ = δ W_V behind it, exactly.

use std::path::Path;

use indexmap::IndexMap;
use ndarray::Array2;

use super::container;
use super::layers::{canonical, module_path};
use super::read::{floats, read_small};
use super::{Error, Result};

/// A residual δ as wide as the text encoder's features, `[T, text width]`.
#[derive(Debug, Clone, PartialEq)]
pub enum TextDelta {
    /// The same in front of every layer.
    Same(Array2<f32>),
    /// Module path → its own.
    Layers(IndexMap<String, Array2<f32>>),
}

/// The value projection of a layer.
#[derive(Debug, Clone)]
pub struct ValueWeight {
    /// The layer's path, as in [`LayerSpec`](super::LayerSpec).
    pub module_path: String,
    /// W_V, `[text width, d]`: V = τ(y) W_V.
    pub weight: Array2<f32>,
}

impl TextDelta {
    /// Reads δ from a safetensors file: one tensor of any name for all layers, or one a layer, named
    /// `unet.<module path>.attn2.to_v.infusion_delta` or `<module path>`. Metadata is not needed.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bytes(&read_small(path)?, &path.display().to_string())
    }

    /// The same from the bytes of a file; `origin` is how messages name it.
    pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<Self> {
        let contents = container::decode(origin, bytes)?;
        let mut layers = IndexMap::new();
        for (name, tensor) in &contents.tensors {
            let fail = |reason: String| Error::invalid(origin, format!("tensor '{name}'"), reason);
            let (tokens, width) = match *tensor.shape.as_slice() {
                [width] => (1, width),
                [tokens, width] => (tokens, width),
                _ => return Err(fail(format!("is of shape {:?}, where [T, text width] is expected", tensor.shape))),
            };
            let values = floats(origin, name, tensor)?;
            let delta = Array2::from_shape_vec((tokens, width), values).map_err(|e| fail(e.to_string()))?;
            if delta.is_empty() {
                return Err(fail("is empty".into()));
            }
            layers.insert(module_path(name).unwrap_or(canonical(name)).to_owned(), delta);
        }
        let names_a_layer = |name: &str| name.contains("_block");
        match layers.pop() {
            None => Err(Error::invalid(origin, "tensors", "there are none")),
            Some((name, delta)) if layers.is_empty() && !names_a_layer(&name) => Ok(Self::Same(delta)),
            Some((name, delta)) => {
                layers.insert(name, delta);
                Ok(Self::Layers(layers))
            }
        }
    }

    /// Δ = δ W_V of every layer, `[T, d]`, summed in float64.
    ///
    /// Fails where a layer has no δ, δ has no layer, or the widths differ; `origin` names δ's file.
    pub fn fold(&self, weights: &[ValueWeight], origin: &str) -> Result<IndexMap<String, Array2<f32>>> {
        if let Self::Layers(layers) = self {
            let known = |path: &str| weights.iter().any(|w| canonical(&w.module_path) == canonical(path));
            if let Some(path) = layers.keys().find(|path| !known(path)) {
                return Err(Error::layer(origin, path, "the model has no such layer"));
            }
        }
        let mut folded = IndexMap::new();
        for ValueWeight { module_path, weight } in weights {
            let path = canonical(module_path);
            let delta =
                self.of(path).ok_or_else(|| Error::layer(origin, path, "the model has it, the file does not"))?;
            if delta.ncols() != weight.nrows() {
                let reason = format!("δ is {} wide, but the text features are {}", delta.ncols(), weight.nrows());
                return Err(Error::layer(origin, path, reason));
            }
            let product = delta.mapv(f64::from).dot(&weight.mapv(f64::from));
            folded.insert(path.to_owned(), product.mapv(|value| value as f32));
        }
        Ok(folded)
    }

    fn of(&self, path: &str) -> Option<&Array2<f32>> {
        match self {
            Self::Same(delta) => Some(delta),
            Self::Layers(layers) => layers.iter().find(|(name, _)| canonical(name) == path).map(|(_, delta)| delta),
        }
    }
}
