//! Attention as one operator that never writes its probabilities: `com.microsoft.MultiHeadAttention`.

use super::anchor::{Part, Place};
use super::exit::came_from;
use super::layout::{Axis, Layout, Sizes};
use super::sketch::Sketch;
use super::survey::{Attention, Survey};
use super::uniform::uniform;
use super::{Result, recipe::Parts};
use crate::onnx::{DataType, Model, NodeBuilder, NodeExt};

/// The domain of the fused operator.
pub const DOMAIN: &str = "com.microsoft";

/// Rewrites every attention of `survey` that can be expressed exactly as one MultiHeadAttention;
/// answers with the model and how many were rewritten. Half-precision attention stays as it is:
/// ONNX Runtime has no such kernel for CPUs.
///
/// # Errors
/// The graph is inconsistent.
pub fn fuse(model: &Model, survey: &Survey) -> Result<(Model, usize)> {
    let mut fused = model.clone();
    fused.import_opset(DOMAIN, 1);
    fused.graph.value_info_mut().clear();
    let mut sketch = Sketch::new(&mut fused);
    let cross = survey.layers.iter().map(|layer| &layer.attention);
    let mut count = 0;
    for attention in cross.chain(&survey.self_attention) {
        let Some(plan) = Plan::of(&sketch, survey, attention) else { continue };
        plan.carry_out(&mut sketch, attention)?;
        count += 1;
    }
    sketch.graph.remove_dead();
    Ok((fused, count))
}

/// The operands of a fused operator, each from as far back as its layout can be told.
struct Plan {
    query: Place,
    key: Place,
    value: Place,
    scale: f32,
}

impl Plan {
    fn of(sketch: &Sketch, survey: &Survey, attention: &Attention) -> Option<Self> {
        let [part] = attention.parts.as_slice() else { return None };
        let float = |place: &Place| survey.shapes.elem_type(&place.tensor) == Some(DataType::Float);
        let plain =
            part.parts == Parts::One && [&part.query, &part.key, &part.value, &part.result].into_iter().all(float);
        let fused_already = sketch.graph.node(part.anchor).is_microsoft("MultiHeadAttention");
        if fused_already || !plain {
            return None;
        }
        let own = scale_inside(sketch, survey, part, &attention.sizes)?;
        let (query, times) = traced(sketch, survey, &part.query, &attention.sizes);
        let (key, more) = traced(sketch, survey, &part.key, &attention.sizes);
        let value = viewed_from(sketch, survey, &part.value, &attention.sizes);
        Some(Self { query, key, value, scale: own * times * more })
    }

    fn carry_out(self, sketch: &mut Sketch, attention: &Attention) -> Result<()> {
        let sizes = &attention.sizes;
        let [query, key, value] = [(self.query, Axis::Query), (self.key, Axis::Tokens), (self.value, Axis::Tokens)]
            .map(|(place, along)| sketch.arrange(&place.tensor, &place.layout, &by_row(along), sizes));
        let result = attend(sketch, [&query?, &key?, &value?], sizes.heads, self.scale)?;
        let exit = &attention.exit;
        let result = sketch.arrange(&result, &by_row(Axis::Query), &exit.layout, sizes)?;
        Ok(sketch.graph.replace_uses(&exit.tensor, &result, |_| false)?)
    }
}

/// softmax(scale · Q Kᵀ) V of [B,N,H*w], [B,L,H*w] and [B,L,H*v] as [B,N,H*v].
pub fn attend(sketch: &mut Sketch, operands: [&str; 3], heads: i64, scale: f32) -> Result<String> {
    let node = NodeBuilder::new("MultiHeadAttention").domain(DOMAIN).inputs(operands);
    Ok(sketch.draw("attention", node.attr("num_heads", heads).attr("scale", scale))?)
}

