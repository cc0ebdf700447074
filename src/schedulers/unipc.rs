//! UniPC, "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models" (Zhao
//! et al., 2023), algorithms 1 and 2 with B(h) = h or exp(h) − 1: each output first corrects the latents
//! that it was computed from, then predicts the next ones.

use std::collections::VecDeque;

use super::config::Refusal;
use super::noise_schedule::{BetaDefaults, weighted_sum};
use super::sigma_space::{LogSnr, SigmaSpace, SigmaTable, multistep_table};
use super::{
    Error, FinalSigmas, Latents, PredictionType, Result, Scheduler, SchedulerConfig, StepOrder, Timestep,
    ensure_same_shape,
};

const NAME: &str = "unipc";
const MAX_ORDER: usize = 3;

#[derive(Clone, Debug)]
struct UniPc {
    space: SigmaSpace,
    prediction: PredictionType,
    options: Options,
    table: SigmaTable,
    order: StepOrder,
    /// Converted model outputs, the newest first.
    outputs: VecDeque<Latents>,
    last: Option<LastStep>,
}

#[derive(Clone, Debug)]
struct Options {
    solver_order: usize,
    /// Steps in x₀ rather than ε.
    predict_x0: bool,
    /// B(h) = h rather than exp(h) − 1.
    bh1: bool,
    lower_order_final: bool,
    disable_corrector: Vec<usize>,
}

/// What the corrector needs of the step before.
#[derive(Clone, Debug)]
struct LastStep {
    sample: Latents,
    order: usize,
}

pub(super) fn build(config: &SchedulerConfig) -> Result<Box<dyn Scheduler>> {
    config
        .refuse(NAME, &[Refusal::Thresholding, Refusal::ExponentialSigmas, Refusal::BetaSigmas, Refusal::FlowSigmas])?;
    Ok(Box::new(UniPc {
        space: SigmaSpace::new(config, BetaDefaults::DDPM)?,
        prediction: config.prediction(),
        options: Options::new(config)?,
        table: SigmaTable::default(),
        order: StepOrder::new(1),
        outputs: VecDeque::with_capacity(MAX_ORDER),
        last: None,
    }))
}

impl Options {
    fn new(config: &SchedulerConfig) -> Result<Self> {
        let unsupported = |option, value: String, advice| Error::Unsupported { scheduler: NAME, option, value, advice };
        let options = Self {
            solver_order: config.solver_order.unwrap_or(2),
            predict_x0: config.predict_x0.unwrap_or(true),
            bh1: match config.solver_type.as_deref() {
                None | Some("bh2" | "midpoint" | "heun" | "logrho") => false,
                Some("bh1") => true,
                Some(other) => return Err(unsupported("solver_type", other.to_owned(), "use \"bh2\" or \"bh1\"")),
            },
            lower_order_final: config.lower_order_final.unwrap_or(true),
            disable_corrector: config.disable_corrector.clone().unwrap_or_default(),
        };
        if !(1..=MAX_ORDER).contains(&options.solver_order) {
            return Err(unsupported("solver_order", options.solver_order.to_string(), "use 1, 2 or 3"));
        }
        let infinite = options.bh1 || !options.predict_x0 || (!options.lower_order_final && options.solver_order > 1);
        if infinite && config.final_sigmas_type != Some(FinalSigmas::SigmaMin) {
            let advice = "with bh1, predict_x0 = false or lower_order_final = false the last step must not reach \
                          sigma 0: set it to \"sigma_min\"";
            return Err(unsupported("final_sigmas_type", "zero".to_owned(), advice));
        }
        Ok(options)
    }
}

/// The expansion of one step from `from` to `to` (eq. 6 and 9 of the paper).
struct Expansion {
    /// Factors on the latents and on the newest output.
    keep: f32,
    pull: f32,
    /// Factor on the weighted differences.
    bend: f32,
    /// r of each older output, and 1.
    ratios: Vec<f32>,
    /// Right-hand side of the conditions on the weights.
    moments: Vec<f32>,
}

