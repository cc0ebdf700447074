use std::sync::LazyLock;

use ndarray::{Array1, Axis};
use safetensors::SafeTensors;
use serde::Deserialize;

use super::*;

const CASES: &str = include_str!("../../tests/goldens/schedulers.json");
const TENSORS: &[u8] = include_bytes!("../../tests/goldens/schedulers.safetensors");

/// Relative to the largest latent before or after the step where that is above 1: both sides compute in single
/// precision, but `sqrt`, `tanh`, `ln` and `exp` differ in the last bit and the steps carry that along.
const TOLERANCE: f32 = 1e-5;

/// With zero terminal SNR the first σ is 4096, and the latents after it are what is left of numbers
/// whose last bit is worth 10⁻³.
const ZERO_SNR_TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Goldens {
    scheduler_config: serde_json::Map<String, serde_json::Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    sampler: String,
    config: serde_json::Map<String, serde_json::Value>,
    num_inference_steps: usize,
    strength: Option<f64>,
    eta: Option<f32>,
    begin: usize,
    recorded: Vec<usize>,
    init_noise_sigma: f32,
}

impl Goldens {
    fn read() -> Self {
        serde_json::from_str(CASES).unwrap()
    }

    fn config(&self, case: &Case) -> SchedulerConfig {
        let mut options = self.scheduler_config.clone();
        options.extend(case.config.clone());
        let config = serde_json::from_value(options.into()).unwrap();
        SchedulerConfig { eta: case.eta, ..config }
    }
}

