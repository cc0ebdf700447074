//! A host's own DDIM scheduler (Song et al., "Denoising Diffusion Implicit Models", eq. 12 with σ = 0), with Stable
//! Diffusion's noise schedule: betas linear in their square roots, steps spaced evenly from 1.

use ndarray::{Array3, Zip};

const TRAINED: usize = 1000;
const OFFSET: usize = 1;

pub struct Ddim {
    /// Products of 1 - beta.
    alphas: Vec<f64>,
    steps: usize,
}

impl Ddim {
    pub fn new(steps: usize) -> Self {
        let (first, last) = (0.00085_f64.sqrt(), 0.012_f64.sqrt());
        let beta = |t: usize| (first + (last - first) * t as f64 / (TRAINED - 1) as f64).powi(2);
        let alphas = (0..TRAINED).scan(1.0, |product, t| {
            *product *= 1.0 - beta(t);
            Some(*product)
        });
        Self { alphas: alphas.collect(), steps }
    }

    /// The timestep of each step, from the noisiest to the cleanest.
    pub fn timestep(&self, index: usize) -> usize {
        (self.steps - 1 - index) * (TRAINED / self.steps) + OFFSET
    }

    /// The latents of the next timestep: `x` at `index`, with `noise` predicted for it.
    pub fn step(&self, index: usize, x: &Array3<f32>, noise: &Array3<f32>) -> Array3<f32> {
        let now = self.timestep(index);
        let (a, b) = (self.alphas[now], self.alphas[now.saturating_sub(TRAINED / self.steps)]);
        Zip::from(x).and(noise).map_collect(|&x, &noise| {
            let (x, noise) = (f64::from(x), f64::from(noise));
            let clean = (x - (1.0 - a).sqrt() * noise) / a.sqrt();
            (b.sqrt() * clean + (1.0 - b).sqrt() * noise) as f32
        })
    }
}
