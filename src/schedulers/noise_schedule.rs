use ndarray::Zip;

use super::{BetaSchedule, Error, Latents, PredictionType, Result, SchedulerConfig, ensure_same_shape};

/// The largest schedule accepted; real models have 1000 training timesteps.
const MAX_TRAIN_TIMESTEPS: usize = 100_000;

/// β where the configuration leaves it open, which differs between schedulers.
#[derive(Clone, Copy, Debug)]
pub(super) struct BetaDefaults {
    start: f64,
    end: f64,
    schedule: BetaSchedule,
}

impl BetaDefaults {
    /// Of most schedulers: DDPM's paper.
    pub const DDPM: Self = Self { start: 0.0001, end: 0.02, schedule: BetaSchedule::Linear };
    /// Of Heun and DPM++ SDE.
    pub const NARROW: Self = Self { start: 0.00085, end: 0.012, schedule: BetaSchedule::Linear };
    /// Of LCM: Stable Diffusion's.
    pub const STABLE_DIFFUSION: Self = Self { start: 0.00085, end: 0.012, schedule: BetaSchedule::ScaledLinear };
}

/// How much signal and noise the latents hold at each training timestep: ᾱ_t = Π (1 − β_s).
///
/// z_t = √ᾱ_t z_0 + √(1 − ᾱ_t) ε. Computed in the precision of diffusers: β and ᾱ in single, the
/// running product in double.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSchedule {
    alphas_cumprod: Vec<f32>,
    prediction: PredictionType,
}

impl NoiseSchedule {
    /// The schedule that a model was trained on, for training: β as DDPM has it where `config` is silent.
    ///
    /// # Errors
    /// When β or the number of timesteps is impossible.
    pub fn new(config: &SchedulerConfig) -> Result<Self> {
        Self::with_defaults(config, BetaDefaults::DDPM)
    }

    pub(super) fn with_defaults(config: &SchedulerConfig, defaults: BetaDefaults) -> Result<Self> {
        let mut betas = betas(config, defaults)?;
        if config.rescale_betas_zero_snr.unwrap_or(false) {
            rescale_to_zero_terminal_snr(&mut betas);
        }
        Ok(Self { alphas_cumprod: cumulative_alphas(&betas), prediction: config.prediction() })
    }

    /// Gives the last timestep of a schedule with zero terminal SNR a σ of 4096 instead of infinity,
    /// as diffusers does for schedulers that work in σ.
    pub(super) fn with_finite_sigmas(mut self) -> Self {
        if let Some(last) = self.alphas_cumprod.last_mut().filter(|last| **last == 0.0) {
            *last = 2f32.powi(-24);
        }
        self
    }

    /// ᾱ_t for each training timestep t, falling.
    pub fn alphas_cumprod(&self) -> &[f32] {
        &self.alphas_cumprod
    }

    /// ᾱ_t.
    pub(super) fn alpha_cumprod(&self, timestep: usize) -> f32 {
        self.alphas_cumprod[timestep]
    }

