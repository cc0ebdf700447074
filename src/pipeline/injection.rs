use ndarray::{Array2, Array3, ArrayView3, Axis, concatenate, s};

use crate::concept::LayerSpec;
use crate::prompt::{Slots, Tokens};

use super::guidance::Guidance;
use super::request::{LayerScale, Variation};
use super::{Error, Result, UnetGraphs};

/// What is added to the value rows of one variation: V + mask · Δ (eq. 7, eq. 9).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Injection {
    /// `[S, D]`: a row for each token of each concept, the layers side by side.
    pub delta: Array2<f32>,
    /// `[rows, L, S]`: zero in rows without a concept.
    pub mask: Array3<f32>,
    /// Where each layer's columns begin in `delta`, and the end.
    offsets: Vec<usize>,
}

impl Injection {
    pub fn new(
        variation: &Variation,
        tokens: &Tokens,
        graphs: &UnetGraphs,
        scales: &[LayerScale],
        guidance: Guidance,
    ) -> Result<Self> {
        let slots: Vec<Slots<'_>> = variation
            .concepts
            .iter()
            .map(|used| Slots { concept: &used.name, tokens: used.concept.tokens(), strength: used.strength })
            .collect();
        let row = tokens.mask(&slots)?;
        let mut mask = Array3::zeros((guidance.rows(), row.nrows(), row.ncols()));
        for prompt_row in guidance.prompt_rows() {
            mask.slice_mut(s![prompt_row, .., ..]).assign(&row);
        }
        let matrices: Vec<Array2<f32>> = variation
            .concepts
            .iter()
            .map(|used| used.concept.matrix(&graphs.layers).map_err(Error::from))
            .collect::<Result<_>>()?;
        let views: Vec<_> = matrices.iter().map(|matrix| matrix.view()).collect();
        let delta = concatenate(Axis(0), &views).map_err(|error| Error::setting("concepts", error.to_string()))?;
        let mut injection = Self { delta, mask, offsets: offsets(&graphs.layers) };
        injection.scale(scales)?;
        Ok(injection)
    }

    /// The same with zeros up to `slots` slots: any number of concepts then has one shape.
    pub fn padded(&self, slots: usize) -> Self {
        let (own, width) = self.delta.dim();
        let (rows, tokens, _) = self.mask.dim();
        let slots = slots.max(own);
        let (mut delta, mut mask) = (Array2::zeros((slots, width)), Array3::zeros((rows, tokens, slots)));
        delta.slice_mut(s![..own, ..]).assign(&self.delta);
        mask.slice_mut(s![.., .., ..own]).assign(&self.mask);
        Self { delta, mask, offsets: self.offsets.clone() }
    }

    /// No concept at all, for graphs that want one to be fed.
    pub fn nothing(rows: usize, tokens: usize, slots: usize, width: usize) -> Self {
        let (delta, mask) = (Array2::zeros((slots, width)), Array3::zeros((rows, tokens, slots)));
        Self { delta, mask, offsets: vec![0, width] }
    }

    /// The same with no share of Δ anywhere.
    pub fn closed(&self) -> Self {
        Self { mask: Array3::zeros(self.mask.dim()), ..self.clone() }
    }

    fn scale(&mut self, scales: &[LayerScale]) -> Result<()> {
        for &LayerScale { layer, scale } in scales {
            let layers = self.offsets.len() - 1;
            if layer >= layers || !scale.is_finite() {
                let reason = format!("layers are 0 to {}, and scales are finite numbers", layers - 1);
                return Err(Error::setting(format!("layer scale {layer}:{scale}"), reason));
            }
            let columns = self.offsets[layer]..self.offsets[layer + 1];
            self.delta.slice_mut(s![.., columns]).mapv_inplace(|value| value * scale);
        }
        Ok(())
    }

    /// A Δ and a mask that were made elsewhere.
    pub fn of_parts(delta: Array2<f32>, mask: Array3<f32>, layers: &[LayerSpec]) -> Self {
        Self { delta, mask, offsets: offsets(layers) }
    }

    /// The same for these rows alone.
    pub fn of_rows(&self, rows: &[usize]) -> Self {
        Self { mask: self.mask.select(Axis(0), rows), ..self.clone() }
    }

    /// V̄ of `layer`: V `[rows, L, d]` of these rows with what the mask gives them.
    pub fn values(&self, layer: usize, rows: &[usize], values: ArrayView3<'_, f32>) -> Array3<f32> {
        let mut injected = values.to_owned();
        let delta = self.delta.slice(s![.., self.offsets[layer]..self.offsets[layer + 1]]);
        for (&row, mut value) in rows.iter().zip(injected.axis_iter_mut(Axis(0))) {
            let mask = self.mask.index_axis(Axis(0), row);
            if mask.iter().any(|&share| share != 0.0) {
                value += &mask.dot(&delta);
            }
        }
        injected
    }
}

fn offsets(layers: &[LayerSpec]) -> Vec<usize> {
    let mut offsets = vec![0];
    for layer in layers {
        offsets.push(offsets[offsets.len() - 1] + layer.width);
    }
    offsets
}
