//! Graphs whose every input must be fed, for what is compiled ahead: an engine would take a default for a
//! constant, and Δ would have no effect.

use super::correction::{DELTA, MASK};
use super::shared::ROWS;
use crate::onnx::Model;

/// Takes the defaults of the optional inputs away; answers whether there were any.
pub fn drop_defaults(model: &mut Model) -> bool {
    let initializers = model.graph.initializers_mut();
    let before = initializers.len();
    initializers.retain(|name, _| ![MASK, DELTA, ROWS].contains(&name.as_str()));
    initializers.len() < before
}
