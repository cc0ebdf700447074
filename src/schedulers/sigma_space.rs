use ndarray::Zip;

use super::noise_schedule::BetaDefaults;
use super::spacing::{Spacing, linspace};
use super::{Error, FinalSigmas, Latents, NoiseSchedule, Result, SchedulerConfig, Timestep, TimestepSpacing};

/// ρ of Karras et al. (2022), eq. 5.
const KARRAS_RHO: f64 = 7.0;

/// Timesteps and σ of training, and how to choose a trajectory among them.
///
/// σ is interpolated in double precision from the single precision table, as NumPy does in diffusers.
#[derive(Clone, Debug)]
pub(super) struct SigmaSpace {
    sigmas: Vec<f32>,
    log_sigmas: Vec<f32>,
    pub spacing: Spacing,
    karras: Option<KarrasRange>,
    final_sigma: f32,
}

/// The ends of Karras's σ; the trajectory's own where absent.
#[derive(Clone, Copy, Debug)]
struct KarrasRange {
    min: Option<f64>,
    max: Option<f64>,
}

/// Timesteps, and σ at each of them and after the last.
#[derive(Clone, Debug, Default)]
pub(super) struct SigmaTable {
    pub timesteps: Vec<Timestep>,
    pub sigmas: Vec<f32>,
}

impl SigmaTable {
    /// σ before and after a step.
    pub fn interval(&self, step: usize) -> Result<(f32, f32)> {
        let len = self.timesteps.len();
        let ends = step.checked_add(1).map(|next| (self.sigmas.get(step), self.sigmas.get(next)));
        match ends {
            Some((Some(&sigma), Some(&next))) if step < len => Ok((sigma, next)),
            _ => Err(Error::StepOutOfRange { step, len }),
        }
    }

    /// Two evaluations a step: the first timestep once, the others, and their σ, twice.
    pub fn doubled(&self) -> Self {
        let twice = |i: usize| if (1..self.timesteps.len()).contains(&i) { 2 } else { 1 };
        let repeat = |i: usize| std::iter::repeat_n(i, twice(i));
        Self {
            timesteps: (0..self.timesteps.len()).flat_map(repeat).map(|i| self.timesteps[i]).collect(),
            sigmas: (0..self.sigmas.len()).flat_map(repeat).map(|i| self.sigmas[i]).collect(),
        }
    }
}

/// α and σ with α² + σ² = 1, and λ = ln(α / σ).
#[derive(Clone, Copy, Debug)]
pub(super) struct LogSnr {
    pub alpha: f32,
    pub sigma: f32,
    pub lambda: f32,
}

impl LogSnr {
    /// At the ratio σ / α.
    pub fn at(ratio: f32) -> Self {
        let alpha = 1.0 / (ratio * ratio + 1.0).sqrt();
        let sigma = ratio * alpha;
        Self { alpha, sigma, lambda: alpha.ln() - sigma.ln() }
    }
}

impl SigmaSpace {
    /// For schedulers that space their timesteps evenly unless told otherwise: all that work in σ.
    pub fn new(config: &SchedulerConfig, defaults: BetaDefaults) -> Result<Self> {
        let schedule = NoiseSchedule::with_defaults(config, defaults)?.with_finite_sigmas();
        let sigmas = schedule.sigmas();
        let smallest = sigmas.first().copied().unwrap_or(0.0);
        Ok(Self {
            log_sigmas: sigmas.iter().map(|sigma| sigma.ln()).collect(),
            spacing: Spacing::new(config, sigmas.len(), TimestepSpacing::Linspace),
            karras: config.karras().then_some(KarrasRange { min: config.sigma_min, max: config.sigma_max }),
            final_sigma: match config.final_sigmas_type.unwrap_or(FinalSigmas::Zero) {
                FinalSigmas::Zero => 0.0,
                FinalSigmas::SigmaMin => smallest,
            },
            sigmas,
        })
    }

    /// σ after the last step is 0 whatever the configuration says.
    pub fn ending_at_zero(self) -> Self {
        Self { final_sigma: 0.0, ..self }
    }

    pub fn num_train_timesteps(&self) -> usize {
        self.sigmas.len()
    }

    /// `n` timesteps and their σ, without the one after the last.
    pub fn trajectory(&self, n: usize, timesteps: Vec<f64>) -> (Vec<f64>, Vec<f64>) {
        let sigmas: Vec<f64> = timesteps.iter().map(|&t| self.sigma_at(t)).collect();
        let (Some(range), Some(&first), Some(&last)) = (self.karras, sigmas.first(), sigmas.last()) else {
            return (timesteps, sigmas);
        };
        let sigmas = karras_sigmas(range.max.unwrap_or(first), range.min.unwrap_or(last), n);
        (sigmas.iter().map(|&sigma| self.timestep_at(sigma)).collect(), sigmas)
    }

