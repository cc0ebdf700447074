//! Euler's method in σ, "Elucidating the Design Space of Diffusion-Based Generative Models" (Karras et
//! al., 2022), algorithm 2 without churn.

use super::config::Refusal;
use super::noise_schedule::{BetaDefaults, weighted_sum};
use super::sigma_space::{SigmaSpace, SigmaTable, euler_step, scaled_to_unit};
use super::{Latents, PredictionType, Result, Scheduler, SchedulerConfig, Timestep, ensure_same_shape};

const NAME: &str = "euler";

#[derive(Clone, Debug)]
struct Euler {
    space: SigmaSpace,
    prediction: PredictionType,
    table: SigmaTable,
}

pub(super) fn build(config: &SchedulerConfig) -> Result<Box<dyn Scheduler>> {
    config.refuse(
        NAME,
        &[Refusal::ExponentialSigmas, Refusal::BetaSigmas, Refusal::Interpolation, Refusal::ContinuousTimesteps],
    )?;
    let space = SigmaSpace::new(config, BetaDefaults::DDPM)?;
    Ok(Box::new(Euler { space, prediction: config.prediction(), table: SigmaTable::default() }))
}

impl Scheduler for Euler {
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

    fn step(
        &mut self,
        model_output: &Latents,
        step: usize,
        sample: &Latents,
        _noise: Option<&Latents>,
    ) -> Result<Latents> {
        let (sigma, next) = self.table.interval(step)?;
        ensure_same_shape("model output", model_output, sample)?;
        let original = self.prediction.original_in_sigma(model_output, sample, sigma);
        Ok(euler_step(sample, &original, sigma, next))
    }

    fn add_noise(&self, original: &Latents, noise: &Latents, step: usize) -> Result<Latents> {
        ensure_same_shape("noise", noise, original)?;
        Ok(weighted_sum(1.0, original, self.table.interval(step)?.0, noise))
    }

    fn boxed_clone(&self) -> Box<dyn Scheduler> {
        Box::new(self.clone())
    }
}
