//! What a host has of its own: a text encoder, DDIM and guidance. Nothing here is the pipeline's but the encoder.

use std::path::Path;

use infusion::noise::TorchGenerator;
use infusion::pipeline::{Pipeline, PipelineOptions};
use infusion::prompt::{Prompt as Parsed, Words};
use ndarray::{Array3, Array4, Axis, concatenate};

use super::tiny;

/// As in `tools/goldens/pipeline.py`.
const GUIDANCE_SCALE: f32 = 8.0;
const STEPS: usize = 50;
const TRAINING_STEPS: usize = 1000;

/// The encoded prompts, and where the concept's tokens are.
pub struct Prompt {
    pub negative: Array3<f32>,
    pub positive: Array3<f32>,
    pub positions: Vec<usize>,
    pub ids: Vec<i64>,
    pub negative_ids: Vec<i64>,
}

impl Prompt {
    pub fn encode(folder: &Path) -> Self {
        let pipeline = Pipeline::open(folder, &PipelineOptions::default()).unwrap();
        let encode = |text: &str| {
            let tokens = pipeline.tokenizer().tokenize(&Parsed::parse(text, &Words::new()).unwrap()).unwrap();
            let context = pipeline.encode_prompt(&tokens).unwrap();
            (context, tokens)
        };
        let ((positive, tokens), (negative, negative_tokens)) = (encode(tiny::PLAIN_PROMPT), encode(tiny::NEGATIVE));
        let phrase = pipeline.tokenizer().encode("ball").unwrap();
        let positions = tokens.find(&phrase).concat();
        let [ids, negative_ids] = [tokens.ids, negative_tokens.ids].map(|ids| ids.iter().copied().collect());
        Self { negative, positive, positions, ids, negative_ids }
    }

    /// The unconditional row first.
    pub fn both(&self) -> Array3<f32> {
        concatenate![Axis(0), self.negative, self.positive]
    }
}

/// ε_u + s (ε_c − ε_u) of two rows, the unconditional first.
pub fn guided(noise: &[f32]) -> Array4<f32> {
    let (first, second) = noise.split_at(noise.len() / 2);
    let row = |row: &[f32]| Array4::from_shape_vec((1, 4, 8, 8), row.to_vec()).unwrap();
    combined(&row(first), &row(second))
}

pub fn combined(unconditional: &Array4<f32>, conditional: &Array4<f32>) -> Array4<f32> {
    unconditional + (conditional - unconditional) * GUIDANCE_SCALE
}

/// DDIM without noise (Song et al., eq. 12 with σ = 0) on Stable Diffusion's schedule.
pub struct Ddim {
    alphas: Vec<f64>,
}

impl Default for Ddim {
    fn default() -> Self {
        let (first, last) = (0.00085_f64.sqrt(), 0.012_f64.sqrt());
        let beta = |t: usize| (first + (last - first) * t as f64 / (TRAINING_STEPS - 1) as f64).powi(2);
        let alphas = (0..TRAINING_STEPS).scan(1.0, |product, t| {
            *product *= 1.0 - beta(t);
            Some(*product)
        });
        Self { alphas: alphas.collect() }
    }
}

impl Ddim {
    /// The start noise of the tiny pipeline's seed.
    pub fn start(&self) -> Array4<f32> {
        TorchGenerator::new(tiny::SEED).randn((1, 4, 8, 8))
    }

    /// The latents after all steps; `predict` is given latents, timestep and index.
    pub fn run(&self, mut predict: impl FnMut(&Array4<f32>, usize, u32) -> Array4<f32>) -> Array4<f32> {
        let mut latents = self.start();
        for index in 0..STEPS as u32 {
            let noise = predict(&latents, self.timestep(index), index);
            latents = self.step(&latents, &noise, index);
        }
        latents
    }

    pub fn step(&self, latents: &Array4<f32>, noise: &Array4<f32>, index: u32) -> Array4<f32> {
        let timestep = self.timestep(index);
        let now = self.alphas[timestep];
        // `set_alpha_to_one` is off: the last step goes to the first training timestep.
        let then = self.alphas[timestep.saturating_sub(TRAINING_STEPS / STEPS)];
        let then = if timestep < TRAINING_STEPS / STEPS { self.alphas[0] } else { then };
        ndarray::Zip::from(latents).and(noise).map_collect(|&x, &e| {
            let (x, e) = (f64::from(x), f64::from(e));
            let clean = (x - (1.0 - now).sqrt() * e) / now.sqrt();
            (then.sqrt() * clean + (1.0 - then).sqrt() * e) as f32
        })
    }

    /// `leading` spacing with an offset of 1.
    fn timestep(&self, index: u32) -> usize {
        (STEPS - 1 - index as usize) * (TRAINING_STEPS / STEPS) + 1
    }
}
