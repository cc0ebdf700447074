//! Numbers as small integers times a scale.
//!
//! The scale of a block is the one that makes the squared error smallest: candidates around the one that
//! just holds the largest number, each followed by the least-squares scale of its own integers.

use std::ops::RangeInclusive;

/// The integers of a precision, and the candidates for its scale.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    lowest: i8,
    highest: i8,
    /// Where the largest number of a block may fall.
    reach: RangeInclusive<i16>,
}

impl Grid {
    /// −127…127.
    pub fn i8() -> Self {
        Self { lowest: -127, highest: 127, reach: 118..=130 }
    }

    /// −8…7: one side reaches further, so the scale's sign matters.
    pub fn i4() -> Self {
        Self { lowest: -8, highest: 7, reach: 5..=10 }
    }

    fn round(&self, value: f32, scale: f32) -> i8 {
        (value / scale).round().clamp(self.lowest.into(), self.highest.into()) as i8
    }
}

/// The integers of `values` and the scale that turns them back.
pub(super) fn quantise(values: &[f32], grid: &Grid) -> (Vec<i8>, f32) {
    let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let mut best = (f64::INFINITY, 1.0f32);
    for scale in candidates(largest, grid) {
        for scale in [scale, least_squares(values, scale, grid)] {
            let usable = scale.is_normal();
            if usable && squared_error(values, scale, grid) < best.0 {
                best = (squared_error(values, scale, grid), scale);
            }
        }
    }
    let (_, scale) = best;
    (values.iter().map(|&value| grid.round(value, scale)).collect(), scale)
}

fn candidates(largest: f32, grid: &Grid) -> impl Iterator<Item = f32> {
    const STEPS: i16 = 8;
    let (from, to) = (grid.reach.start() * STEPS, grid.reach.end() * STEPS);
    let reach = (from..=to).map(|eighths| f32::from(eighths) / f32::from(STEPS));
    reach.flat_map(move |reach| [largest / reach, -largest / reach])
}

fn squared_error(values: &[f32], scale: f32, grid: &Grid) -> f64 {
    let error = |&value: &f32| f64::from(value) - f64::from(scale * f32::from(grid.round(value, scale)));
    values.iter().map(|value| error(value).powi(2)).sum()
}

fn least_squares(values: &[f32], scale: f32, grid: &Grid) -> f32 {
    let (mut product, mut square) = (0f64, 0f64);
    for &value in values {
        let q = f64::from(grid.round(value, scale));
        product += q * f64::from(value);
        square += q * q;
    }
    (product / square) as f32
}

/// Two numbers of −8…7 a byte, the first in the low half, each plus 8.
pub(super) fn pack(row: &[i8]) -> Vec<u8> {
    let nibble = |q: i8| (q + 8) as u8 & 0x0f;
    row.chunks(2).map(|pair| nibble(pair[0]) | nibble(pair.get(1).copied().unwrap_or(0)) << 4).collect()
}

/// The first `width` numbers of a packed row.
pub(super) fn unpack(row: &[u8], width: usize) -> impl Iterator<Item = i8> {
    let numbers = row.iter().flat_map(|byte| [byte & 0x0f, byte >> 4]);
    numbers.take(width).map(|nibble| nibble as i8 - 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_and_unpacking_agree_at_even_and_odd_widths() {
        for row in [vec![-8, 7, 0, -1], vec![3, -4, 5]] {
            assert_eq!(unpack(&pack(&row), row.len()).collect::<Vec<_>>(), row);
        }
    }

    #[test]
    fn integers_that_fit_come_back_exactly() {
        let values: Vec<f32> = (-8..8).map(|q| q as f32 * 0.25).collect();
        let (q, scale) = quantise(&values, &Grid::i4());
        let back: Vec<f32> = q.iter().map(|&q| f32::from(q) * scale).collect();
        assert_eq!(back, values);
    }

    #[test]
    fn zeros_stay_zeros() {
        let (q, scale) = quantise(&[0.0; 5], &Grid::i8());
        assert!(q.iter().all(|&q| q == 0) && scale.is_finite());
    }

    #[test]
    fn the_chosen_scale_beats_the_naive_one() {
        let values: Vec<f32> = (0..64).map(|i| ((i * 37 % 64) as f32 / 64.0 - 0.5).powi(3)).collect();
        let naive = values.iter().fold(0f32, |m, v| m.max(v.abs())) / 7.0;
        let (_, scale) = quantise(&values, &Grid::i4());
        assert!(squared_error(&values, scale, &Grid::i4()) < 0.9 * squared_error(&values, naive, &Grid::i4()));
    }
}