impl Expansion {
    fn new(options: &Options, from: LogSnr, to: LogSnr, older: &[LogSnr]) -> Self {
        let h = to.lambda - from.lambda;
        let (hh, weight, keep) = match options.predict_x0 {
            true => (-h, to.alpha, to.sigma / from.sigma),
            false => (h, to.sigma, to.alpha / from.alpha),
        };
        let phi = hh.exp_m1();
        let b = if options.bh1 { hh } else { phi };
        let mut ratios: Vec<f32> = older.iter().map(|at| (at.lambda - from.lambda) / h).collect();
        ratios.push(1.0);
        let (mut moments, mut phi_k, mut factorial) = (Vec::with_capacity(ratios.len()), phi / hh - 1.0, 1.0);
        for k in 1..=ratios.len() {
            moments.push(phi_k * factorial / b);
            factorial *= (k + 1) as f32;
            phi_k = phi_k / hh - 1.0 / factorial;
        }
        Self { keep, pull: weight * phi, bend: weight * b, ratios, moments }
    }

    /// ρ such that Σ ρ_j r_j^k = moment_k for k below `count`.
    fn weights(&self, count: usize) -> Vec<f32> {
        let power = |k: i32| self.ratios[..count].iter().map(move |r| f64::from(r.powi(k)));
        let rows = (0..count).map(|k| power(k as i32).chain([f64::from(self.moments[k])]).collect());
        solve(rows.collect())
    }

    fn first_order(&self, sample: &Latents, newest: &Latents) -> Latents {
        weighted_sum(self.keep, sample, -self.pull, newest)
    }
}

impl UniPc {
    fn log_snr(&self, step: usize) -> Result<LogSnr> {
        Ok(LogSnr::at(self.table.interval(step)?.0))
    }

    /// λ of the steps before `newest` that an expansion of this order looks at.
    fn older(&self, newest: usize, order: usize) -> Result<Vec<LogSnr>> {
        (1..order).map_while(|back| newest.checked_sub(back)).map(|step| self.log_snr(step)).collect()
    }

    /// Σ ρ_j (m_j − m_0) / r_j over the older outputs.
    fn differences(&self, weights: &[f32], ratios: &[f32]) -> Latents {
        let newest = &self.outputs[0];
        let terms = weights.iter().zip(ratios).zip(self.outputs.iter().skip(1));
        terms.fold(Latents::zeros(newest.raw_dim()), |sum, ((weight, ratio), older)| {
            let difference = weighted_sum(1.0 / ratio, older, -1.0 / ratio, newest);
            weighted_sum(1.0, &sum, *weight, &difference)
        })
    }

    /// UniC: the latents of this step again, now that the model's answer there is known.
    fn correct(&self, step: usize, output: &Latents, last: &LastStep) -> Result<Latents> {
        let older = self.older(step - 1, last.order)?;
        let expansion = Expansion::new(&self.options, self.log_snr(step - 1)?, self.log_snr(step)?, &older);
        let count = older.len() + 1;
        let weights = if count == 1 { vec![0.5] } else { expansion.weights(count) };
        let (newest, here) = (&self.outputs[0], weights[count - 1]);
        let mut bend = self.differences(&weights[..count - 1], &expansion.ratios);
        bend = weighted_sum(1.0, &bend, here, &weighted_sum(1.0, output, -1.0, newest));
        Ok(weighted_sum(1.0, &expansion.first_order(&last.sample, newest), -expansion.bend, &bend))
    }

    /// UniP: the latents of the next step.
    fn predict(&self, step: usize, sample: &Latents, order: usize) -> Result<Latents> {
        let older = self.older(step, order)?;
        let to = LogSnr::at(self.table.interval(step)?.1);
        let expansion = Expansion::new(&self.options, self.log_snr(step)?, to, &older);
        let latents = expansion.first_order(sample, &self.outputs[0]);
        let weights = match older.len() {
            0 => return Ok(latents),
            1 => vec![0.5],
            count => expansion.weights(count),
        };
        let bend = self.differences(&weights, &expansion.ratios);
        Ok(weighted_sum(1.0, &latents, -expansion.bend, &bend))
    }

