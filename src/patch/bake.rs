//! A concept inside a graph, for hosts whose code cannot change at all.

use ndarray::ArrayView2;

use super::correction::{DELTA, MASK};
use super::shared::{FOUNDATION, ROWS};
use super::sketch::{floats, longs};
use super::survey::Survey;
use super::{EmitOptions, Error, Result, Variant, emit};
use crate::onnx::Model;

/// What a baked graph does when nothing is fed.
#[derive(Clone, Copy, Debug)]
pub struct Baked<'a> {
    /// `[L,S]`: how much of each slot's Δ each token's value gets, in every row of `rows`.
    pub mask: ArrayView2<'a, f32>,
    /// `[S,D]`: the layers' Δ side by side, in layer order.
    pub delta: ArrayView2<'a, f32>,
    /// The rows of the batch that carry the concept; negative ones count from the end.
    pub rows: &'a [i64],
}

/// The `shared` graph of `model` with `baked` as the defaults of its optional inputs, and with the
/// source's outputs alone: hosts that take the last output, as optimum does, would draw F's.
///
/// # Errors
/// The sizes do not agree with the model or each other; as [`emit`].
pub fn bake(model: &Model, survey: &Survey, baked: Baked, options: &EmitOptions) -> Result<Model> {
    let Baked { mask, delta, rows } = baked;
    let (slots, width) = delta.dim();
    if width != survey.total_width() {
        return Err(Error::Bake(format!(
            "Δ has {width} numbers a slot, the model's {} layers take {}",
            survey.layers.len(),
            survey.total_width()
        )));
    }
    if mask.ncols() != slots || slots == 0 {
        return Err(Error::Bake(format!("the mask has {} slots, Δ has {slots}", mask.ncols())));
    }
    if rows.is_empty() {
        return Err(Error::Bake("no row of the batch is to carry the concept".to_owned()));
    }
    let mut shared = emit(model, survey, Variant::Shared, options)?;
    let elem = survey.float_type;
    let defaults = [
        floats(MASK, &[1, mask.nrows() as i64, slots as i64], mask.iter().copied(), elem),
        floats(DELTA, &[slots as i64, width as i64], delta.iter().copied(), elem),
        longs(ROWS, rows),
    ];
    for default in defaults {
        shared.graph.initializers_mut().insert(default.name().to_owned(), default);
    }
    shared.graph.outputs_mut().retain(|output| output.name() != FOUNDATION);
    Ok(shared)
}
