use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, Result};

/// How β grows over the training timesteps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Evenly from `beta_start` to `beta_end`.
    Linear,
    /// √β evenly from √`beta_start` to √`beta_end`: Stable Diffusion's.
    ScaledLinear,
    /// From Nichol and Dhariwal's cosine ᾱ, β at most 0.999.
    SquaredcosCapV2,
}

/// What the UNet predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise ε.
    Epsilon,
    /// v = α ε − σ x₀.
    VPrediction,
    /// The clean latents x₀.
    Sample,
}

/// Which training timesteps a short trajectory visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSpacing {
    /// Multiples of T / n from 0 up, plus `steps_offset`.
    Leading,
    /// Multiples of T / n from T down, less one.
    Trailing,
    /// Evenly from 0 to T − 1.
    Linspace,
}

/// σ after the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalSigmas {
    /// σ = 0: clean latents.
    Zero,
    /// The smallest σ of training.
    SigmaMin,
}

/// The options of a `scheduler_config.json`, as diffusers writes it.
///
/// Absent or null options take the default of the scheduler that is built, as in diffusers'
/// `from_config`; options that a scheduler does not know are ignored by it, except those that change
/// the noise schedule itself, which are refused by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SchedulerConfig {
    #[serde(rename = "_class_name", skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    pub num_train_timesteps: Option<usize>,
    pub beta_start: Option<f64>,
    pub beta_end: Option<f64>,
    pub beta_schedule: Option<BetaSchedule>,
    pub trained_betas: Option<Vec<f32>>,
    pub prediction_type: Option<PredictionType>,
    pub timestep_spacing: Option<TimestepSpacing>,
    pub steps_offset: Option<usize>,
    pub set_alpha_to_one: Option<bool>,
    pub clip_sample: Option<bool>,
    pub clip_sample_range: Option<f32>,
    pub rescale_betas_zero_snr: Option<bool>,
    pub use_karras_sigmas: Option<bool>,
    pub sigma_min: Option<f64>,
    pub sigma_max: Option<f64>,
    pub final_sigmas_type: Option<FinalSigmas>,
    /// DDIM: the share η of DDPM's noise, 0 (none) to 1. An argument in diffusers, not in its files.
    pub eta: Option<f32>,
    /// DDPM: `fixed_small`, `fixed_small_log` or `fixed_large`.
    pub variance_type: Option<String>,
    /// DPM++ 2M: `dpmsolver++` or `sde-dpmsolver++`.
    pub algorithm_type: Option<String>,
    /// DPM++ 2M: `midpoint` or `heun`; UniPC: `bh1` or `bh2`.
    pub solver_type: Option<String>,
    /// DPM++ 2M: 1 or 2; UniPC: 1, 2 or 3.
    pub solver_order: Option<usize>,
    pub lower_order_final: Option<bool>,
    pub euler_at_final: Option<bool>,
    /// DPM++ 2M: timesteps whose log signal-to-noise ratio is below are not visited; "-Infinity" is how
    /// Python writes the default.
    #[serde(deserialize_with = "python_float")]
    pub lambda_min_clipped: Option<f64>,
    /// UniPC: whether it steps in x₀ (default) or in ε.
    pub predict_x0: Option<bool>,
    /// UniPC: steps after which the corrector is left out.
    pub disable_corrector: Option<Vec<usize>>,
    /// LCM: steps of the schedule that the model was distilled on.
    pub original_inference_steps: Option<usize>,
    /// LCM: factor on the timestep in the boundary conditions.
    pub timestep_scaling: Option<f64>,
    pub thresholding: Option<bool>,
    pub use_exponential_sigmas: Option<bool>,
    pub use_beta_sigmas: Option<bool>,
    pub use_flow_sigmas: Option<bool>,
    pub use_lu_lambdas: Option<bool>,
    pub interpolation_type: Option<String>,
    pub timestep_type: Option<String>,
}

impl SchedulerConfig {
    /// Reads a `scheduler_config.json`.
    ///
    /// # Errors
    /// When the file cannot be read, is no JSON object, or an option has an unknown value.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.into(), source })?;
        Self::parse(&text).map_err(|source| Error::Parse { path: path.into(), source })
    }

    /// Reads the text of a `scheduler_config.json`. Python's bare `-Infinity` is taken for null.
    ///
    /// # Errors
    /// When the text is no JSON object, or an option has an unknown value.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(&text.replace(": -Infinity", ": null"))
    }

    /// The configuration that Stable Diffusion v1.5 ships with.
    pub fn stable_diffusion() -> Self {
        Self {
            num_train_timesteps: Some(1000),
            beta_start: Some(0.00085),
            beta_end: Some(0.012),
            beta_schedule: Some(BetaSchedule::ScaledLinear),
            set_alpha_to_one: Some(false),
            steps_offset: Some(1),
            clip_sample: Some(false),
            ..Self::default()
        }
    }

    /// What the UNet predicts; ε unless the file says otherwise.
    pub fn prediction(&self) -> PredictionType {
        self.prediction_type.unwrap_or(PredictionType::Epsilon)
    }

    /// The bound that clean latents are clipped to, if they are.
    pub(super) fn clip(&self, default: bool) -> Option<f32> {
        self.clip_sample.unwrap_or(default).then(|| self.clip_sample_range.unwrap_or(1.0).abs())
    }

    pub(super) fn karras(&self) -> bool {
        self.use_karras_sigmas.unwrap_or(false)
    }

    /// Refuses the options that `scheduler` would have to honour and does not implement.
    pub(super) fn refuse(&self, scheduler: &'static str, refused: &[Refusal]) -> Result<()> {
        refused.iter().try_for_each(|refusal| match refusal.asked_for(self) {
            Some(value) => {
                Err(Error::Unsupported { scheduler, option: refusal.option(), value, advice: refusal.advice() })
            }
            None => Ok(()),
        })
    }
}

