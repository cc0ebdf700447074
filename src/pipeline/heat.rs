use std::ops::Range;

use ndarray::{Array2, Array4, Axis, Ix4};

use crate::prompt::Tokens;
use crate::runtime::DeviceTensor;

use super::{Error, Result};

/// How much the foundation attends to a concept's tokens, over the picture.
#[derive(Clone, Debug)]
pub struct HeatMap {
    /// The concept's name in the prompt.
    pub concept: String,
    /// The picture of the batch, from 0.
    pub picture: usize,
    /// `[height / 8, width / 8]`: the share of the attention that goes to the concept's tokens, the mean over
    /// layers, heads and steps.
    pub map: Array2<f32>,
}

/// Sums maps over layers, heads and steps.
#[derive(Debug)]
pub(super) struct HeatCollector {
    concepts: Vec<(String, Vec<usize>)>,
    prompt_rows: Range<usize>,
    sums: Vec<Vec<Array2<f32>>>,
    steps: Vec<usize>,
    latents: (usize, usize),
}

impl HeatCollector {
    pub fn new(tokens: &Tokens, prompt_rows: Range<usize>, latents: (usize, usize)) -> Self {
        let mut concepts: Vec<(String, Vec<usize>)> = Vec::new();
        for mark in &tokens.marks {
            match concepts.iter_mut().find(|(name, _)| *name == mark.concept) {
                Some((_, positions)) => positions.extend(&mark.positions),
                None => concepts.push((mark.concept.clone(), mark.positions.clone())),
            }
        }
        let batch = prompt_rows.len();
        let sums = vec![vec![Array2::zeros(latents); concepts.len()]; batch];
        Self { concepts, prompt_rows, sums, steps: vec![0; batch], latents }
    }

    /// Adds the maps `[rows, heads, N, L]` of all layers for these rows of a step.
    pub fn add(&mut self, probs: &[DeviceTensor], rows: &Range<usize>) -> Result<()> {
        let wrong = |reason: String| Error::setting("attention maps", reason);
        for probs in probs {
            let maps = probs.to_tensor()?.into_f32().into_dimensionality::<Ix4>();
            let maps = maps.map_err(|error| wrong(error.to_string()))?;
            let (height, width) = self.resolution(maps.shape()[2])?;
            for (index, row) in rows.clone().enumerate().filter(|(_, row)| self.prompt_rows.contains(row)) {
                let picture = row - self.prompt_rows.start;
                for (concept, (_, positions)) in self.concepts.iter().enumerate() {
                    let heat = attention(&maps, index, positions);
                    let heat = heat.into_shape_with_order((height, width)).map_err(|error| wrong(error.to_string()))?;
                    self.sums[picture][concept] += &enlarged(&heat, self.latents);
                }
                self.steps[picture] += 1;
            }
        }
        Ok(())
    }

    /// The layer's height and width for its number of query positions: the latents' halved k times.
    fn resolution(&self, positions: usize) -> Result<(usize, usize)> {
        let (height, width) = self.latents;
        let halved = (0..8).map(|k: u32| (height.div_ceil(1 << k), width.div_ceil(1 << k)));
        let mut fitting = halved.filter(|(height, width)| height * width == positions);
        fitting.next().ok_or_else(|| {
            Error::setting(
                "attention maps",
                format!("{positions} positions fit no halving of {height}x{width} latents"),
            )
        })
    }

    pub fn finish(self) -> Vec<HeatMap> {
        let mut maps = Vec::new();
        for (picture, (sums, &count)) in self.sums.into_iter().zip(&self.steps).enumerate() {
            for (sum, (concept, _)) in sums.into_iter().zip(&self.concepts) {
                maps.push(HeatMap { concept: concept.clone(), picture, map: sum / count.max(1) as f32 });
            }
        }
        maps
    }
}

/// The attention to these tokens at each position: the mean over heads of the sum over tokens.
fn attention(maps: &Array4<f32>, row: usize, tokens: &[usize]) -> ndarray::Array1<f32> {
    let row = maps.index_axis(Axis(0), row);
    let heads = row.shape()[0] as f32;
    let mut heat = ndarray::Array1::zeros(row.shape()[1]);
    for head in row.axis_iter(Axis(0)) {
        for &token in tokens.iter().filter(|&&token| token < head.ncols()) {
            heat += &head.column(token);
        }
    }
    heat / heads
}

/// Bilinear, with pixel centres aligned.
fn enlarged(map: &Array2<f32>, (height, width): (usize, usize)) -> Array2<f32> {
    let (rows, columns) = map.dim();
    let place = |index: usize, from: usize, to: usize| {
        let exact = ((index as f32 + 0.5) * from as f32 / to as f32 - 0.5).clamp(0.0, (from - 1) as f32);
        let low = exact as usize;
        (low, (low + 1).min(from - 1), exact - low as f32)
    };
    Array2::from_shape_fn((height, width), |(y, x)| {
        let (top, bottom, down) = place(y, rows, height);
        let (left, right, across) = place(x, columns, width);
        let upper = map[[top, left]] * (1.0 - across) + map[[top, right]] * across;
        let lower = map[[bottom, left]] * (1.0 - across) + map[[bottom, right]] * across;
        upper * (1.0 - down) + lower * down
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, arr2};

    use super::*;

    #[test]
    fn enlarging_keeps_constants_and_order() {
        assert!(enlarged(&Array2::from_elem((2, 3), 0.25), (8, 12)).iter().all(|&value| (value - 0.25).abs() < 1e-6));
        let ramp = enlarged(&arr2(&[[0.0, 1.0]]), (1, 4));
        assert_eq!(ramp, arr2(&[[0.0, 0.25, 0.75, 1.0]]));
    }

    #[test]
    fn sums_tokens_and_averages_heads() {
        let maps = Array::from_shape_fn((1, 2, 3, 4), |(_, head, position, token)| (head + position + token) as f32);
        assert_eq!(attention(&maps, 0, &[1, 3]).to_vec(), [5.0, 7.0, 9.0]);
    }
}
