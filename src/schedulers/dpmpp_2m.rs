//! DPM-Solver++ (2M), "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models"
//! (Lu et al., 2022), algorithm 2, and its SDE form: second order by the output of the step before.

use super::config::Refusal;
use super::noise_schedule::{BetaDefaults, weighted_sum};
use super::sigma_space::{LogSnr, SigmaSpace, SigmaTable, multistep_table};
use super::{
    Error, FinalSigmas, Latents, PredictionType, Result, Scheduler, SchedulerConfig, StepOrder, Timestep,
    ensure_same_shape, required_noise,
};

const NAME: &str = "dpmpp_2m";

/// With fewer steps than this the last one is of first order, which is stabler.
const FEW_STEPS: usize = 15;

#[derive(Clone, Debug)]
struct Dpmpp2m {
    space: SigmaSpace,
    prediction: PredictionType,
    options: Options,
    table: SigmaTable,
    order: StepOrder,
    /// x₀ as the step before saw it.
    previous: Option<Latents>,
}

#[derive(Clone, Copy, Debug)]
struct Options {
    stochastic: bool,
    second_order: bool,
    heun: bool,
    lower_order_final: bool,
    euler_at_final: bool,
    ends_at_zero: bool,
    last_timestep: usize,
    whole_karras: bool,
}

pub(super) fn build(config: &SchedulerConfig) -> Result<Box<dyn Scheduler>> {
    config.refuse(
        NAME,
        &[
            Refusal::Thresholding,
            Refusal::ExponentialSigmas,
            Refusal::BetaSigmas,
            Refusal::FlowSigmas,
            Refusal::LuLambdas,
        ],
    )?;
    let space = SigmaSpace::new(config, BetaDefaults::DDPM)?;
    let options = Options::new(config, &space)?;
    Ok(Box::new(Dpmpp2m {
        space,
        prediction: config.prediction(),
        options,
        table: SigmaTable::default(),
        order: StepOrder::new(1),
        previous: None,
    }))
}

impl Options {
    fn new(config: &SchedulerConfig, space: &SigmaSpace) -> Result<Self> {
        let unsupported = |option, value: &str, advice| {
            Err(Error::Unsupported { scheduler: NAME, option, value: value.to_owned(), advice })
        };
        Ok(Self {
            stochastic: match config.algorithm_type.as_deref() {
                None | Some("dpmsolver++" | "deis") => false,
                Some("sde-dpmsolver++") => true,
                Some(other) => {
                    return unsupported("algorithm_type", other, "use \"dpmsolver++\" or \"sde-dpmsolver++\"");
                }
            },
            second_order: match config.solver_order.unwrap_or(2) {
                1 => false,
                2 => true,
                other => {
                    return unsupported("solver_order", &other.to_string(), "use 2, or the scheduler unipc with 3");
                }
            },
            heun: match config.solver_type.as_deref() {
                None | Some("midpoint" | "logrho" | "bh1" | "bh2") => false,
                Some("heun") => true,
                Some(other) => return unsupported("solver_type", other, "use \"midpoint\" or \"heun\""),
            },
            lower_order_final: config.lower_order_final.unwrap_or(true),
            euler_at_final: config.euler_at_final.unwrap_or(false),
            ends_at_zero: config.final_sigmas_type != Some(FinalSigmas::SigmaMin),
            last_timestep: space.timesteps_above(config.lambda_min_clipped.unwrap_or(f64::NEG_INFINITY)),
            whole_karras: config.beta_schedule != Some(super::BetaSchedule::SquaredcosCapV2),
        })
    }

    fn is_first_order(&self, step: usize, steps: usize) -> bool {
        let last = step + 1 == steps;
        let lowered = self.euler_at_final || (self.lower_order_final && steps < FEW_STEPS) || self.ends_at_zero;
        !self.second_order || (last && lowered)
    }
}

impl Dpmpp2m {
    /// The coefficients of algorithm 2: (on the latents, on D₀, on D₁, on the noise).
    fn coefficients(&self, from: LogSnr, to: LogSnr) -> (f32, f32, f32, f32) {
        let h = to.lambda - from.lambda;
        if self.options.stochastic {
            let shrink = 1.0 - (-2.0 * h).exp();
            let slope = if self.options.heun { shrink / (-2.0 * h) + 1.0 } else { 0.5 * shrink };
            let keep = to.sigma / from.sigma * (-h).exp();
            return (keep, to.alpha * shrink, to.alpha * slope, to.sigma * (1.0 - (-2.0 * h).exp()).sqrt());
        }
        let shrink = (-h).exp() - 1.0;
        let slope = if self.options.heun { shrink / h + 1.0 } else { -0.5 * shrink };
        (to.sigma / from.sigma, -to.alpha * shrink, to.alpha * slope, 0.0)
    }
}

impl Scheduler for Dpmpp2m {
    fn name(&self) -> &'static str {
        NAME
    }

    fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<()> {
        let rounding = if self.options.whole_karras { f64::round_ties_even } else { f64::trunc };
        self.table = multistep_table(&self.space, num_inference_steps, self.options.last_timestep, rounding)?;
        self.order = StepOrder::new(1);
        self.previous = None;
        Ok(())
    }

    fn timesteps(&self) -> &[Timestep] {
        &self.table.timesteps
    }

    fn noise_needed(&self, step: usize) -> bool {
        self.options.stochastic && self.table.interval(step).is_ok_and(|(_, next)| next > 0.0)
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
        if let Some(previous) = &self.previous {
            ensure_same_shape("model output", model_output, previous)?;
        }
        let noise = match self.noise_needed(step) {
            true => Some(required_noise(NAME, step, noise, sample)?),
            false => None,
        };
        self.order.advance(step)?;

        let (from, to) = (LogSnr::at(sigma), LogSnr::at(next));
        let original = self.prediction.original(model_output, sample, from.alpha, from.sigma);
        let (keep, pull, turn, scatter) = self.coefficients(from, to);
        let mut latents = weighted_sum(keep, sample, pull, &original);
        if let Some(noise) = noise {
            latents = weighted_sum(1.0, &latents, scatter, noise);
        }
        let previous = self.previous.replace(original.clone());
        let first_order = self.options.is_first_order(step, self.table.timesteps.len());
        if let (false, Some(previous), Some(before)) = (first_order, previous, step.checked_sub(1)) {
            let ratio = (from.lambda - LogSnr::at(self.table.interval(before)?.0).lambda) / (to.lambda - from.lambda);
            let difference = weighted_sum(1.0 / ratio, &original, -1.0 / ratio, &previous);
            latents = weighted_sum(1.0, &latents, turn, &difference);
        }
        Ok(latents)
    }

    fn add_noise(&self, original: &Latents, noise: &Latents, step: usize) -> Result<Latents> {
        let at = LogSnr::at(self.table.interval(step)?.0);
        ensure_same_shape("noise", noise, original)?;
        Ok(weighted_sum(at.alpha, original, at.sigma, noise))
    }

    fn boxed_clone(&self) -> Box<dyn Scheduler> {
        Box::new(self.clone())
    }
}