    /// How many training timesteps have a ln(α / σ) of at least `lambda`.
    pub fn timesteps_above(&self, lambda: f64) -> usize {
        self.log_sigmas.partition_point(|&log| f64::from(-log) >= lambda)
    }

    /// Karras's σ over the whole range of training, and their timesteps.
    pub fn full_karras_trajectory(&self, n: usize) -> Option<(Vec<f64>, Vec<f64>)> {
        let range = self.karras?;
        let ends = (f64::from(*self.sigmas.last()?), f64::from(*self.sigmas.first()?));
        let sigmas = karras_sigmas(range.max.unwrap_or(ends.0), range.min.unwrap_or(ends.1), n);
        Some((sigmas.iter().map(|&sigma| self.timestep_at(sigma)).collect(), sigmas))
    }

    /// A table of `n` single-precision timesteps: Euler's and its kin's.
    pub fn table(&self, n: usize) -> Result<SigmaTable> {
        let single = |t: f64| f64::from(t as f32);
        let timesteps = self.spacing.timesteps(n)?.into_iter().map(single).collect();
        let (timesteps, sigmas) = self.trajectory(n, timesteps);
        let timesteps: Vec<f64> = timesteps.into_iter().map(single).collect();
        Ok(self.close(&timesteps, &sigmas))
    }

    /// Rounds σ to single precision and appends the one after the last step.
    pub fn close(&self, timesteps: &[f64], sigmas: &[f64]) -> SigmaTable {
        SigmaTable {
            timesteps: timesteps.iter().copied().map(Timestep::new).collect(),
            sigmas: sigmas.iter().map(|&sigma| sigma as f32).chain([self.final_sigma]).collect(),
        }
    }

    /// Factor on standard normal noise that gives latents at the largest σ.
    pub fn init_noise_sigma(&self, sigmas: &[f32]) -> f32 {
        let largest = sigmas.iter().copied().fold(0.0, f32::max);
        if self.spacing.starts_at_sigma() { largest } else { (largest * largest + 1.0).sqrt() }
    }

    /// `numpy.interp` of σ over the training timesteps.
    fn sigma_at(&self, timestep: f64) -> f64 {
        let below = (timestep.max(0.0) as usize).min(self.sigmas.len() - 1);
        let low = f64::from(self.sigmas[below]);
        match self.sigmas.get(below + 1) {
            Some(&high) => (f64::from(high) - low) * (timestep - below as f64) + low,
            None => low,
        }
    }

    /// The timestep whose σ this is, between two of training by ln σ.
    pub fn timestep_at(&self, sigma: f64) -> f64 {
        let log_sigma = sigma.max(1e-10).ln();
        let reached = self.log_sigmas.partition_point(|&log| f64::from(log) <= log_sigma);
        let low = reached.saturating_sub(1).min(self.log_sigmas.len() - 2);
        let (log_low, log_high) = (self.log_sigmas[low], self.log_sigmas[low + 1]);
        let weight = ((f64::from(log_low) - log_sigma) / f64::from(log_low - log_high)).clamp(0.0, 1.0);
        (1.0 - weight) * low as f64 + weight * (low + 1) as f64
    }
}

/// z / √(σ² + 1): latents of unit variance for the UNet.
pub(super) fn scaled_to_unit(latents: &Latents, sigma: f32) -> Latents {
    latents / (sigma * sigma + 1.0).sqrt()
}

/// Euler's step from σ to `next` towards x₀.
pub(super) fn euler_step(sample: &Latents, original: &Latents, sigma: f32, next: f32) -> Latents {
    let length = next - sigma;
    Zip::from(sample).and(original).map_collect(|&z, &x| z + (z - x) / sigma * length)
}

/// The table of DPM++ 2M and UniPC: whole timesteps below `last`, or Karras's σ over the whole range
/// with timesteps made whole by `rounding`.
pub(super) fn multistep_table(
    space: &SigmaSpace,
    n: usize,
    last: usize,
    rounding: fn(f64) -> f64,
) -> Result<SigmaTable> {
    let timesteps = space.spacing.multistep_timesteps(n, last)?;
    let (timesteps, sigmas) = space.full_karras_trajectory(n).unwrap_or_else(|| space.trajectory(n, timesteps));
    let timesteps: Vec<f64> = timesteps.into_iter().map(rounding).collect();
    Ok(space.close(&timesteps, &sigmas))
}

fn karras_sigmas(max: f64, min: f64, n: usize) -> Vec<f64> {
    let (first, last) = (max.powf(1.0 / KARRAS_RHO), min.powf(1.0 / KARRAS_RHO));
    linspace(0.0, 1.0, n).iter().map(|ramp| (first + ramp * (last - first)).powf(KARRAS_RHO)).collect()
}