/// An option that some schedulers do not implement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Thresholding,
    ZeroSnr,
    ExponentialSigmas,
    BetaSigmas,
    FlowSigmas,
    LuLambdas,
    Interpolation,
    ContinuousTimesteps,
    SamplePrediction,
}

impl Refusal {
    fn option(self) -> &'static str {
        match self {
            Self::Thresholding => "thresholding",
            Self::ZeroSnr => "rescale_betas_zero_snr",
            Self::ExponentialSigmas => "use_exponential_sigmas",
            Self::BetaSigmas => "use_beta_sigmas",
            Self::FlowSigmas => "use_flow_sigmas",
            Self::LuLambdas => "use_lu_lambdas",
            Self::Interpolation => "interpolation_type",
            Self::ContinuousTimesteps => "timestep_type",
            Self::SamplePrediction => "prediction_type",
        }
    }

    fn asked_for(self, config: &SchedulerConfig) -> Option<String> {
        let flag = |value: Option<bool>| value.filter(|&set| set).map(|set| set.to_string());
        let other_than = |value: &Option<String>, usual: &str| value.clone().filter(|set| set != usual);
        match self {
            Self::Thresholding => flag(config.thresholding),
            Self::ZeroSnr => flag(config.rescale_betas_zero_snr),
            Self::ExponentialSigmas => flag(config.use_exponential_sigmas),
            Self::BetaSigmas => flag(config.use_beta_sigmas),
            Self::FlowSigmas => flag(config.use_flow_sigmas),
            Self::LuLambdas => flag(config.use_lu_lambdas),
            Self::Interpolation => other_than(&config.interpolation_type, "linear"),
            Self::ContinuousTimesteps => other_than(&config.timestep_type, "discrete"),
            Self::SamplePrediction => (config.prediction() == PredictionType::Sample).then(|| "sample".to_owned()),
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Thresholding => "it is meant for models that work on pixels; set it to false for latent diffusion",
            Self::ZeroSnr => {
                "use ddim, ddpm, euler, euler_a, dpmpp_2m, unipc or lcm for a model with zero terminal SNR"
            }
            Self::ExponentialSigmas | Self::BetaSigmas | Self::LuLambdas => {
                "remove the option, or set use_karras_sigmas instead"
            }
            Self::FlowSigmas => "flow matching models are not Stable Diffusion v1.5",
            Self::Interpolation => "set it to \"linear\"",
            Self::ContinuousTimesteps => "set it to \"discrete\"",
            Self::SamplePrediction => "use another scheduler, such as ddim",
        }
    }
}

fn python_float<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Float(f64),
        Text(String),
    }
    Ok(match Option::<Number>::deserialize(deserializer)? {
        None => None,
        Some(Number::Float(value)) => Some(value),
        Some(Number::Text(text)) => Some(text.replace("Infinity", "inf").parse().map_err(serde::de::Error::custom)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_diffusions_own_file_is_read() {
        let text = r#"{"_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
            "beta_start": 0.00085, "num_train_timesteps": 1000, "set_alpha_to_one": false,
            "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null, "clip_sample": false}"#;
        let wanted =
            SchedulerConfig { class_name: Some("PNDMScheduler".to_owned()), ..SchedulerConfig::stable_diffusion() };
        assert_eq!(SchedulerConfig::parse(text).unwrap(), wanted);
    }

    #[test]
    fn unknown_values_are_named() {
        let error = SchedulerConfig::parse(r#"{"prediction_type": "flow_prediction"}"#).unwrap_err().to_string();
        assert!(error.contains("flow_prediction") && error.contains("v_prediction"), "{error}");
    }

    #[test]
    fn infinity_as_python_writes_it() {
        for text in [r#"{"lambda_min_clipped": -Infinity}"#, r#"{"lambda_min_clipped": null}"#, "{}"] {
            assert_eq!(SchedulerConfig::parse(text).unwrap().lambda_min_clipped, None, "{text}");
        }
        let text = r#"{"lambda_min_clipped": "-Infinity"}"#;
        assert_eq!(SchedulerConfig::parse(text).unwrap().lambda_min_clipped, Some(f64::NEG_INFINITY));
        assert_eq!(SchedulerConfig::parse(r#"{"lambda_min_clipped": -5.1}"#).unwrap().lambda_min_clipped, Some(-5.1));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = SchedulerConfig::open("no/such/file.json").unwrap_err().to_string();
        assert!(error.contains("no/such/file.json"), "{error}");
    }
}
