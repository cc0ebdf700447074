//! The foundation stream: the source, with maps and values as further outputs.

use super::sketch::Sketch;
use super::survey::{CrossAttention, Survey};
use super::value::{Extent, value_info};
use super::{Result, tap};
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::{Model, NodeBuilder};

/// Adds `infusion.{i}.probs` and `infusion.{i}.value` of every layer to `model`.
pub fn emit(mut model: Model, survey: &Survey) -> Result<Model> {
    let mut sketch = Sketch::new(&mut model);
    for layer in &survey.layers {
        sketch.enter_layer(layer.index);
        let found = [tap::probs(&mut sketch, survey, layer)?, tap::value(&mut sketch, survey, layer)?];
        for (tensor, info) in found.iter().zip(maps(survey, layer)) {
            sketch.draw_as(info.name(), NodeBuilder::new("Identity").input(tensor))?;
            sketch.graph.outputs_mut().push(info);
        }
    }
    Ok(model)
}

/// `infusion.{i}.probs` [B,H,N,L] and `infusion.{i}.value` [B,L,d] as graph inputs or outputs.
pub fn maps(survey: &Survey, layer: &CrossAttention) -> [ValueInfoProto; 2] {
    let (i, elem) = (layer.index, survey.float_type);
    let query = format!("infusion.{i}.query");
    let [rows, tokens, _] = extents();
    let probs = [rows.clone(), Extent::Fixed(layer.heads), Extent::Free(&query), tokens.clone()];
    let value = [rows, tokens, Extent::Fixed(layer.width)];
    [value_info(&format!("infusion.{i}.probs"), elem, &probs), value_info(&format!("infusion.{i}.value"), elem, &value)]
}

/// The free extents B, L and S of this module's inputs and outputs.
pub fn extents() -> [Extent<'static>; 3] {
    ["infusion.batch", "infusion.tokens", "infusion.slots"].map(Extent::Free)
}
