//! DDPM, "Denoising Diffusion Probabilistic Models" (Ho et al., 2020), eq. 6 and 7.

use super::config::Refusal;
use super::ddim::{ensure_signal, whole_timesteps};
use super::noise_schedule::{BetaDefaults, weighted_sum};
use super::prediction::clipped;
use super::spacing::Spacing;
use super::{
    Error, Latents, NoiseSchedule, Result, Scheduler, SchedulerConfig, Timestep, TimestepSpacing, ensure_same_shape,
    required_noise,
};

const NAME: &str = "ddpm";

/// The variance of the reverse step.
#[derive(Clone, Copy, Debug)]
enum Variance {
    /// β̃, the posterior's; its logarithm is diffusers' `fixed_small_log`, the same number.
    Small,
    /// β.
    Large,
}

#[derive(Clone, Debug)]
struct Ddpm {
    schedule: NoiseSchedule,
    spacing: Spacing,
    clip: Option<f32>,
    variance: Variance,
    timesteps: Vec<Timestep>,
}

pub(super) fn build(config: &SchedulerConfig) -> Result<Box<dyn Scheduler>> {
    config.refuse(NAME, &[Refusal::Thresholding])?;
    let schedule = NoiseSchedule::with_defaults(config, BetaDefaults::DDPM)?;
    let variance = match config.variance_type.as_deref() {
        None | Some("fixed_small" | "fixed_small_log") => Variance::Small,
        Some("fixed_large") => Variance::Large,
        Some(other) => {
            let advice = "use fixed_small or fixed_large; a UNet of Stable Diffusion gives no variance";
            return Err(Error::Unsupported {
                scheduler: NAME,
                option: "variance_type",
                value: other.to_owned(),
                advice,
            });
        }
    };
    Ok(Box::new(Ddpm {
        spacing: Spacing::new(config, schedule.num_train_timesteps(), TimestepSpacing::Leading),
        schedule,
        clip: config.clip(true),
        variance,
        timesteps: Vec::new(),
    }))
}

impl Ddpm {
    fn previous_alpha(&self, step: usize) -> f32 {
        self.timesteps.get(step + 1).map_or(1.0, |t| self.schedule.alpha_cumprod(t.index()))
    }
}

impl Scheduler for Ddpm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<()> {
        self.timesteps = whole_timesteps(&self.spacing.timesteps(num_inference_steps)?);
        ensure_signal(NAME, &self.schedule, &self.timesteps)
    }

    fn timesteps(&self) -> &[Timestep] {
        &self.timesteps
    }

    fn noise_needed(&self, step: usize) -> bool {
        self.timesteps.get(step).is_some_and(|t| t.index() > 0)
    }

    fn step(
        &mut self,
        model_output: &Latents,
        step: usize,
        sample: &Latents,
        noise: Option<&Latents>,
    ) -> Result<Latents> {
        let timestep = self.timestep(step)?.index();
        ensure_same_shape("model output", model_output, sample)?;
        let (alpha, before) = (self.schedule.alpha_cumprod(timestep), self.previous_alpha(step));
        let step_alpha = alpha / before;
        let step_beta = 1.0 - step_alpha;

        let prediction = self.schedule.prediction_type();
        let original = prediction.original(model_output, sample, alpha.sqrt(), (1.0 - alpha).sqrt());
        let original = clipped(original, self.clip);
        let original_share = before.sqrt() * step_beta / (1.0 - alpha);
        let sample_share = step_alpha.sqrt() * (1.0 - before) / (1.0 - alpha);
        let mean = weighted_sum(original_share, &original, sample_share, sample);
        if !self.noise_needed(step) {
            return Ok(mean);
        }
        let variance = match self.variance {
            Variance::Small => ((1.0 - before) / (1.0 - alpha) * step_beta).max(1e-20),
            Variance::Large => step_beta,
        };
        Ok(weighted_sum(1.0, &mean, variance.sqrt(), required_noise(NAME, step, noise, sample)?))
    }

    fn add_noise(&self, original: &Latents, noise: &Latents, step: usize) -> Result<Latents> {
        self.schedule.add_noise(original, noise, self.timestep(step)?.index())
    }

    fn boxed_clone(&self) -> Box<dyn Scheduler> {
        Box::new(self.clone())
    }
}
