//! A mixture of Gaussians in the plane, its denoiser, and the two streams.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use infusion::noise::TorchGenerator;
use infusion::runtime::Tensor;
use infusion::schedulers::{self, Latents, NoiseSchedule, SchedulerConfig};
use ndarray::{Array1, Array2, Array3, ArrayD, IxDyn};
use safetensors::SafeTensors;
use serde::Deserialize;

use crate::net::{Feeds, Net};

/// What `tools/toys/train.py` writes beside the graphs.
#[derive(Deserialize)]
struct Described {
    scheduler: SchedulerConfig,
    width: usize,
    layers: usize,
    contexts: Vec<Vec<Vec<f32>>>,
    toys: std::collections::HashMap<String, Mixture>,
}

/// The distribution that the denoiser was trained on.
#[derive(Clone, Deserialize)]
pub struct Mixture {
    pub centres: Vec<[f32; 2]>,
}

pub struct Toy {
    pub mixture: Mixture,
    /// The frozen weights, by name.
    pub weights: Feeds,
    /// ε, with gradients of all weights.
    pub denoiser: Net,
    /// ε of the customised stream, with the gradient of Δ.
    pub customised: Net,
    pub schedule: NoiseSchedule,
    scheduler: SchedulerConfig,
    contexts: Vec<Vec<Vec<f32>>>,
    delta: [usize; 2],
}

const STEPS: usize = 50;

impl Toy {
    pub fn open(name: &str) -> Result<Self> {
        let folder = folder();
        let described: Described = serde_json::from_slice(&read(&folder.join("toys.json"))?)?;
        let weights = weights(&folder.join(format!("{name}.safetensors")))?;
        let mut names: Vec<String> = weights.keys().cloned().collect();
        names.sort();
        Ok(Self {
            mixture: described.toys.get(name).context("no such toy")?.clone(),
            weights,
            denoiser: Net::open(&folder.join("denoiser.onnx"), names)?,
            customised: Net::open(&folder.join("customised.onnx"), vec!["delta".to_owned()])?,
            schedule: NoiseSchedule::new(&described.scheduler)?,
            scheduler: described.scheduler,
            contexts: described.contexts,
            delta: [described.layers, described.width],
        })
    }

    /// Δ = 0.
    pub fn no_delta(&self) -> Tensor {
        Tensor::from(Array2::<f32>::zeros(self.delta))
    }

    /// Everything but weights that the denoiser reads for these points and timesteps.
    pub fn feeds(&self, points: &Array2<f32>, timesteps: &[usize], classes: &[usize]) -> Feeds {
        let tokens = self.contexts[0].len();
        let width = self.contexts[0][0].len();
        let context = Array3::from_shape_fn((classes.len(), tokens, width), |(row, token, column)| {
            self.contexts[classes[row]][token][column]
        });
        let timesteps: Array1<f32> = timesteps.iter().map(|&t| t as f32).collect();
        [("sample", Tensor::from(points.clone())), ("timestep", timesteps.into()), ("context", context.into())]
            .map(|(name, tensor)| (name.to_owned(), tensor))
            .into()
    }

    /// Points `[n, 2]` of a denoiser with these weights, from the noise of `seed`, by DDIM.
    pub fn sample(&self, weights: &Feeds, classes: &[usize], seed: u64) -> Result<Array2<f32>> {
        let mut scheduler = schedulers::build("ddim", &self.scheduler)?;
        scheduler.set_timesteps(STEPS)?;
        let mut points = start(classes.len(), seed);
        for step in 0..STEPS {
            let timestep = scheduler.timestep(step)?.as_i64() as usize;
            let mut feeds = self.feeds(&flat(&points), &vec![timestep; classes.len()], classes);
            feeds.extend(weights.clone());
            let noise = self.denoiser.predict(&feeds)?.remove("noise").context("no noise")?;
            points = scheduler.step(&latents(noise)?, step, &points, None)?;
        }
        Ok(flat(&points))
    }

    /// The same through both streams: C on its own points, with F's maps and Δ on the class token's value.
    pub fn sample_with(&self, delta: &Tensor, classes: &[usize], seed: u64) -> Result<Array2<f32>> {
        let mut foundation = schedulers::build("ddim", &self.scheduler)?;
        foundation.set_timesteps(STEPS)?;
        let mut customised = foundation.clone();
        let (mut f, mut c) = (start(classes.len(), seed), start(classes.len(), seed));
        for step in 0..STEPS {
            let timesteps = vec![foundation.timestep(step)?.as_i64() as usize; classes.len()];
            let mut maps = self.feeds(&flat(&f), &timesteps, classes);
            maps.extend(self.weights.clone());
            let mut maps = self.denoiser.predict(&maps)?;
            let noise = maps.remove("noise").context("no noise")?;
            f = foundation.step(&latents(noise)?, step, &f, None)?;
            let mut feeds = self.feeds(&flat(&c), &timesteps, classes);
            feeds.extend(self.weights.clone());
            feeds.extend(maps);
            feeds.insert("delta".to_owned(), delta.clone());
            let noise = self.customised.predict(&feeds)?.remove("noise").context("no noise")?;
            c = customised.step(&latents(noise)?, step, &c, None)?;
        }
        Ok(flat(&c))
    }

    /// The peak that each point is nearest to.
    pub fn nearest(&self, points: &Array2<f32>) -> Vec<usize> {
        let distance = |point: &ndarray::ArrayView1<f32>, centre: &[f32; 2]| {
            (point[0] - centre[0]).powi(2) + (point[1] - centre[1]).powi(2)
        };
        let nearest = |point: ndarray::ArrayView1<f32>| {
            let centres = self.mixture.centres.iter().enumerate();
            centres.min_by(|a, b| distance(&point, a.1).total_cmp(&distance(&point, b.1))).map_or(0, |(peak, _)| peak)
        };
        points.rows().into_iter().map(nearest).collect()
    }
}

fn start(count: usize, seed: u64) -> Latents {
    TorchGenerator::new(seed).randn((count, 2, 1, 1))
}

fn flat(latents: &Latents) -> Array2<f32> {
    Array2::from_shape_fn((latents.shape()[0], 2), |(row, axis)| latents[[row, axis, 0, 0]])
}

fn latents(noise: Tensor) -> Result<Latents> {
    let noise = noise.into_f32();
    let rows = noise.len() / 2;
    Ok(noise.into_shape_with_order((rows, 2, 1, 1))?)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/toys/models")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}

fn weights(path: &Path) -> Result<Feeds> {
    let bytes = read(path)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok((name.to_owned(), Tensor::from(ArrayD::from_shape_vec(IxDyn(view.shape()), values)?)))
    };
    file.iter().map(tensor).collect()
}
