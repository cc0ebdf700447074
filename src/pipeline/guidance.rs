use ndarray::{Array3, ArrayView3, Axis, concatenate, s};

use crate::schedulers::Latents;

use super::{Error, Result};

/// Classifier-free guidance: with it, every prediction takes two rows a picture, the unconditional
/// ones first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guidance {
    scale: f32,
    batch: usize,
}

impl Guidance {
    pub fn new(scale: f32, batch: usize) -> Self {
        Self { scale, batch }
    }

    pub fn is_on(self) -> bool {
        self.scale > 1.0
    }

    /// Rows of a model run.
    pub fn rows(self) -> usize {
        if self.is_on() { 2 * self.batch } else { self.batch }
    }

    /// The rows that carry the prompt, and with it the concepts.
    pub fn prompt_rows(self) -> std::ops::Range<usize> {
        self.rows() - self.batch..self.rows()
    }

    /// The contexts `[1, L, C]` as one for all rows.
    pub fn contexts(self, negative: ArrayView3<'_, f32>, prompt: ArrayView3<'_, f32>) -> Result<Array3<f32>> {
        let mut parts = Vec::with_capacity(self.rows());
        if self.is_on() {
            parts.extend(std::iter::repeat_n(negative, self.batch));
        }
        parts.extend(std::iter::repeat_n(prompt, self.batch));
        concatenate(Axis(0), &parts).map_err(|error| Error::setting("negative prompt", error.to_string()))
    }

    /// The latents of all pictures as rows of a model run.
    pub fn spread(self, latents: &Latents) -> Latents {
        if !self.is_on() {
            return latents.clone();
        }
        let (batch, channels, height, width) = latents.dim();
        let mut rows = Latents::zeros((2 * batch, channels, height, width));
        rows.slice_mut(s![..batch, .., .., ..]).assign(latents);
        rows.slice_mut(s![batch.., .., .., ..]).assign(latents);
        rows
    }

    /// ε = ε_u + s (ε_c − ε_u).
    pub fn combine(self, rows: &Latents) -> Latents {
        if !self.is_on() {
            return rows.clone();
        }
        let unconditional = rows.slice(s![..self.batch, .., .., ..]);
        let prompted = rows.slice(s![self.batch.., .., .., ..]);
        &unconditional + (&prompted - &unconditional) * self.scale
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array;

    use super::*;

    #[test]
    fn spreads_and_combines() {
        let latents = Array::from_shape_fn((2, 1, 1, 1), |(row, ..)| row as f32);
        let guidance = Guidance::new(3.0, 2);
        assert_eq!((guidance.rows(), guidance.prompt_rows()), (4, 2..4));
        let mut rows = guidance.spread(&latents);
        assert_eq!(rows.iter().copied().collect::<Vec<_>>(), [0.0, 1.0, 0.0, 1.0]);
        rows[[2, 0, 0, 0]] = 10.0;
        assert_eq!(guidance.combine(&rows).iter().copied().collect::<Vec<_>>(), [30.0, 1.0]);
    }

    #[test]
    fn without_guidance_there_is_one_row_a_picture() {
        let guidance = Guidance::new(1.0, 2);
        assert_eq!((guidance.rows(), guidance.prompt_rows()), (2, 0..2));
        let latents = Latents::ones((2, 4, 1, 1));
        assert_eq!(guidance.spread(&latents), latents);
        assert_eq!(guidance.combine(&latents), latents);
    }
}
