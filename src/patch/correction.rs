//! What C has that F has not: eq. 7 as a low-rank correction of what leaves each layer,
//! Ā = A + Σ_s M[:, obj_s] ⊗ Δ_s, so that C needs no Q, K or softmax of its own.

use super::anchor::Part;
use super::f::extents;
use super::layout::{Axis, Layout};
use super::rows::{Counts, Customised};
use super::sketch::{Sketch, filled};
use super::survey::{CrossAttention, Survey};
use super::value::{Extent, value_info};
use super::{Result, fuse, splice, tap};
use crate::onnx::{DataType, NodeBuilder, NodeExt};

/// The name of the mask input, [B,L,S].
pub const MASK: &str = "infusion.mask";
/// The name of the input of all layers' Δ side by side, [S,D].
pub const DELTA: &str = "infusion.delta";

/// Adds the optional inputs `infusion.mask` and `infusion.delta`, zeros of one slot by default.
pub fn add_inputs(sketch: &mut Sketch, survey: &Survey) -> Result<()> {
    let (elem, width) = (survey.float_type, survey.total_width());
    let [rows, tokens, slots] = extents();
    sketch.graph.inputs_mut().push(value_info(MASK, elem, &[rows, tokens, slots.clone()]));
    sketch.graph.inputs_mut().push(value_info(DELTA, elem, &[slots, Extent::Fixed(width)]));
    sketch.graph.add_initializer(filled(MASK, &[1, 1, 1], 0.0, elem))?;
    sketch.graph.add_initializer(filled(DELTA, &[1, width as i64], 0.0, elem))?;
    Ok(())
}

/// The mask as [B,1,L,S], whatever it was broadcast from.
pub fn mask(sketch: &mut Sketch, survey: &Survey, counts: &Counts) -> Result<String> {
    let tokens = sketch.sizes(&survey.context_input, 1, 2)?;
    let one = sketch.ints(&[1])?;
    let shape = sketch.concat(&[counts.narrow.clone(), tokens, one], 0)?;
    let full = sketch.draw("mask", NodeBuilder::new("Expand").inputs([MASK, &shape]))?;
    Ok(sketch.unsqueeze(&full, &[1])?)
}

/// `layer`'s slice of Δ as [H,S,w].
pub fn delta(sketch: &mut Sketch, layer: &CrossAttention, offset: usize) -> Result<String> {
    let (from, to) = (sketch.ints(&[offset as i64])?, sketch.ints(&[(offset + layer.width) as i64])?);
    let own = sketch.slice(DELTA, &from, &to, 1)?;
    let by_head = sketch.reshape(&own, &[0, layer.heads as i64, -1])?;
    Ok(sketch.transpose(&by_head, &[1, 0, 2])?)
}

/// What leaves `layer` in F's rows and in C's: C has F's, plus the share of attention that its masked
/// tokens have times Δ. `mask` is [B,1,L,S], `offset` where the layer's slice of Δ begins.
pub fn streams(
    sketch: &mut Sketch,
    survey: &Survey,
    layer: &CrossAttention,
    offset: usize,
    mask: &str,
    rows: &Customised,
) -> Result<[String; 2]> {
    let Attended { foundation, shares } = attended(sketch, survey, layer, mask)?;
    let shares = rows.rows_of(sketch, &shares)?;
    let delta = delta(sketch, layer, offset)?;
    let correction = sketch.binary("MatMul", &shares, &delta)?;
    let correction = splice::leaving(sketch, survey, layer, &correction)?;
    let own = picked(sketch, layer, &foundation, rows)?;
    let customised = sketch.binary("Add", &own, &correction)?;
    Ok([foundation, customised])
}

/// What attention makes of values and of masks.
struct Attended {
    /// A = M V, as it leaves the layer.
    foundation: String,
    /// M · mask, [B,H,N,S].
    shares: String,
}

