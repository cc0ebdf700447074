//! Heun's method in σ (Karras et al., 2022, algorithm 1): an Euler step, and the same step again with
//! the mean of the slopes at both ends. The last step, to σ = 0, is Euler's alone.

use ndarray::Zip;

use super::config::Refusal;
use super::noise_schedule::{BetaDefaults, weighted_sum};
use super::prediction::clipped;
use super::sigma_space::{SigmaSpace, SigmaTable, scaled_to_unit};
use super::{Latents, PredictionType, Result, Scheduler, SchedulerConfig, StepOrder, Timestep, ensure_same_shape};

const NAME: &str = "heun";

#[derive(Clone, Debug)]
struct Heun {
    space: SigmaSpace,
    prediction: PredictionType,
    clip: Option<f32>,
    table: SigmaTable,
    order: StepOrder,
    first_half: Option<FirstHalf>,
}

/// Where an Euler step began, and the slope there.
#[derive(Clone, Debug)]
struct FirstHalf {
    sample: Latents,
    slope: Latents,
    length: f32,
}

pub(super) fn build(config: &SchedulerConfig) -> Result<Box<dyn Scheduler>> {
    config.refuse(NAME, &[Refusal::ZeroSnr, Refusal::ExponentialSigmas, Refusal::BetaSigmas])?;
    Ok(Box::new(Heun {
        space: SigmaSpace::new(config, BetaDefaults::NARROW)?.ending_at_zero(),
        prediction: config.prediction(),
        clip: config.clip(false),
        table: SigmaTable::default(),
        order: StepOrder::new(2),
        first_half: None,
    }))
}

impl Scheduler for Heun {
    fn name(&self) -> &'static str {
        NAME
    }

    fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<()> {
        self.table = self.space.table(num_inference_steps)?.doubled();
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
        self.order.advance(step)?;
        let original = clipped(self.prediction.original_in_sigma(model_output, sample, sigma), self.clip);
        let slope = Zip::from(sample).and(&original).map_collect(|&z, &x| (z - x) / sigma);
        match self.first_half.take() {
            Some(first) => {
                ensure_same_shape("model output", model_output, &first.sample)?;
                let mean = Zip::from(&first.slope).and(&slope).map_collect(|&a, &b| (a + b) / 2.0);
                Ok(weighted_sum(1.0, &first.sample, first.length, &mean))
            }
            None => {
                let length = next - sigma;
                let latents = weighted_sum(1.0, sample, length, &slope);
                self.first_half = Some(FirstHalf { sample: sample.clone(), slope, length });
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
