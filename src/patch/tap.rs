use super::Result;
use super::anchor::{Part, Place};
use super::layout::{Axis, Layout, Sizes};
use super::recipe::Parts;
use super::sketch::Sketch;
use super::survey::{CrossAttention, Survey};
use crate::onnx::infer::Shapes;
use crate::onnx::{DataType, NodeExt};

/// [B,H,N,L].
pub const PROBS: [Axis; 4] = [Axis::Rows, Axis::Heads, Axis::Query, Axis::Tokens];
/// [B,L,d].
const VALUE: [Axis; 4] = [Axis::Rows, Axis::Tokens, Axis::Heads, Axis::Width];

/// The layout [B,L,H*w] of a value.
pub fn value_layout() -> Layout {
    Layout(vec![vec![Axis::Rows], vec![Axis::Tokens], vec![Axis::Heads, Axis::Width]])
}

/// Reads `layer`'s probabilities as [B,H,N,L] of the graph's float type, computing them where a
/// fused operator keeps them to itself.
pub fn probs(sketch: &mut Sketch, survey: &Survey, layer: &CrossAttention) -> Result<String> {
    gathered(sketch, survey, layer, &PROBS, |sketch, part, sizes| match &part.probs {
        Some(place) => Ok(place.clone()),
        None => softmax_of(sketch, part, sizes, &survey.shapes),
    })
}

/// Reads `layer`'s value as [B,L,d] of the graph's float type, as the value product sees it.
pub fn value(sketch: &mut Sketch, survey: &Survey, layer: &CrossAttention) -> Result<String> {
    let spread = gathered(sketch, survey, layer, &VALUE, |sketch, part, _| unpacked(sketch, &part.value))?;
    Ok(sketch.reshape(&spread, &[0, 0, layer.width as i64])?)
}

/// One operand of every part of `layer`, put together and laid out as `axes`.
fn gathered(
    sketch: &mut Sketch,
    survey: &Survey,
    layer: &CrossAttention,
    axes: &[Axis],
    operand: impl Fn(&mut Sketch, &Part, &Sizes) -> Result<Place>,
) -> Result<String> {
    let (sizes, to) = (&layer.attention.sizes, Layout::spread(axes));
    let parts = &layer.attention.parts;
    let joined = parts.first().map_or(Parts::One, |part| part.parts);
    let own = if joined == Parts::Heads { Sizes { heads: 1, ..sizes.clone() } } else { sizes.clone() };
    let mut found = Vec::with_capacity(parts.len());
    let mut elem = None;
    let mut runs_of_rows = to.clone();
    for part in parts {
        let place = operand(sketch, part, &own)?;
        let place = dequantised_apart(sketch, place)?;
        elem = elem.or_else(|| operand_type(survey, part));
        runs_of_rows = place.layout.clone();
        found.push(match joined {
            Parts::Rows => place.tensor,
            _ => sketch.arrange(&place.tensor, &place.layout, &to, &own)?,
        });
    }
    let whole = match joined {
        Parts::Rows => {
            let rows = sketch.concat(&found, 0)?;
            sketch.arrange(&rows, &runs_of_rows, &to, sizes)?
        }
        _ => sketch.concat(&found, to.extent_of(Axis::Heads).unwrap_or(0) as i64)?,
    };
    Ok(sketch.cast(&whole, elem.unwrap_or(survey.float_type), survey.float_type)?)
}

/// `place`, read through a DequantizeLinear of its own if one makes it: with a reader more, ONNX Runtime
/// would no longer fuse the original into integer arithmetic, and F would not be the source.
fn dequantised_apart(sketch: &mut Sketch, place: Place) -> Result<Place> {
    let producer = sketch.graph.producer(&place.tensor).map(|id| sketch.graph.node(id).clone());
    let Some(node) = producer.filter(|node| node.is("DequantizeLinear")) else { return Ok(place) };
    let inputs = node.input.clone();
    let tensor = sketch.copy(&node, inputs)?.swap_remove(0);
    Ok(Place { tensor, ..place })
}

/// The float type that `part` multiplies values in.
fn operand_type(survey: &Survey, part: &Part) -> Option<DataType> {
    survey.shapes.elem_type(&part.value.tensor)
}

/// `place` with its bias added, or without its partner if it is half of a packed pair.
pub fn unpacked(sketch: &mut Sketch, place: &Place) -> Result<Place> {
    if let Some((bias, third)) = &place.bias {
        let thirds = sketch.reshape(bias, &[3, -1])?;
        let index = sketch.ints(&[*third])?;
        let own = sketch.gather(&thirds, &index, 0)?;
        let own = sketch.reshape(&own, &[-1])?;
        let tensor = sketch.binary("Add", &place.tensor, &own)?;
        return Ok(Place { tensor, bias: None, ..place.clone() });
    }
    let (Some(which), Some(at)) = (place.pick, place.layout.extent_of(Axis::Pair)) else { return Ok(place.clone()) };
    let index = sketch.ints(&[which])?;
    let picked = sketch.gather(&place.tensor, &index, at as i64)?;
    let tensor = sketch.squeeze(&picked, &[at as i64])?;
    let mut layout = place.layout.clone();
    layout.0.remove(at);
    Ok(Place { tensor, layout, pick: None, bias: None })
}

/// softmax(scale · Q Kᵀ) from the operands of a fused operator.
fn softmax_of(sketch: &mut Sketch, part: &Part, sizes: &Sizes, shapes: &Shapes) -> Result<Place> {
    let (query, key) = (unpacked(sketch, &part.query)?, unpacked(sketch, &part.key)?);
    let elem = shapes.elem_type(&part.query.tensor).unwrap_or(DataType::Float);
    let rows = Layout::spread(&[Axis::Rows, Axis::Heads, Axis::Query, Axis::Width]);
    let columns = Layout::spread(&[Axis::Rows, Axis::Heads, Axis::Width, Axis::Tokens]);
    let query = sketch.arrange(&query.tensor, &query.layout, &rows, sizes)?;
    let key = sketch.arrange(&key.tensor, &key.layout, &columns, sizes)?;
    let scale = part.stated_scale.unwrap_or_else(|| (sizes.width as f32).sqrt().recip());
    let scale = sketch.float(scale, elem)?;
    let query = sketch.binary("Mul", &query, &scale)?;
    let scores = sketch.binary("MatMul", &query, &key)?;
    Ok(Place { tensor: sketch.softmax(&scores)?, layout: Layout::spread(&PROBS), pick: None, bias: None })
}