    /// T, the number of training timesteps.
    pub fn num_train_timesteps(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// What the model predicts.
    pub fn prediction_type(&self) -> PredictionType {
        self.prediction
    }

    /// σ_t = √((1 − ᾱ_t) / ᾱ_t) for each training timestep, rising.
    pub(super) fn sigmas(&self) -> Vec<f32> {
        self.alphas_cumprod.iter().map(|alpha| ((1.0 - alpha) / alpha).sqrt()).collect()
    }

    /// z_t = √ᾱ_t z_0 + √(1 − ᾱ_t) ε, all rows at one training timestep.
    ///
    /// # Errors
    /// When the shapes differ or the timestep is not below [`Self::num_train_timesteps`].
    pub fn add_noise(&self, original: &Latents, noise: &Latents, timestep: usize) -> Result<Latents> {
        let (signal, sigma) = self.signal_and_noise(timestep)?;
        ensure_same_shape("noise", noise, original)?;
        Ok(weighted_sum(signal, original, sigma, noise))
    }

    /// What a model of this prediction type is trained to give for z_t: ε, v = √ᾱ ε − √(1 − ᾱ) z_0, or z_0.
    ///
    /// # Errors
    /// When the shapes differ or the timestep is not below [`Self::num_train_timesteps`].
    pub fn target(&self, original: &Latents, noise: &Latents, timestep: usize) -> Result<Latents> {
        let (signal, sigma) = self.signal_and_noise(timestep)?;
        ensure_same_shape("noise", noise, original)?;
        Ok(match self.prediction {
            PredictionType::Epsilon => noise.clone(),
            PredictionType::VPrediction => weighted_sum(signal, noise, -sigma, original),
            PredictionType::Sample => original.clone(),
        })
    }

    fn signal_and_noise(&self, timestep: usize) -> Result<(f32, f32)> {
        let len = self.num_train_timesteps();
        let alpha = self.alphas_cumprod.get(timestep).ok_or(Error::StepOutOfRange { step: timestep, len })?;
        Ok((alpha.sqrt(), (1.0 - alpha).sqrt()))
    }
}

/// `a x + b y`, of equal shape.
pub(super) fn weighted_sum(a: f32, x: &Latents, b: f32, y: &Latents) -> Latents {
    Zip::from(x).and(y).map_collect(|&x, &y| a * x + b * y)
}

fn betas(config: &SchedulerConfig, defaults: BetaDefaults) -> Result<Vec<f32>> {
    let count = config.num_train_timesteps.unwrap_or(config.trained_betas.as_ref().map_or(1000, Vec::len));
    if !(2..=MAX_TRAIN_TIMESTEPS).contains(&count) {
        let reason = format!("must be from 2 to {MAX_TRAIN_TIMESTEPS}");
        return Err(Error::Invalid { option: "num_train_timesteps", value: count.to_string(), reason });
    }
    if let Some(trained) = &config.trained_betas {
        return checked_trained_betas(trained, count);
    }
    let start = proper_beta("beta_start", config.beta_start.unwrap_or(defaults.start))?;
    let end = proper_beta("beta_end", config.beta_end.unwrap_or(defaults.end))?;
    Ok(match config.beta_schedule.unwrap_or(defaults.schedule) {
        BetaSchedule::Linear => linspace(start, end, count),
        BetaSchedule::ScaledLinear => linspace(start.sqrt(), end.sqrt(), count).iter().map(|b| b * b).collect(),
        BetaSchedule::SquaredcosCapV2 => cosine_betas(count),
    })
}

fn checked_trained_betas(trained: &[f32], count: usize) -> Result<Vec<f32>> {
    let invalid = |value: String, reason: String| Err(Error::Invalid { option: "trained_betas", value, reason });
    if trained.len() != count {
        return invalid(format!("{} numbers", trained.len()), format!("must be num_train_timesteps = {count} numbers"));
    }
    match trained.iter().find(|beta| !(0.0..1.0).contains(*beta) || **beta == 0.0) {
        Some(beta) => invalid(beta.to_string(), "each β must lie between 0 and 1".to_owned()),
        None => Ok(trained.to_vec()),
    }
}

fn proper_beta(option: &'static str, value: f64) -> Result<f64> {
    if value > 0.0 && value < 1.0 {
        return Ok(value);
    }
    Err(Error::Invalid { option, value: value.to_string(), reason: "must lie between 0 and 1".to_owned() })
}

/// `torch.linspace` in single precision: from both ends to the middle, fused as its vector code is.
fn linspace(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    let step = (end - start) / (count - 1) as f32;
    let from_start = |i: usize| step.mul_add(i as f32, start);
    let from_end = |i: usize| (-step).mul_add(i as f32, end);
    let value = |i: usize| if i < count / 2 { from_start(i) } else { from_end(count - 1 - i) };
    (0..count).map(value).collect()
}

fn cosine_betas(count: usize) -> Vec<f32> {
    let alpha_bar = |i: usize| {
        let t = i as f64 / count as f64;
        ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2)
    };
    (0..count).map(|i| (1.0 - alpha_bar(i + 1) / alpha_bar(i)).min(0.999) as f32).collect()
}