fn attended(sketch: &mut Sketch, survey: &Survey, layer: &CrossAttention, mask: &str) -> Result<Attended> {
    if let [part] = layer.attention.parts.as_slice()
        && sketch.graph.node(part.anchor).is_microsoft("MultiHeadAttention")
        && survey.shapes.elem_type(&part.query.tensor) == Some(DataType::Float)
    {
        return attended_at_once(sketch, survey, layer, part, mask);
    }
    let probs = tap::probs(sketch, survey, layer)?;
    let shares = sketch.binary("MatMul", &probs, mask)?;
    Ok(Attended { foundation: layer.attention.exit.tensor.clone(), shares })
}

/// Masks as S further numbers of each head's values, so that one fused operator makes both and no
/// probabilities are ever written: softmax(Q Kᵀ) · [V | mask] = [A | M · mask].
fn attended_at_once(
    sketch: &mut Sketch,
    survey: &Survey,
    layer: &CrossAttention,
    part: &Part,
    mask: &str,
) -> Result<Attended> {
    let sizes = &layer.attention.sizes;
    let by_head = Layout::spread(&[Axis::Rows, Axis::Tokens, Axis::Heads, Axis::Width]);
    let [query, key, value] = [&part.query, &part.key, &part.value].map(|place| tap::unpacked(sketch, place));
    let (query, key, value) = (query?, key?, value?);
    let query = sketch.arrange(&query.tensor, &query.layout, &fuse::by_row(Axis::Query), sizes)?;
    let key = sketch.arrange(&key.tensor, &key.layout, &fuse::by_row(Axis::Tokens), sizes)?;
    let value = sketch.arrange(&value.tensor, &value.layout, &by_head, sizes)?;

    let mask = sketch.transpose(mask, &[0, 2, 1, 3])?;
    let copies = sketch.ints(&[1, 1, sizes.heads, 1])?;
    let masks = sketch.draw("masks", NodeBuilder::new("Expand").inputs([&mask, &copies]))?;
    let widened = sketch.concat(&[value, masks], 3)?;
    let widened = sketch.reshape(&widened, &[0, 0, -1])?;

    let scale = part.stated_scale.unwrap_or_else(|| (sizes.width as f32).sqrt().recip());
    let result = fuse::attend(sketch, [&query, &key, &widened], sizes.heads, scale)?;
    let by_head = sketch.reshape(&result, &[0, 0, sizes.heads, -1])?;
    let [zero, width, end] = [sketch.ints(&[0])?, sketch.ints(&[sizes.width])?, sketch.ints(&[i64::MAX])?];
    let shares = sketch.slice(&by_head, &width, &end, 3)?;
    let shares = sketch.transpose(&shares, &[0, 2, 1, 3])?;
    let foundation = sketch.slice(&by_head, &zero, &width, 3)?;
    let apart = Layout::spread(&[Axis::Rows, Axis::Query, Axis::Heads, Axis::Width]);
    let foundation = sketch.arrange(&foundation, &apart, &layer.attention.exit.layout, sizes)?;
    let elem = survey.shapes.elem_type(&layer.attention.exit.tensor).unwrap_or(DataType::Float);
    Ok(Attended { foundation: sketch.cast(&foundation, DataType::Float, elem)?, shares })
}

/// Those rows of what leaves `layer` that C has.
fn picked(sketch: &mut Sketch, layer: &CrossAttention, foundation: &str, rows: &Customised) -> Result<String> {
    let (layout, sizes) = (&layer.attention.exit.layout, &layer.attention.sizes);
    let rows_apart = layout.0.first().is_some_and(|first| *first == [Axis::Rows]);
    if rows_apart || matches!(rows, Customised::All) {
        return rows.rows_of(sketch, foundation);
    }
    let apart = Layout::spread(&[Axis::Rows, Axis::Heads, Axis::Query, Axis::Width]);
    let spread = sketch.arrange(foundation, layout, &apart, sizes)?;
    let picked = rows.rows_of(sketch, &spread)?;
    Ok(sketch.arrange(&picked, &apart, layout, sizes)?)
}
