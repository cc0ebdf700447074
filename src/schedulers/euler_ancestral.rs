//! Ancestral Euler: each step goes below the next σ and comes back with fresh noise (k-diffusion's
//! `sample_euler_ancestral`).

use super::config::Refusal;
use super::noise_schedule::{BetaDefaults, weighted_sum};
use super::sigma_space::{SigmaSpace, SigmaTable, euler_step, scaled_to_unit};
use super::{Latents, PredictionType, Result, Scheduler, SchedulerConfig, Timestep, ensure_same_shape, required_noise};

const NAME: &str = "euler_a";

#[derive(Clone, Debug)]
struct EulerAncestral {
    space: SigmaSpace,
    prediction: PredictionType,
    table: SigmaTable,
}

pub(super) fn build(config: &SchedulerConfig) -> Result<Box<dyn Scheduler>> {
    config.refuse(NAME, &[Refusal::SamplePrediction])?;
    let without_karras = SchedulerConfig { use_karras_sigmas: None, ..config.clone() };
    let space = SigmaSpace::new(&without_karras, BetaDefaults::DDPM)?.ending_at_zero();
    Ok(Box::new(EulerAncestral { space, prediction: config.prediction(), table: SigmaTable::default() }))
}

impl Scheduler for EulerAncestral {
    fn name(&self) -> &'static str {
        NAME
    }

    fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<()> {
        self.table = self.space.table(num_inference_steps)?;
        Ok(())
    }

    fn timesteps(&self) -> &[Timestep] {
        &self.table.timesteps
    }

    fn init_noise_sigma(&self) -> f32 {
        self.space.init_noise_sigma(&self.table.sigmas)
    }

    fn scale_model_input(&self, latents: &Latents, step: usize) -> Result<Latents> {
        Ok(scaled_to_unit(latents, self.table.interval(step)?.0))
    }

    fn noise_needed(&self, step: usize) -> bool {
        step + 1 < self.table.timesteps.len()
    }

    fn step(
        &mut self,
        model_output: &Latents,
        step: usize,
        sample: &Latents,
        noise: Option<&Latents>,
    ) -> Result<Latents> {
        let (sigma, next) = self.table.interval(step)?;
        ensure_same_shape("model output", model_output, sample)?;
        let original = self.prediction.original_in_sigma(model_output, sample, sigma);
        let up = (next * next * (sigma * sigma - next * next) / (sigma * sigma)).sqrt();
        let down = (next * next - up * up).max(0.0).sqrt();
        let latents = euler_step(sample, &original, sigma, down);
        if !self.noise_needed(step) {
            return Ok(latents);
        }
        Ok(weighted_sum(1.0, &latents, up, required_noise(NAME, step, noise, sample)?))
    }

    fn add_noise(&self, original: &Latents, noise: &Latents, step: usize) -> Result<Latents> {
        ensure_same_shape("noise", noise, original)?;
        Ok(weighted_sum(1.0, original, self.table.interval(step)?.0, noise))
    }

    fn boxed_clone(&self) -> Box<dyn Scheduler> {
        Box::new(self.clone())
    }
}
