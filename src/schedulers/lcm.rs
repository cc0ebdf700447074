//! The sampler of "Latent Consistency Models" (Luo et al., 2023), algorithm 3.

use super::config::Refusal;
use super::ddim::ensure_signal;
use super::noise_schedule::{BetaDefaults, weighted_sum};
use super::prediction::clipped;
use super::{
    Error, Latents, NoiseSchedule, Result, Scheduler, SchedulerConfig, Timestep, ensure_same_shape, required_noise,
};

const NAME: &str = "lcm";

/// Standard deviation of the data that the boundary conditions assume.
const SIGMA_DATA: f32 = 0.5;

#[derive(Clone, Debug)]
struct Lcm {
    schedule: NoiseSchedule,
    original_inference_steps: usize,
    timestep_scaling: f64,
    clip: Option<f32>,
    timesteps: Vec<Timestep>,
}

pub(super) fn build(config: &SchedulerConfig) -> Result<Box<dyn Scheduler>> {
    config.refuse(NAME, &[Refusal::Thresholding])?;
    let schedule = NoiseSchedule::with_defaults(config, BetaDefaults::STABLE_DIFFUSION)?;
    let original_inference_steps = config.original_inference_steps.unwrap_or(50);
    if !(1..=schedule.num_train_timesteps()).contains(&original_inference_steps) {
        let reason = format!("must be from 1 to {}", schedule.num_train_timesteps());
        let value = original_inference_steps.to_string();
        return Err(Error::Invalid { option: "original_inference_steps", value, reason });
    }
    Ok(Box::new(Lcm {
        schedule,
        original_inference_steps,
        timestep_scaling: config.timestep_scaling.unwrap_or(10.0),
        clip: config.clip(false),
        timesteps: Vec::new(),
    }))
}

impl Lcm {
    /// c_skip and c_out, which make the model's answer at t = 0 the latents themselves.
    fn boundary_conditions(&self, timestep: Timestep) -> (f32, f32) {
        let scaled = (timestep.value() * self.timestep_scaling) as f32;
        let sum = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        (SIGMA_DATA * SIGMA_DATA / sum, scaled / sum.sqrt())
    }
}

impl Scheduler for Lcm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<()> {
        let original = self.original_inference_steps;
        if !(1..=original).contains(&num_inference_steps) {
            let reason = format!("must be from 1 to original_inference_steps = {original}");
            return Err(Error::Steps { num_inference_steps, reason });
        }
        let stride = self.schedule.num_train_timesteps() / original;
        let fraction = original as f64 / num_inference_steps as f64;
        let skipped = |i: usize| (i as f64 * fraction).floor() as usize;
        let timestep = |i: usize| Timestep::new(((original - skipped(i)) * stride - 1) as f64);
        self.timesteps = (0..num_inference_steps).map(timestep).collect();
        ensure_signal(NAME, &self.schedule, &self.timesteps)
    }

    fn timesteps(&self) -> &[Timestep] {
        &self.timesteps
    }

    fn noise_needed(&self, step: usize) -> bool {
        step + 1 < self.timesteps.len()
    }

    fn step(
        &mut self,
        model_output: &Latents,
        step: usize,
        sample: &Latents,
        noise: Option<&Latents>,
    ) -> Result<Latents> {
        let timestep = self.timestep(step)?;
        ensure_same_shape("model output", model_output, sample)?;
        let alpha = self.schedule.alpha_cumprod(timestep.index());
        let prediction = self.schedule.prediction_type();
        let original = prediction.original(model_output, sample, alpha.sqrt(), (1.0 - alpha).sqrt());
        let (skip, out) = self.boundary_conditions(timestep);
        let denoised = weighted_sum(out, &clipped(original, self.clip), skip, sample);
        match self.timesteps.get(step + 1) {
            None => Ok(denoised),
            Some(next) => {
                let alpha = self.schedule.alpha_cumprod(next.index());
                let noise = required_noise(NAME, step, noise, sample)?;
                Ok(weighted_sum(alpha.sqrt(), &denoised, (1.0 - alpha).sqrt(), noise))
            }
        }
    }

    fn add_noise(&self, original: &Latents, noise: &Latents, step: usize) -> Result<Latents> {
        self.schedule.add_noise(original, noise, self.timestep(step)?.index())
    }

    fn boxed_clone(&self) -> Box<dyn Scheduler> {
        Box::new(self.clone())
    }
}
