//! DDIM, "Denoising Diffusion Implicit Models" (Song et al., 2020), eq. 12 and 16.

use super::config::Refusal;
use super::noise_schedule::{BetaDefaults, weighted_sum};
use super::prediction::clipped;
use super::spacing::Spacing;
use super::{
    Error, Latents, NoiseSchedule, PredictionType, Result, Scheduler, SchedulerConfig, Timestep, TimestepSpacing,
    ensure_same_shape, required_noise,
};

const NAME: &str = "ddim";

#[derive(Clone, Debug)]
struct Ddim {
    schedule: NoiseSchedule,
    spacing: Spacing,
    final_alpha: f32,
    clip: Option<f32>,
    eta: f32,
    stride: usize,
    timesteps: Vec<Timestep>,
}

pub(super) fn build(config: &SchedulerConfig) -> Result<Box<dyn Scheduler>> {
    config.refuse(NAME, &[Refusal::Thresholding])?;
    let schedule = NoiseSchedule::with_defaults(config, BetaDefaults::DDPM)?;
    let eta = config.eta.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&eta) {
        let reason = "must lie between 0 and 1".to_owned();
        return Err(Error::Invalid { option: "eta", value: eta.to_string(), reason });
    }
    let final_alpha = if config.set_alpha_to_one.unwrap_or(true) { 1.0 } else { schedule.alpha_cumprod(0) };
    Ok(Box::new(Ddim {
        spacing: Spacing::new(config, schedule.num_train_timesteps(), TimestepSpacing::Leading),
        schedule,
        final_alpha,
        clip: config.clip(true),
        eta,
        stride: 0,
        timesteps: Vec::new(),
    }))
}

impl Ddim {
    fn previous_alpha(&self, timestep: usize) -> f32 {
        timestep.checked_sub(self.stride).map_or(self.final_alpha, |previous| self.schedule.alpha_cumprod(previous))
    }
}

impl Scheduler for Ddim {
    fn name(&self) -> &'static str {
        NAME
    }

    fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<()> {
        let timesteps = self.spacing.timesteps(num_inference_steps)?;
        self.timesteps = whole_timesteps(&timesteps);
        self.stride = self.schedule.num_train_timesteps() / num_inference_steps;
        ensure_signal(NAME, &self.schedule, &self.timesteps)
    }

    fn timesteps(&self) -> &[Timestep] {
        &self.timesteps
    }

    fn noise_needed(&self, _step: usize) -> bool {
        self.eta > 0.0
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
        let alpha = self.schedule.alpha_cumprod(timestep);
        let before = self.previous_alpha(timestep);
        let (signal, sigma) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let prediction = self.schedule.prediction_type();

        let original = clipped(prediction.original(model_output, sample, signal, sigma), self.clip);
        let epsilon = prediction.epsilon(model_output, sample, signal, sigma);
        let variance = (1.0 - before) / (1.0 - alpha) * (1.0 - alpha / before);
        let deviation = self.eta * variance.sqrt();
        let direction = (1.0 - before - deviation * deviation).sqrt();
        let latents = weighted_sum(before.sqrt(), &original, direction, &epsilon);
        if !self.noise_needed(step) {
            return Ok(latents);
        }
        Ok(weighted_sum(1.0, &latents, deviation, required_noise(NAME, step, noise, sample)?))
    }

    fn add_noise(&self, original: &Latents, noise: &Latents, step: usize) -> Result<Latents> {
        self.schedule.add_noise(original, noise, self.timestep(step)?.index())
    }

    fn boxed_clone(&self) -> Box<dyn Scheduler> {
        Box::new(self.clone())
    }
}

/// Timesteps rounded to whole ones, as schedulers that look ᾱ up need them.
pub(super) fn whole_timesteps(timesteps: &[f64]) -> Vec<Timestep> {
    timesteps.iter().map(|t| Timestep::new(t.round_ties_even())).collect()
}

/// Refuses ε prediction where the latents are pure noise: x₀ = (z − σ ε) / 0.
pub(super) fn ensure_signal(scheduler: &'static str, schedule: &NoiseSchedule, timesteps: &[Timestep]) -> Result<()> {
    let silent = timesteps.iter().find(|t| schedule.alpha_cumprod(t.index()) == 0.0);
    match silent {
        Some(timestep) if schedule.prediction_type() == PredictionType::Epsilon => Err(Error::NoSignal {
            scheduler,
            timestep: timestep.value(),
            option: "prediction_type",
            value: "epsilon",
            advice: "models of zero terminal SNR predict v: set prediction_type to \"v_prediction\"",
        }),
        _ => Ok(()),
    }
}
