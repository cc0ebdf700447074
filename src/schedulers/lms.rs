//! Linear multistep of order four in σ (k-diffusion's `sample_lms`): the slopes of the last four steps,
//! interpolated by a polynomial that is integrated over the step.
//!
//! In img2img, where there are fewer slopes than steps before, diffusers weighs the few by the
//! coefficients of the full order, which do not sum to the step; here the order is the number of slopes.

use std::collections::VecDeque;

use ndarray::Zip;

use super::config::Refusal;
use super::noise_schedule::{BetaDefaults, weighted_sum};
use super::sigma_space::{SigmaSpace, SigmaTable, scaled_to_unit};
use super::{Latents, PredictionType, Result, Scheduler, SchedulerConfig, StepOrder, Timestep, ensure_same_shape};

const NAME: &str = "lms";
const ORDER: usize = 4;

#[derive(Clone, Debug)]
struct Lms {
    space: SigmaSpace,
    prediction: PredictionType,
    table: SigmaTable,
    order: StepOrder,
    /// The newest first.
    slopes: VecDeque<Latents>,
}

pub(super) fn build(config: &SchedulerConfig) -> Result<Box<dyn Scheduler>> {
    config.refuse(NAME, &[Refusal::ZeroSnr, Refusal::ExponentialSigmas, Refusal::BetaSigmas])?;
    Ok(Box::new(Lms {
        space: SigmaSpace::new(config, BetaDefaults::DDPM)?.ending_at_zero(),
        prediction: config.prediction(),
        table: SigmaTable::default(),
        order: StepOrder::new(1),
        slopes: VecDeque::with_capacity(ORDER),
    }))
}

impl Scheduler for Lms {
    fn name(&self) -> &'static str {
        NAME
    }

    fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<()> {
        self.table = self.space.table(num_inference_steps)?;
        self.order = StepOrder::new(1);
        self.slopes.clear();
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
        if let Some(slope) = self.slopes.front() {
            ensure_same_shape("model output", model_output, slope)?;
        }
        self.order.advance(step)?;
        let original = self.prediction.original_in_sigma(model_output, sample, sigma);
        self.slopes.truncate(ORDER - 1);
        self.slopes.push_front(Zip::from(sample).and(&original).map_collect(|&z, &x| (z - x) / sigma));

        let nodes: Vec<f64> =
            (0..self.slopes.len().min(step + 1)).map(|back| f64::from(self.table.sigmas[step - back])).collect();
        let weights = (0..nodes.len()).map(|k| lagrange_integral(&nodes, k, f64::from(sigma), f64::from(next)) as f32);
        Ok(weights
            .zip(&self.slopes)
            .fold(sample.clone(), |sum, (weight, slope)| weighted_sum(1.0, &sum, weight, slope)))
    }

    fn add_noise(&self, original: &Latents, noise: &Latents, step: usize) -> Result<Latents> {
        ensure_same_shape("noise", noise, original)?;
        Ok(weighted_sum(1.0, original, self.table.interval(step)?.0, noise))
    }

    fn boxed_clone(&self) -> Box<dyn Scheduler> {
        Box::new(self.clone())
    }
}

/// ∫ from `a` to `b` of the polynomial that is 1 at `nodes[k]` and 0 at the others, by Gauss–Legendre
/// quadrature of three points, which is exact up to degree five.
fn lagrange_integral(nodes: &[f64], k: usize, a: f64, b: f64) -> f64 {
    const ABSCISSA: f64 = 0.774_596_669_241_483_4;
    const POINTS: [(f64, f64); 3] = [(-ABSCISSA, 5.0 / 9.0), (0.0, 8.0 / 9.0), (ABSCISSA, 5.0 / 9.0)];
    let basis = |x: f64| -> f64 {
        let others = nodes.iter().enumerate().filter(|&(j, _)| j != k);
        others.map(|(_, node)| (x - node) / (nodes[k] - node)).product()
    };
    let (middle, half) = ((a + b) / 2.0, (b - a) / 2.0);
    POINTS.iter().map(|(x, weight)| weight * basis(middle + half * x)).sum::<f64>() * half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_the_step_and_integrate_cubics() {
        let nodes = [1.0, 1.7, 3.0, 4.5];
        let integral =
            |f: fn(f64) -> f64| -> f64 { (0..4).map(|k| lagrange_integral(&nodes, k, 1.0, 0.2) * f(nodes[k])).sum() };
        assert!((integral(|_| 1.0) + 0.8).abs() < 1e-12);
        assert!((integral(|x| x * x * x) - (0.2f64.powi(4) - 1.0) / 4.0).abs() < 1e-12);
    }
}
