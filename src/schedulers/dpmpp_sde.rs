//! DPM-Solver++ (SDE), second order with two evaluations a step (k-diffusion's `sample_dpmpp_sde`).
//!
//! diffusers asks a Brownian tree for the noise between σ and the midpoint, then for that between σ and
//! the next σ, which contains the former. Steps come in order, so no tree is needed: the caller's noise
//! at the second evaluation is that between the midpoint and the next σ, and both are joined to the
//! same path. Its law is the tree's; its numbers depend on the caller's generator alone.

use ndarray::Zip;

use super::config::Refusal;
use super::noise_schedule::{BetaDefaults, weighted_sum};
use super::sigma_space::{SigmaSpace, SigmaTable, euler_step, scaled_to_unit};
use super::{
    Latents, PredictionType, Result, Scheduler, SchedulerConfig, StepOrder, Timestep, ensure_same_shape, required_noise,
};

const NAME: &str = "dpmpp_sde";

#[derive(Clone, Debug)]
struct DpmppSde {
    space: SigmaSpace,
    prediction: PredictionType,
    table: SigmaTable,
    order: StepOrder,
    first_half: Option<FirstHalf>,
}

/// Where a step began, and the noise of its first half.
#[derive(Clone, Debug)]
struct FirstHalf {
    sample: Latents,
    noise: Latents,
}

pub(super) fn build(config: &SchedulerConfig) -> Result<Box<dyn Scheduler>> {
    config.refuse(
        NAME,
        &[Refusal::ZeroSnr, Refusal::ExponentialSigmas, Refusal::BetaSigmas, Refusal::SamplePrediction],
    )?;
    Ok(Box::new(DpmppSde {
        space: SigmaSpace::new(config, BetaDefaults::NARROW)?.ending_at_zero(),
        prediction: config.prediction(),
        table: SigmaTable::default(),
        order: StepOrder::new(2),
        first_half: None,
    }))
}

/// exp of the mean of ln σ.
fn midpoint(sigma: f32, next: f32) -> f32 {
    let (t, t_next) = (-sigma.ln(), -next.ln());
    (-(t + (t_next - t) * 0.5)).exp()
}

impl DpmppSde {
    /// σ at the ends of the inference step that this evaluation belongs to.
    fn whole_step(&self, step: usize) -> Result<(f32, f32)> {
        self.table.interval(step - step % 2)
    }

    /// σ at which the model is evaluated.
    fn input_sigma(&self, step: usize) -> Result<f32> {
        let (sigma, next) = self.whole_step(step)?;
        Ok(if step.is_multiple_of(2) { sigma } else { midpoint(sigma, next) })
    }
}

/// One ancestral step of the exponential integrator from σ to `target`.
fn ancestral_step(sample: &Latents, original: &Latents, noise: &Latents, sigma: f32, target: f32) -> Latents {
    let variance = target * target * (sigma * sigma - target * target) / (sigma * sigma);
    let up = target.min(variance.sqrt());
    let down = (target * target - up * up).max(0.0).sqrt();
    let (t, t_down) = (-sigma.ln(), -down.ln());
    let (keep, pull) = ((-t_down).exp() / (-t).exp(), (t - t_down).exp_m1());
    Zip::from(sample).and(original).and(noise).map_collect(|&z, &x, &n| keep * z - pull * x + n * up)
}

impl Scheduler for DpmppSde {
    fn name(&self) -> &'static str {
        NAME
    }

    fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<()> {
        let timesteps = self.space.spacing.timesteps(num_inference_steps)?;
        let (timesteps, sigmas) = self.space.trajectory(num_inference_steps, timesteps);
        let mut table = self.space.close(&timesteps, &sigmas).doubled();
        for (timestep, ends) in table.timesteps.iter_mut().skip(1).step_by(2).zip(sigmas.windows(2)) {
            let middle = ((ends[0].ln() + ends[1].ln()) / 2.0).exp();
            *timestep = Timestep::new(self.space.timestep_at(middle));
        }
        self.table = table;
        self.order = StepOrder::new(2);
        self.first_half = None;
        Ok(())
    }

    fn timesteps(&self) -> &[Timestep] {
        &self.table.timesteps
    }

    fn order(&self) -> usize {
        2
    }

    fn init_noise_sigma(&self) -> f32 {
        self.space.init_noise_sigma(&self.table.sigmas)
    }

    fn scale_model_input(&self, latents: &Latents, step: usize) -> Result<Latents> {
        self.timestep(step)?;
        Ok(scaled_to_unit(latents, self.input_sigma(step)?))
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
        self.timestep(step)?;
        ensure_same_shape("model output", model_output, sample)?;
        let noise = match self.noise_needed(step) {
            true => Some(required_noise(NAME, step, noise, sample)?),
            false => None,
        };
        self.order.advance(step)?;
        let (sigma, next) = self.whole_step(step)?;
        let original = self.prediction.original_in_sigma(model_output, sample, self.input_sigma(step)?);
        let Some(noise) = noise else { return Ok(euler_step(sample, &original, sigma, next)) };
        let middle = midpoint(sigma, next);
        match self.first_half.take() {
            Some(first) => {
                ensure_same_shape("model output", model_output, &first.sample)?;
                let (near, far) = ((sigma - middle).abs().sqrt(), (middle - next).abs().sqrt());
                let path = weighted_sum(near, &first.noise, far, noise) / (sigma - next).abs().sqrt();
                Ok(ancestral_step(&first.sample, &original, &path, sigma, next))
            }
            None => {
                let latents = ancestral_step(sample, &original, noise, sigma, middle);
                self.first_half = Some(FirstHalf { sample: sample.clone(), noise: noise.clone() });
                Ok(latents)
            }
        }
    }

    fn add_noise(&self, original: &Latents, noise: &Latents, step: usize) -> Result<Latents> {
        ensure_same_shape("noise", noise, original)?;
        Ok(weighted_sum(1.0, original, self.table.interval(step)?.0, noise))
    }

    fn boxed_clone(&self) -> Box<dyn Scheduler> {
        Box::new(self.clone())
    }
}
