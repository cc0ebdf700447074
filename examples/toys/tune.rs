//! The two ways to learn a concept: all weights, as DreamBooth does, or Δ alone.

use anyhow::{Context, Result};
use infusion::noise::TorchGenerator;
use infusion::runtime::Tensor;
use ndarray::{Array2, ArrayD, Zip};

use crate::net::{Feeds, Net};
use crate::toy::Toy;

/// The concept: a thin line through some of the mixture's peaks.
pub struct Concept {
    pub peaks: Vec<usize>,
    pub half_length: f32,
    pub thickness: f32,
    pub class: usize,
}

pub struct Settings {
    pub steps: usize,
    pub rate: f32,
    pub batch: usize,
    pub seed: u64,
}

impl Concept {
    /// `count` points of the concept, on its peaks in turn.
    pub fn draw(&self, toy: &Toy, generator: &mut TorchGenerator, count: usize) -> Array2<f32> {
        let along: Vec<f32> = generator.rand(count).iter().map(|u: &f32| (2.0 * u - 1.0) * self.half_length).collect();
        let across: Array2<f32> = generator.randn((count, 2));
        Array2::from_shape_fn((count, 2), |(row, axis)| {
            let centre = toy.mixture.centres[self.peaks[row % self.peaks.len()]];
            centre[axis] + along[row] * std::f32::consts::FRAC_1_SQRT_2 + across[[row, axis]] * self.thickness
        })
    }
}

/// Weights after each of these numbers of steps: every weight learns, as in DreamBooth.
pub fn all_weights(toy: &Toy, concept: &Concept, settings: &Settings, at: &[usize]) -> Result<Vec<Feeds>> {
    let (mut weights, mut snapshots) = (toy.weights.clone(), Vec::new());
    let mut adam = Adam::new(settings.rate);
    let mut generator = TorchGenerator::new(settings.seed);
    for step in 0..=settings.steps {
        if at.contains(&step) {
            snapshots.push(weights.clone());
        }
        let (mut feeds, noise) = noised(toy, concept, settings, &mut generator)?;
        feeds.extend(weights.clone());
        let gradients = gradients(&toy.denoiser, &feeds, &noise)?;
        adam.step(toy.denoiser.tuned(), &mut weights, &gradients);
    }
    Ok(snapshots)
}

/// Δ after all steps: nothing else learns, and the maps are F's on the same noised points (eq. 8).
pub fn residual(toy: &Toy, concept: &Concept, settings: &Settings) -> Result<Tensor> {
    let mut delta = Feeds::from([("delta".to_owned(), toy.no_delta())]);
    let mut adam = Adam::new(settings.rate);
    let mut generator = TorchGenerator::new(settings.seed);
    for _ in 0..settings.steps {
        let (mut feeds, noise) = noised(toy, concept, settings, &mut generator)?;
        feeds.extend(toy.weights.clone());
        feeds.extend(toy.denoiser.predict(&feeds)?);
        feeds.extend(delta.clone());
        let gradients = gradients(&toy.customised, &feeds, &noise)?;
        adam.step(toy.customised.tuned(), &mut delta, &gradients);
    }
    delta.remove("delta").context("no Δ")
}

/// A batch of the concept's points, noised, and the noise.
fn noised(
    toy: &Toy,
    concept: &Concept,
    settings: &Settings,
    generator: &mut TorchGenerator,
) -> Result<(Feeds, Array2<f32>)> {
    let clean = concept.draw(toy, generator, settings.batch);
    let noise: Array2<f32> = generator.randn((settings.batch, 2));
    let total = toy.schedule.num_train_timesteps();
    let timesteps = generator.randint(0, total as i64, settings.batch)?;
    let timesteps: Vec<usize> = timesteps.into_iter().map(|t| t as usize).collect();
    let alphas = toy.schedule.alphas_cumprod();
    let points = Array2::from_shape_fn(clean.dim(), |place| {
        let alpha = alphas[timesteps[place.0]];
        alpha.sqrt() * clean[place] + (1.0 - alpha).sqrt() * noise[place]
    });
    Ok((toy.feeds(&points, &timesteps, &vec![concept.class; settings.batch]), noise))
}

/// Gradients of the mean squared error.
fn gradients(net: &Net, feeds: &Feeds, target: &Array2<f32>) -> Result<Vec<ArrayD<f32>>> {
    let predicted = net.predict(feeds)?.remove("noise").context("no noise")?.into_f32();
    let scale = 2.0 / target.len() as f32;
    net.gradients(feeds, (predicted - &target.view().into_dyn()) * scale)
}

/// Adam with β₁ = 0.9, β₂ = 0.999.
struct Adam {
    rate: f32,
    step: i32,
    moments: Vec<(ArrayD<f32>, ArrayD<f32>)>,
}

impl Adam {
    fn new(rate: f32) -> Self {
        Self { rate, step: 0, moments: Vec::new() }
    }

    fn step(&mut self, names: &[String], values: &mut Feeds, gradients: &[ArrayD<f32>]) {
        if self.moments.is_empty() {
            let zeros = |gradient: &ArrayD<f32>| ArrayD::zeros(gradient.raw_dim());
            self.moments = gradients.iter().map(|gradient| (zeros(gradient), zeros(gradient))).collect();
        }
        self.step += 1;
        let (first, second) = (1.0 - 0.9f32.powi(self.step), 1.0 - 0.999f32.powi(self.step));
        for ((name, gradient), (mean, square)) in names.iter().zip(gradients).zip(&mut self.moments) {
            let Some(Tensor::F32(value)) = values.get_mut(name) else { continue };
            let rate = self.rate;
            Zip::from(value).and(gradient).and(mean).and(square).for_each(|value, &gradient, mean, square| {
                *mean = 0.9 * *mean + 0.1 * gradient;
                *square = 0.999 * *square + 0.001 * gradient * gradient;
                *value -= rate * (*mean / first) / ((*square / second).sqrt() + 1e-8);
            });
        }
    }
}
