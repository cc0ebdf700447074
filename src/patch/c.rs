//! The customised stream on its own: maps and values come from outside.

use super::sketch::Sketch;
use super::survey::Survey;
use super::{Result, f, splice};
use crate::onnx::{Model, NodeBuilder, NodeExt, NodeId};

/// Replaces every cross-attention of `model` by `infusion.{i}.probs` · `infusion.{i}.value`, and
/// drops what nothing needs any more.
pub fn emit(mut model: Model, survey: &Survey) -> Result<Model> {
    let mut sketch = Sketch::new(&mut model);
    for layer in &survey.layers {
        sketch.enter_layer(layer.index);
        let [probs, value] = f::maps(survey, layer);
        let attended = splice::attended(&mut sketch, survey, layer, probs.name(), value.name())?;
        splice::reroute(&mut sketch, layer, &attended)?;
        sketch.graph.inputs_mut().extend([probs, value]);
    }
    sketch.leave_layer();
    sketch.graph.remove_dead();
    forget_context(&mut sketch, survey)?;
    Ok(model)
}

/// Takes rows and tokens from a value where only a shape of the context, or of something as long,
/// is still asked for, and drops the context once nothing reads it.
fn forget_context(sketch: &mut Sketch, survey: &Survey) -> Result<()> {
    let context = &survey.context_input;
    let asking: Vec<NodeId> = sketch.graph.nodes().map(|(id, _)| id).collect();
    for id in asking {
        let node = sketch.graph.node(id).clone();
        let (Some(asked), Some(output)) = (node.input_name(0), node.output_name(0)) else { continue };
        let of_context = survey.flow.is_data(asked) && survey.flow.sources(asked) == survey.flow.sources(context);
        if !(node.is("Shape") && of_context) {
            continue;
        }
        let Some(width) = width_as_long_as(survey, asked) else { continue };
        let sizes = sketch.sizes("infusion.0.value", 0, 2)?;
        let width = sketch.ints(&[width])?;
        let shape = sketch.concat(&[sizes, width], 0)?;
        let (start, end) = (node.attr_int("start").unwrap_or(0), node.attr_int("end").unwrap_or(3));
        let (start, end, axis) = (sketch.ints(&[start])?, sketch.ints(&[end])?, sketch.ints(&[0])?);
        sketch.graph.remove(id);
        sketch.draw_as(output, NodeBuilder::new("Slice").inputs([&shape, &start, &end, &axis]))?;
    }
    sketch.graph.remove_dead();
    if sketch.graph.consumers(context).is_empty() {
        sketch.graph.inputs_mut().retain(|input| input.name() != context);
    }
    Ok(())
}

/// The last extent of a tensor that has the context's rows and tokens, if it is a number.
fn width_as_long_as(survey: &Survey, tensor: &str) -> Option<i64> {
    match (survey.shapes.shape(tensor)?, survey.shapes.shape(&survey.context_input)?) {
        ([rows, tokens, width], [same_rows, same_tokens, _]) if rows == same_rows && tokens == same_tokens => {
            width.known()
        }
        _ => None,
    }
}