/// `torch.cumprod` of 1 − β: accumulated in double, kept in single precision.
fn cumulative_alphas(betas: &[f32]) -> Vec<f32> {
    let mut product = 1.0f64;
    let accumulate = |beta: &f32| {
        product *= f64::from(1.0 - beta);
        product as f32
    };
    betas.iter().map(accumulate).collect()
}

/// Algorithm 1 of "Common Diffusion Noise Schedules and Sample Steps are Flawed": shifts and scales √ᾱ
/// so that the last timestep holds no signal and the first keeps its own.
fn rescale_to_zero_terminal_snr(betas: &mut [f32]) {
    let roots: Vec<f32> = cumulative_alphas(betas).iter().map(|alpha| alpha.sqrt()).collect();
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else { return };
    let scale = first / (first - last);
    let mut before = 1.0;
    for (beta, root) in betas.iter_mut().zip(roots) {
        let alpha_bar = ((root - last) * scale).powi(2);
        *beta = 1.0 - alpha_bar / before;
        before = alpha_bar;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ones(value: f32) -> Latents {
        Latents::from_elem((1, 4, 2, 2), value)
    }

    #[test]
    fn stable_diffusions_published_alphas() {
        let schedule = NoiseSchedule::new(&SchedulerConfig::stable_diffusion()).unwrap();
        assert_eq!(schedule.num_train_timesteps(), 1000);
        let ends = [schedule.alpha_cumprod(0), schedule.alpha_cumprod(999)];
        assert!((ends[0] - 0.99915).abs() < 1e-6 && (ends[1] - 0.0046600).abs() < 1e-6, "{ends:?}");
    }

    #[test]
    fn targets_follow_the_prediction_type() {
        let config = |prediction| SchedulerConfig { prediction_type: Some(prediction), ..Default::default() };
        let target = |prediction| {
            NoiseSchedule::new(&config(prediction)).unwrap().target(&ones(2.0), &ones(3.0), 500).unwrap()[[0, 0, 0, 0]]
        };
        let alpha = NoiseSchedule::new(&SchedulerConfig::default()).unwrap().alpha_cumprod(500);
        assert_eq!(target(PredictionType::Epsilon), 3.0);
        assert_eq!(target(PredictionType::Sample), 2.0);
        let wanted = alpha.sqrt() * 3.0 - (1.0 - alpha).sqrt() * 2.0;
        assert!((target(PredictionType::VPrediction) - wanted).abs() < 1e-6);
    }

    #[test]
    fn impossible_schedules_are_named() {
        let betas = |betas: Vec<f32>| SchedulerConfig { trained_betas: Some(betas), ..Default::default() };
        let cases = [
            (SchedulerConfig { beta_start: Some(-1.0), ..Default::default() }, "beta_start"),
            (SchedulerConfig { beta_end: Some(f64::NAN), ..Default::default() }, "beta_end"),
            (SchedulerConfig { num_train_timesteps: Some(usize::MAX), ..Default::default() }, "num_train_timesteps"),
            (betas(vec![]), "num_train_timesteps"),
            (betas(vec![0.1, 1.5]), "trained_betas"),
            (SchedulerConfig { num_train_timesteps: Some(3), ..betas(vec![0.1; 2]) }, "trained_betas"),
        ];
        for (config, option) in cases {
            let error = NoiseSchedule::new(&config).unwrap_err().to_string();
            assert!(error.contains(option), "{error}");
        }
    }

    #[test]
    fn noise_of_another_shape_or_a_late_timestep_is_refused() {
        let schedule = NoiseSchedule::new(&SchedulerConfig::default()).unwrap();
        let other = Latents::zeros((1, 4, 2, 3));
        assert!(matches!(schedule.add_noise(&ones(0.0), &other, 0), Err(Error::Shape { .. })));
        assert!(matches!(schedule.add_noise(&ones(0.0), &ones(0.0), 1000), Err(Error::StepOutOfRange { .. })));
    }
}