/// [B,N,H*w] or [B,L,H*w].
pub fn by_row(along: Axis) -> Layout {
    Layout(vec![vec![Axis::Rows], vec![along], vec![Axis::Heads, Axis::Width]])
}

/// What the scores are multiplied by after the product of Q and K. `None` if more happens to them.
fn scale_inside(sketch: &Sketch, survey: &Survey, part: &Part, sizes: &Sizes) -> Option<f32> {
    let graph = &*sketch.graph;
    let Some(probs) = &part.probs else {
        return Some(part.stated_scale.unwrap_or_else(|| (sizes.width as f32).sqrt().recip()));
    };
    let softmax = graph.node(part.anchor);
    if !is_untouched(sketch, survey, &probs.tensor, softmax.output_name(0)?) {
        return None;
    }
    let (mut tensor, mut scale) = (softmax.input_name(0)?.to_owned(), 1.0);
    loop {
        let node = graph.node(graph.producer(&tensor)?);
        if node.input.contains(&part.query.tensor) && node.input.contains(&part.key.tensor) {
            return Some(scale * node.attr_float("alpha").unwrap_or(1.0));
        }
        let (next, times) = scaled(sketch, survey, &tensor)?;
        (tensor, scale) = (next, scale * times);
    }
}

/// Whether only casts to the type it already has lie between `from` and `tensor`.
fn is_untouched(sketch: &Sketch, survey: &Survey, tensor: &str, from: &str) -> bool {
    if tensor == from {
        return true;
    }
    let Some(id) = sketch.graph.producer(tensor) else { return false };
    let node = sketch.graph.node(id);
    let Some(input) = node.input_name(0) else { return false };
    let same = survey.shapes.elem_type(input) == survey.shapes.elem_type(tensor);
    matches!(node.op_type(), "Cast" | "Identity") && same && is_untouched(sketch, survey, input, from)
}

/// What `tensor` is a multiple of, up to an addend that Softmax does not see, and the factor.
fn scaled(sketch: &Sketch, survey: &Survey, tensor: &str) -> Option<(String, f32)> {
    let graph = &*sketch.graph;
    let node = graph.node(graph.producer(tensor)?);
    let data = survey.flow.data_inputs(node);
    let [(slot, input)] = data.as_slice() else { return None };
    let other = || uniform(graph, &survey.shapes, node.input_name(1 - (*slot).min(1))?);
    let same_type = || survey.shapes.elem_type(input) == survey.shapes.elem_type(tensor);
    let factor = match node.op_type() {
        "Mul" => other()?,
        "Div" if *slot == 0 => other()?.recip(),
        "Add" => other().filter(|addend| addend.is_finite()).map(|_| 1.0)?,
        "Identity" => 1.0,
        "Cast" if same_type() => 1.0,
        _ => return None,
    };
    factor.is_finite().then(|| ((*input).to_owned(), factor))
}

/// Where an operand of the scores comes from, and the factor on the way.
fn traced(sketch: &Sketch, survey: &Survey, place: &Place, sizes: &Sizes) -> (Place, f32) {
    let (mut place, mut scale) = (viewed_from(sketch, survey, place, sizes), 1.0);
    while let Some((tensor, factor)) = multiple(sketch, survey, &place.tensor) {
        scale *= factor;
        place = viewed_from(sketch, survey, &Place { tensor, ..place }, sizes);
    }
    (place, scale)
}

fn multiple(sketch: &Sketch, survey: &Survey, tensor: &str) -> Option<(String, f32)> {
    let node = sketch.graph.node(sketch.graph.producer(tensor)?);
    (!node.is("Add")).then(|| scaled(sketch, survey, tensor))?
}

/// Where a chain of views that ends in `place` begins.
fn viewed_from(sketch: &Sketch, survey: &Survey, place: &Place, sizes: &Sizes) -> Place {
    let mut place = place.clone();
    while let Some(before) = came_from(sketch.graph, &survey.shapes, &place, sizes) {
        place = before;
    }
    place
}
