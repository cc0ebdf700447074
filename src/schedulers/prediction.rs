use ndarray::Zip;

use super::noise_schedule::weighted_sum;
use super::{Latents, PredictionType};

impl PredictionType {
    /// x₀ from the model output where z = α x₀ + σ ε with α² + σ² = 1.
    pub(super) fn original(self, output: &Latents, sample: &Latents, alpha: f32, sigma: f32) -> Latents {
        match self {
            Self::Epsilon => Zip::from(output).and(sample).map_collect(|&e, &z| (z - sigma * e) / alpha),
            Self::VPrediction => weighted_sum(alpha, sample, -sigma, output),
            Self::Sample => output.clone(),
        }
    }

    /// ε from the model output where z = α x₀ + σ ε with α² + σ² = 1.
    pub(super) fn epsilon(self, output: &Latents, sample: &Latents, alpha: f32, sigma: f32) -> Latents {
        match self {
            Self::Epsilon => output.clone(),
            Self::VPrediction => weighted_sum(alpha, output, sigma, sample),
            Self::Sample => Zip::from(output).and(sample).map_collect(|&x, &z| (z - alpha * x) / sigma),
        }
    }

    /// x₀ from the model output where z = x₀ + σ ε.
    pub(super) fn original_in_sigma(self, output: &Latents, sample: &Latents, sigma: f32) -> Latents {
        match self {
            Self::Epsilon => weighted_sum(1.0, sample, -sigma, output),
            Self::VPrediction => {
                let scale = sigma * sigma + 1.0;
                let factor = -sigma / scale.sqrt();
                Zip::from(output).and(sample).map_collect(|&v, &z| v * factor + z / scale)
            }
            Self::Sample => output.clone(),
        }
    }
}

/// x₀ clipped to ±`bound`, if there is one.
pub(super) fn clipped(original: Latents, bound: Option<f32>) -> Latents {
    match bound {
        Some(bound) => original.mapv_into(|x| x.clamp(-bound, bound)),
        None => original,
    }
}
