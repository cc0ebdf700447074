//! Layers by name: tensor names, order, and Δ side by side as a graph wants it.

use std::cmp::Ordering;

use ndarray::{Array2, s};

use super::{Concept, Error, Result};

const PREFIX: &str = "unet.";
const SUFFIX: &str = ".attn2.to_v.infusion_delta";

/// A cross-attention layer of the model that a concept is to be used with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSpec {
    /// Its path in diffusers' naming, e.g. `mid_block.attentions.0.transformer_blocks.0`; a leading
    /// `unet.` and a trailing `.attn2` or `.attn2.to_v` make no difference.
    pub module_path: String,
    /// The width `d` of its value rows.
    pub width: usize,
}

/// The name of a layer's tensor in a concept file.
pub(super) fn tensor_name(module_path: &str) -> String {
    format!("{PREFIX}{module_path}{SUFFIX}")
}

/// The module path in a tensor's name, if it is the name of a Δ.
pub(super) fn module_path(tensor: &str) -> Option<&str> {
    tensor.strip_prefix(PREFIX)?.strip_suffix(SUFFIX).filter(|path| !path.is_empty())
}

/// The one spelling of a module path that layers are compared in.
pub(super) fn canonical(module_path: &str) -> &str {
    let path = module_path.strip_prefix(PREFIX).unwrap_or(module_path);
    let path = path.strip_suffix(".to_v").unwrap_or(path);
    path.strip_suffix(".attn2").unwrap_or(path)
}

/// Names in the order that people count in: `blocks.2` before `blocks.10`. For diffusers' UNets
/// (`down_blocks`, `mid_block`, `up_blocks`) this is the order of execution.
pub(super) fn natural_order(a: &str, b: &str) -> Ordering {
    let key = |name: &str| name.split('.').map(|part| (part.parse::<u64>().ok(), part.to_owned())).collect::<Vec<_>>();
    key(a).cmp(&key(b))
}

impl Concept {
    /// Δ of a layer, `[T, d]`.
    pub fn layer(&self, module_path: &str) -> Option<&Array2<f32>> {
        let wanted = canonical(module_path);
        self.layers.get(wanted).or_else(|| {
            let mut others = self.layers.iter().filter(|(path, _)| canonical(path) == wanted);
            others.next().map(|(_, delta)| delta)
        })
    }

    /// The layers in natural order, with their widths: the order of execution of diffusers' UNets.
    pub fn layer_specs(&self) -> Vec<LayerSpec> {
        let spec =
            |(path, delta): (&String, &Array2<f32>)| LayerSpec { module_path: path.clone(), width: delta.ncols() };
        let mut specs: Vec<_> = self.layers.iter().map(spec).collect();
        specs.sort_by(|a, b| natural_order(&a.module_path, &b.module_path));
        specs
    }

    /// Δ of all `layers` side by side, `[T, D]` with D = Σ d: T rows of the graph's `infusion.delta`.
    ///
    /// Fails where the concept lacks one of the layers, has one more, or has another width.
    pub fn matrix(&self, layers: &[LayerSpec]) -> Result<Array2<f32>> {
        let width = layers.iter().map(|layer| layer.width).sum();
        let mut matrix = Array2::zeros((self.tokens(), width));
        let mut column = 0;
        for spec in layers {
            let delta = self.layer(&spec.module_path).ok_or_else(|| {
                Error::layer(self.origin(), &spec.module_path, "the model has it, the concept does not")
            })?;
            if delta.dim() != (self.tokens(), spec.width) {
                let (tokens, width) = delta.dim();
                let reason = format!(
                    "Δ is [{tokens}, {width}], but [{}, {}] is needed: it was learned on another model",
                    self.tokens(),
                    spec.width
                );
                return Err(Error::layer(self.origin(), &spec.module_path, reason));
            }
            matrix.slice_mut(s![.., column..column + spec.width]).assign(delta);
            column += spec.width;
        }
        let known = |path: &str| layers.iter().any(|spec| canonical(&spec.module_path) == canonical(path));
        if let Some(path) = self.layers.keys().find(|path| !known(path)) {
            return Err(Error::layer(self.origin(), path, "the concept has it, the model does not"));
        }
        Ok(matrix)
    }
}