    fn converted(&self, output: &Latents, sample: &Latents, at: LogSnr) -> Latents {
        match self.options.predict_x0 {
            true => self.prediction.original(output, sample, at.alpha, at.sigma),
            false => self.prediction.epsilon(output, sample, at.alpha, at.sigma),
        }
    }

    fn order_at(&self, step: usize) -> usize {
        let known = self.outputs.len();
        let left = self.table.timesteps.len() - step;
        let order = if self.options.lower_order_final {
            self.options.solver_order.min(left)
        } else {
            self.options.solver_order
        };
        order.min(known)
    }
}

impl Scheduler for UniPc {
    fn name(&self) -> &'static str {
        NAME
    }

    fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<()> {
        let last = self.space.num_train_timesteps();
        self.table = multistep_table(&self.space, num_inference_steps, last, f64::round_ties_even)?;
        self.order = StepOrder::new(1);
        self.outputs.clear();
        self.last = None;
        Ok(())
    }

    fn timesteps(&self) -> &[Timestep] {
        &self.table.timesteps
    }

    fn step(
        &mut self,
        model_output: &Latents,
        step: usize,
        sample: &Latents,
        _noise: Option<&Latents>,
    ) -> Result<Latents> {
        let at = self.log_snr(step)?;
        ensure_same_shape("model output", model_output, sample)?;
        if let Some(newest) = self.outputs.front() {
            ensure_same_shape("model output", model_output, newest)?;
        }
        self.order.advance(step)?;
        let output = self.converted(model_output, sample, at);
        let corrects = step > 0 && !self.options.disable_corrector.contains(&(step - 1));
        let corrected = match &self.last {
            Some(last) if corrects => self.correct(step, &output, last)?,
            _ => sample.clone(),
        };
        self.outputs.truncate(self.options.solver_order - 1);
        self.outputs.push_front(output);
        let order = self.order_at(step);
        let latents = self.predict(step, &corrected, order)?;
        self.last = Some(LastStep { sample: corrected, order });
        Ok(latents)
    }

    fn add_noise(&self, original: &Latents, noise: &Latents, step: usize) -> Result<Latents> {
        let at = self.log_snr(step)?;
        ensure_same_shape("noise", noise, original)?;
        Ok(weighted_sum(at.alpha, original, at.sigma, noise))
    }

    fn boxed_clone(&self) -> Box<dyn Scheduler> {
        Box::new(self.clone())
    }
}

/// Gaussian elimination with pivots on at most three augmented rows.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f32> {
    let count = rows.len();
    for column in 0..count {
        let pivot = (column..count).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()));
        rows.swap(column, pivot.unwrap_or(column));
        let pivot = rows[column].clone();
        for row in (0..count).filter(|&row| row != column) {
            let factor = rows[row][column] / pivot[column];
            rows[row].iter_mut().zip(&pivot).for_each(|(value, above)| *value -= factor * above);
        }
    }
    (0..count).map(|i| (rows[i][count] / rows[i][i]) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_equations_are_solved() {
        let rows = vec![vec![0.0, 1.0, 1.0, 5.0], vec![2.0, 0.0, -1.0, -1.0], vec![1.0, 1.0, 0.0, 3.0]];
        assert_eq!(solve(rows), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn options_that_divide_by_zero_are_named() {
        let bh1 = SchedulerConfig { solver_type: Some("bh1".to_owned()), ..Default::default() };
        let error = build(&bh1).unwrap_err().to_string();
        assert!(error.contains("final_sigmas_type") && error.contains("sigma_min"), "{error}");
        assert!(build(&SchedulerConfig { final_sigmas_type: Some(FinalSigmas::SigmaMin), ..bh1 }).is_ok());
    }
}
