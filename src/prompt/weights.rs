//! Prompt weights on embeddings.

use ndarray::{ArrayViewMut2, Axis};

use super::{Error, Result};

/// Multiplies each row of a chunk's embedding `[77, C]` by its token's weight, then scales the whole so
/// that its mean is what it was, as AUTOMATIC1111's web UI does. Nothing changes where all weights are 1.
///
/// Fails where there are not as many weights as rows, or where the mean vanishes and the scale with it.
pub fn apply_weights(mut embedding: ArrayViewMut2<f32>, weights: &[f32]) -> Result<()> {
    if weights.len() != embedding.nrows() {
        let reason = format!("{} weights for {} tokens", weights.len(), embedding.nrows());
        return Err(Error::Weights { reason });
    }
    if weights.iter().all(|&weight| weight == 1.0) {
        return Ok(());
    }
    let mean = |rows: &ArrayViewMut2<f32>| rows.iter().map(|&value| f64::from(value)).sum::<f64>();
    let before = mean(&embedding);
    for (mut row, &weight) in embedding.axis_iter_mut(Axis(0)).zip(weights) {
        row *= weight;
    }
    let scale = (before / mean(&embedding)) as f32;
    if !scale.is_finite() {
        let reason = "they cancel out: the weighted embedding has the mean 0, which cannot be restored".into();
        return Err(Error::Weights { reason });
    }
    embedding *= scale;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn the_mean_is_restored() {
        let mut embedding = array![[1.0, 2.0], [3.0, 6.0]];
        apply_weights(embedding.view_mut(), &[1.0, 2.0]).expect("applies");
        // Sums: 12 before, 3 + 18 = 21 after.
        let scale = 12.0 / 21.0;
        let expected = array![[1.0, 2.0], [6.0, 12.0]] * scale;
        assert!((embedding - expected).iter().all(|d: &f32| d.abs() < 1e-6));
    }

    #[test]
    fn weights_of_one_change_no_bit() {
        let original = Array2::from_shape_fn((3, 2), |(i, j)| 0.1 + i as f32 / 3.0 - j as f32 / 7.0);
        let mut embedding = original.clone();
        apply_weights(embedding.view_mut(), &[1.0; 3]).expect("applies");
        assert_eq!(embedding, original);
    }

    #[test]
    fn what_cannot_be_done_is_an_error() {
        assert!(apply_weights(Array2::ones((2, 2)).view_mut(), &[1.0]).is_err());
        assert!(apply_weights(Array2::ones((2, 2)).view_mut(), &[1.0, -1.0]).is_err());
    }
}
