use super::layout::{Axis, Layout};
use super::rows::{Counts, Customised};
use super::sketch::Sketch;
use super::survey::{CrossAttention, Survey};
use super::tap::value_layout;
use super::{Result, correction};
use crate::onnx::{NodeExt, NodeId};

/// [B,H,N,w].
const RESULT: [Axis; 4] = [Axis::Rows, Axis::Heads, Axis::Query, Axis::Width];

/// probs · value, laid out and typed as what leaves `layer`: M V of [B,H,N,L] and [B,L,d].
pub fn attended(
    sketch: &mut Sketch,
    survey: &Survey,
    layer: &CrossAttention,
    probs: &str,
    value: &str,
) -> Result<String> {
    let by_head = Layout::spread(&[Axis::Rows, Axis::Heads, Axis::Tokens, Axis::Width]);
    let value = sketch.arrange(value, &value_layout(), &by_head, &layer.attention.sizes)?;
    let result = sketch.binary("MatMul", probs, &value)?;
    leaving(sketch, survey, layer, &result)
}

/// `result` [B,H,N,w] as what leaves `layer`.
pub fn leaving(sketch: &mut Sketch, survey: &Survey, layer: &CrossAttention, result: &str) -> Result<String> {
    let exit = &layer.attention.exit;
    let laid_out = sketch.arrange(result, &Layout::spread(&RESULT), &exit.layout, &layer.attention.sizes)?;
    let elem = survey.shapes.elem_type(&exit.tensor).unwrap_or(survey.float_type);
    Ok(sketch.cast(&laid_out, survey.float_type, elem)?)
}

/// Continues every layer with F's rows, then C's.
pub fn both(sketch: &mut Sketch, survey: &Survey, counts: &Counts, rows: &Customised) -> Result<()> {
    let mask = correction::mask(sketch, survey, counts)?;
    for (layer, offset) in survey.layers.iter().zip(survey.offsets()) {
        sketch.enter_layer(layer.index);
        let exit = &layer.attention.exit.tensor;
        let readers = readers_of_data(sketch, exit);
        let streams = correction::streams(sketch, survey, layer, offset, &mask, rows)?;
        let both = sketch.concat(&streams, 0)?;
        sketch.graph.replace_uses(exit, &both, |id| !readers.contains(&id))?;
    }
    sketch.leave_layer();
    Ok(())
}

/// The present readers of `tensor`, but for those that ask for its shape only.
fn readers_of_data(sketch: &Sketch, tensor: &str) -> Vec<NodeId> {
    let readers = sketch.graph.consumers(tensor).iter().copied();
    readers.filter(|id| !sketch.graph.node(*id).is("Shape")).collect()
}

/// Makes all readers of what leaves `layer` read `tensor` instead.
pub fn reroute(sketch: &mut Sketch, layer: &CrossAttention, tensor: &str) -> Result<()> {
    Ok(sketch.graph.replace_uses(&layer.attention.exit.tensor, tensor, |_| false)?)
}
