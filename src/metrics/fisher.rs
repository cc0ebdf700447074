//! The latent Fisher divergence: how far two models' predictions lie apart.
//!
//! LFD = ½ E‖ε_θ(z_t, t, c̄) − ε_θ'(z_t, t, c̄)‖², t uniform, z_t the noised latent, the norm over all numbers
//! of a latent (paper, def. 3.1).

use ndarray::{Array3, ArrayView3};
use serde::{Deserialize, Serialize};

use super::{Error, Result, Running};
use crate::noise::TorchGenerator;

/// The random part of one term of the expectation.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    /// t, uniform in 0…T−1.
    pub timestep: usize,
    /// ε, standard normal, `[C, h, w]`.
    pub noise: Array3<f32>,
}

impl Draw {
    /// The draw of pair `index` under `seed`: the same whatever the batch size and where a run was resumed.
    pub fn new(seed: u64, index: u64, timesteps: usize, shape: (usize, usize, usize)) -> Self {
        let mut generator = TorchGenerator::new(seed.wrapping_add(index));
        let mut noise = Array3::zeros(shape);
        generator.randn(shape).assign_to(noise.view_mut());
        let uniform = generator.rand(1).first().copied().unwrap_or_default();
        let timestep = ((f64::from(uniform) * timesteps as f64) as usize).min(timesteps.saturating_sub(1));
        Self { timestep, noise }
    }
}

/// z_t = √ᾱ_t · z₀ + √(1 − ᾱ_t) · ε.
pub fn noised(latent: ArrayView3<f32>, noise: ArrayView3<f32>, alpha_cumprod: f32) -> Array3<f32> {
    let (signal, noise_share) = (alpha_cumprod.sqrt(), (1.0 - alpha_cumprod).sqrt());
    &latent * signal + &noise * noise_share
}

/// The divergence so far, over the pairs that went in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Fisher(Running);

impl Fisher {
    /// Takes in both models' predictions `[C, h, w]` for one noised latent.
    ///
    /// Fails where their shapes differ or a number is not finite.
    pub fn push(&mut self, original: ArrayView3<f32>, customised: ArrayView3<f32>) -> Result<()> {
        if original.dim() != customised.dim() {
            let reason = format!("of shape {:?} and {:?}", original.dim(), customised.dim());
            return Err(Error::input("predictions", reason));
        }
        let square = |(&a, &b): (&f32, &f32)| (f64::from(a) - f64::from(b)).powi(2);
        let divergence = 0.5 * original.iter().zip(customised.iter()).map(square).sum::<f64>();
        if !divergence.is_finite() {
            let reason = format!("pair {} holds NaN or Inf", self.0.count());
            return Err(Error::input("predictions", reason));
        }
        self.0.push(divergence);
        Ok(())
    }

    /// Mean, standard error and count.
    pub fn statistics(&self) -> &Running {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_squared_distance() {
        let mut fisher = Fisher::default();
        let zeros = Array3::zeros((4, 2, 2));
        fisher.push(zeros.view(), Array3::from_elem((4, 2, 2), 0.5).view()).unwrap();
        fisher.push(zeros.view(), zeros.view()).unwrap();
        // ½ · 16 · 0.25 = 2, and 0.
        assert_eq!(fisher.statistics().mean(), Some(1.0));
        assert_eq!(fisher.statistics().standard_error(), Some(1.0));
    }

    #[test]
    fn equal_predictions_diverge_by_exactly_zero() {
        let mut fisher = Fisher::default();
        for index in 0..5 {
            let draw = Draw::new(3, index, 1000, (4, 8, 8));
            fisher.push(draw.noise.view(), draw.noise.view()).unwrap();
        }
        assert_eq!(fisher.statistics().mean(), Some(0.0));
    }

    #[test]
    fn bad_predictions_are_refused() {
        let mut fisher = Fisher::default();
        assert!(fisher.push(Array3::zeros((4, 2, 2)).view(), Array3::zeros((4, 2, 3)).view()).is_err());
        assert!(fisher.push(Array3::zeros((1, 1, 1)).view(), Array3::from_elem((1, 1, 1), f32::NAN).view()).is_err());
        assert_eq!(fisher.statistics().count(), 0);
    }

    #[test]
    fn draws_depend_on_seed_and_index_only_and_cover_the_schedule() {
        let shape = (4, 4, 4);
        assert_eq!(Draw::new(1, 7, 1000, shape), Draw::new(3, 5, 1000, shape), "seed + index");
        let mut steps = Running::default();
        for index in 0..400 {
            let draw = Draw::new(0, index, 1000, shape);
            assert!(draw.timestep < 1000);
            steps.push(draw.timestep as f64);
        }
        // Uniform in 0…999: mean 499.5, standard error 14; five of them.
        assert!((steps.mean().unwrap() - 499.5).abs() < 72.0);
    }

    #[test]
    fn noise_keeps_the_variance() {
        let draw = Draw::new(0, 0, 1000, (1, 2, 2));
        let clean = Array3::ones((1, 2, 2));
        assert_eq!(noised(clean.view(), draw.noise.view(), 1.0), clean);
        assert_eq!(noised(clean.view(), draw.noise.view(), 0.0), draw.noise);
        let half = noised(clean.view(), clean.view(), 0.36);
        assert!(half.iter().all(|v| (v - 1.4).abs() < 1e-6));
    }
}