fn tensor(name: &str) -> Array1<f32> {
    static FILE: LazyLock<SafeTensors> = LazyLock::new(|| SafeTensors::deserialize(TENSORS).unwrap());
    let view = FILE.tensor(name).unwrap();
    view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn base() -> Latents {
    tensor("base").into_shape_with_order((1, 4, 4, 4)).unwrap()
}

/// `torch.roll(base.flatten(), places)`.
fn rolled(base: &Latents, places: usize) -> Latents {
    let mut values = base.clone().into_raw_vec_and_offset().0;
    let len = values.len();
    values.rotate_right(places % len);
    Latents::from_shape_vec(base.raw_dim(), values).unwrap()
}

/// The toy UNet of `tools/goldens/schedulers.py`.
fn model(scaled: &Latents, timestep: Timestep) -> Latents {
    let shift = (0.4 * (0.003 * timestep.value()).cos()) as f32;
    scaled.mapv(|x| (0.7 * x + shift).tanh())
}

fn begin(scheduler: &dyn Scheduler, case: &Case) -> Latents {
    let base = base();
    if case.strength.is_none() {
        return base * scheduler.init_noise_sigma();
    }
    let mut original = base.clone() * 0.5;
    original.invert_axis(Axis(3));
    scheduler.add_noise(&original.as_standard_layout().into_owned(), &base, case.begin).unwrap()
}

fn largest(latents: &Latents) -> f32 {
    latents.iter().fold(1f32, |largest, x| largest.max(x.abs()))
}

fn assert_close(sample: &Latents, wanted: &[f32], tolerance: f32, place: &str) {
    for (i, (a, b)) in sample.iter().zip(wanted).enumerate() {
        assert!((a - b).abs() <= tolerance, "{place}, latent {i}: {a} instead of {b}");
    }
}

fn follow(number: usize, case: &Case, config: &SchedulerConfig) {
    let place = format!("case {number} ({}, {:?}, {} steps)", case.sampler, case.config, case.num_inference_steps);
    let mut scheduler = build(&case.sampler, config).unwrap();
    scheduler.set_timesteps(case.num_inference_steps).unwrap();
    let timesteps: Vec<f32> = scheduler.timesteps().iter().map(|t| t.as_f32()).collect();
    let wanted = tensor(&format!("{number}.timesteps"));
    assert_eq!(timesteps.len(), wanted.len(), "{place}");
    for (a, b) in timesteps.iter().zip(&wanted) {
        assert!((a - b).abs() <= 1e-3, "{place}: timesteps {timesteps:?} instead of {wanted}");
    }
    let sigma = scheduler.init_noise_sigma();
    assert!((sigma - case.init_noise_sigma).abs() <= 1e-6 * sigma, "{place}: {sigma}");
    assert_eq!(scheduler.first_step(case.strength.unwrap_or(1.0)).unwrap(), case.begin, "{place}");

    let tolerance = if config.rescale_betas_zero_snr == Some(true) { ZERO_SNR_TOLERANCE } else { TOLERANCE };
    let samples = tensor(&format!("{number}.samples"));
    let mut wanted = samples.as_slice().unwrap().chunks_exact(64);
    let mut latents = begin(scheduler.as_ref(), case);
    for step in case.begin..timesteps.len() {
        let scaled = scheduler.scale_model_input(&latents, step).unwrap();
        let output = model(&scaled, scheduler.timesteps()[step]);
        let noise = scheduler.noise_needed(step).then(|| rolled(&base(), step));
        let before = largest(&latents);
        latents = scheduler.step(&output, step, &latents, noise.as_ref()).unwrap();
        if case.recorded.contains(&step) {
            let allowed = tolerance * before.max(largest(&latents));
            assert_close(&latents, wanted.next().unwrap(), allowed, &format!("{place}, step {step}"));
        }
    }
    assert!(wanted.next().is_none(), "{place}");
}

#[test]
fn every_trajectory_equals_diffusers() {
    let goldens = Goldens::read();
    for (number, case) in goldens.cases.iter().enumerate() {
        follow(number, case, &goldens.config(case));
    }
}

#[test]
fn every_scheduler_has_a_golden() {
    let goldens = Goldens::read();
    for entry in SCHEDULERS {
        assert!(goldens.cases.iter().any(|case| case.sampler == entry.name), "{}", entry.name);
    }
}

fn run(scheduler: &mut dyn Scheduler, steps: std::ops::Range<usize>, mut latents: Latents) -> Latents {
    for step in steps {
        let output = model(&scheduler.scale_model_input(&latents, step).unwrap(), scheduler.timesteps()[step]);
        latents = scheduler.step(&output, step, &latents, Some(&rolled(&base(), step))).unwrap();
    }
    latents
}

#[test]
fn a_clone_continues_as_the_original_would() {
    for entry in SCHEDULERS {
        let mut scheduler = entry.build(&SchedulerConfig::stable_diffusion()).unwrap();
        scheduler.set_timesteps(6).unwrap();
        let steps = scheduler.timesteps().len();
        let start = base() * scheduler.init_noise_sigma();
        let halfway = run(scheduler.as_mut(), 0..3, start);
        let mut copy = scheduler.clone();
        let one = run(scheduler.as_mut(), 3..steps, halfway.clone());
        assert_eq!(one, run(copy.as_mut(), 3..steps, halfway), "{}", entry.name);
    }
}

#[test]
fn a_second_trajectory_forgets_the_first() {
    for entry in SCHEDULERS {
        let mut scheduler = entry.build(&SchedulerConfig::stable_diffusion()).unwrap();
        scheduler.set_timesteps(3).unwrap();
        let steps = scheduler.timesteps().len();
        let one = run(scheduler.as_mut(), 0..steps, base());
        scheduler.set_timesteps(3).unwrap();
        assert_eq!(one, run(scheduler.as_mut(), 0..steps, base()), "{}", entry.name);
    }
}

#[test]
fn wrong_use_is_an_error_everywhere() {
    for entry in SCHEDULERS {
        let mut scheduler = entry.build(&SchedulerConfig::stable_diffusion()).unwrap();
        let latents = base();
        let absent = scheduler.step(&latents, 0, &latents, None);
        assert!(matches!(absent, Err(Error::StepOutOfRange { len: 0, .. })), "{}: {absent:?}", entry.name);
        assert!(matches!(scheduler.set_timesteps(0), Err(Error::Steps { .. })), "{}", entry.name);
        assert!(matches!(scheduler.set_timesteps(usize::MAX), Err(Error::Steps { .. })), "{}", entry.name);

        scheduler.set_timesteps(4).unwrap();
        let late = scheduler.scale_model_input(&latents, usize::MAX);
        assert!(matches!(late, Err(Error::StepOutOfRange { .. })), "{}", entry.name);
        let other = Latents::zeros((1, 4, 4, 5));
        let misshapen = scheduler.step(&other, 0, &latents, Some(&latents));
        assert!(matches!(misshapen, Err(Error::Shape { what: "model output", .. })), "{}", entry.name);
        assert!(matches!(scheduler.add_noise(&latents, &other, 0), Err(Error::Shape { .. })), "{}", entry.name);
        if scheduler.noise_needed(0) {
            let missing = scheduler.step(&latents, 0, &latents, None);
            assert!(matches!(missing, Err(Error::NoiseMissing { .. })), "{}", entry.name);
            let misshapen = scheduler.step(&latents, 0, &latents, Some(&other));
            assert!(matches!(misshapen, Err(Error::Shape { what: "noise", .. })), "{}", entry.name);
        }
        assert!(scheduler.step(&latents, 0, &latents, Some(&latents)).is_ok(), "{}", entry.name);
    }
}

#[test]
fn schedulers_with_a_memory_refuse_to_skip_or_repeat() {
    for name in ["heun", "dpmpp_2m", "dpmpp_sde", "lms", "unipc"] {
        let mut scheduler = build(name, &SchedulerConfig::stable_diffusion()).unwrap();
        scheduler.set_timesteps(5).unwrap();
        run(scheduler.as_mut(), 0..2, base());
        for step in [1, 3] {
            let error = scheduler.step(&base(), step, &base(), Some(&base())).unwrap_err();
            assert!(matches!(error, Error::StepOutOfOrder { expected: 2, .. }), "{name}: {error}");
        }
    }
}

#[test]
fn a_batch_may_not_change_its_shape_on_the_way() {
    for entry in SCHEDULERS {
        let mut scheduler = entry.build(&SchedulerConfig::stable_diffusion()).unwrap();
        scheduler.set_timesteps(5).unwrap();
        let (narrow, wide) = (base(), Latents::zeros((1, 4, 4, 5)));
        run(scheduler.as_mut(), 0..1, narrow);
        let _no_panic = scheduler.step(&wide, 1, &wide, Some(&wide));
    }
}

#[test]
fn refused_options_are_named() {
    let text = |option: &str, value: &str| format!(r#"{{"{option}": {value}}}"#);
    let cases = [
        ("ddim", "thresholding", "true"),
        ("heun", "rescale_betas_zero_snr", "true"),
        ("lms", "rescale_betas_zero_snr", "true"),
        ("dpmpp_sde", "rescale_betas_zero_snr", "true"),
        ("euler", "use_beta_sigmas", "true"),
        ("euler", "timestep_type", r#""continuous""#),
        ("euler_a", "prediction_type", r#""sample""#),
        ("ddpm", "variance_type", r#""learned_range""#),
        ("dpmpp_2m", "algorithm_type", r#""dpmsolver""#),
        ("unipc", "solver_order", "7"),
        ("unipc", "use_flow_sigmas", "true"),
        ("lcm", "original_inference_steps", "0"),
    ];
    for (scheduler, option, value) in cases {
        let config = SchedulerConfig::parse(&text(option, value)).unwrap();
        let error = build(scheduler, &config).unwrap_err().to_string();
        assert!(error.contains(option), "{scheduler}: {error}");
    }
}

#[test]
fn noise_prediction_without_any_signal_is_refused() {
    let config = SchedulerConfig {
        rescale_betas_zero_snr: Some(true),
        timestep_spacing: Some(TimestepSpacing::Trailing),
        ..SchedulerConfig::stable_diffusion()
    };
    for name in ["ddim", "ddpm", "lcm"] {
        let error = build(name, &config).unwrap().set_timesteps(4).unwrap_err().to_string();
        assert!(error.contains("999") && error.contains("v_prediction"), "{name}: {error}");
    }
}

#[test]
fn strength_counts_as_diffusers_does() {
    let mut scheduler = build("ddim", &SchedulerConfig::stable_diffusion()).unwrap();
    scheduler.set_timesteps(50).unwrap();
    let first = |strength| scheduler.first_step(strength);
    assert_eq!([first(1.0).unwrap(), first(0.75).unwrap(), first(0.0).unwrap()], [0, 13, 50]);
    assert!(matches!(first(1.5), Err(Error::Strength { .. })));
    assert!(matches!(first(f64::NAN), Err(Error::Strength { .. })));
}
