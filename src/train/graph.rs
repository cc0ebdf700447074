use std::sync::{Arc, OnceLock};

use ndarray::{Array2, Array3, Array4, Axis, Ix2, concatenate, s};

use super::{Error, Material, Result, Row};
use crate::onnx::infer::infer;
use crate::onnx::write::{Overwrite, write_all};
use crate::onnx::{Model, WriteOptions};
use crate::patch::{EmitOptions, FindOptions, Memory, TrainNames, Variant, emit, find};
use crate::pipeline::{Conditions, Pipeline, Rows, Timesteps, UnetModel};
use crate::runtime::{ProviderKind, Session, SessionOptions, Tensor, providers};
use crate::schedulers::{Latents, Timestep};

/// The train graph, loaded: one loss and its gradient a run.
#[derive(Clone, Debug)]
pub struct TrainGraph {
    model: UnetModel,
    /// Whether rows with timesteps of their own can be run together; unknown before the first such run.
    together: OnceLock<bool>,
}

/// What one batch says of Δ.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    /// The mean over rows and elements of weight · error².
    pub loss: f64,
    /// ∂loss/∂Δ, [S, D].
    pub gradient: Array2<f32>,
}

impl TrainGraph {
    /// Makes the train graph of the pipeline's UNet beside its other graphs, and loads it.
    ///
    /// # Errors
    /// The UNet has no gradient in standard operators (a quantised export), or cannot be loaded.
    pub fn open(pipeline: &Pipeline, memory: Memory) -> Result<Self> {
        let source = &pipeline.folder().unet;
        let model = Model::open(source)?;
        let survey = find(&model, &infer(&model), &FindOptions::default())?;
        let options = pipeline.session_options();
        let fuse = memory != Memory::Fast && fuses(options)?;
        let graph = emit(&model, &survey, Variant::Train, &EmitOptions { fuse, memory })?;
        let stem = source.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}.{memory}.train.onnx");
        let overwrite = Overwrite::Named([name.clone()].into());
        write_all(pipeline.graph_folder(), &[(&name, &graph)], WriteOptions { overwrite, ..Default::default() })?;
        let options = SessionOptions { cache: None, ..options.clone() };
        Self::new(Arc::new(Session::open(pipeline.graph_folder().join(name), &options)?))
    }

    /// A train graph that is loaded already.
    ///
    /// # Errors
    /// The model is no train graph.
    pub fn new(session: Arc<Session>) -> Result<Self> {
        let model = UnetModel::new(session)?;
        let together = model.timestep_per_row().map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { model, together })
    }

    /// Its session.
    pub fn session(&self) -> &Session {
        &self.model.session
    }

    /// How many rows a run must have, if the export fixed that.
    pub fn fixed_rows(&self) -> Option<usize> {
        self.model.fixed_rows()
    }

    /// The gradient of `rows`, computed at once where the export takes a timestep for each row, and one
    /// by one else.
    ///
    /// # Errors
    /// The rows do not fit the model, or the run fails.
    pub fn gradient(&self, material: &Material, rows: &[Row], delta: &Array2<f32>) -> Result<Gradient> {
        if rows.len() == 1 || self.together.get() == Some(&true) {
            return self.at_once(material, rows, delta);
        }
        if self.together.get().is_none() {
            let found = self.at_once(material, rows, delta);
            let _ = self.together.set(found.is_ok());
            if found.is_ok() {
                return found;
            }
        }
        let single = rows.iter().map(|row| self.at_once(material, std::slice::from_ref(row), delta));
        Ok(Gradient::mean(&single.collect::<Result<Vec<_>>>()?, delta.dim()))
    }

    fn at_once(&self, material: &Material, rows: &[Row], delta: &Array2<f32>) -> Result<Gradient> {
        let feeds = self.feeds(material, rows, delta)?;
        let feeds: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut outputs = self.session().run(&feeds)?;
        let loss = outputs.take(TrainNames::LOSS)?.into_f32().iter().map(|&loss| f64::from(loss)).sum();
        let gradient = outputs.take(TrainNames::GRAD)?.into_f32().into_dimensionality::<Ix2>();
        Ok(Gradient { loss, gradient: gradient.map_err(|error| Error::shape("gradient", error))? })
    }

    fn feeds(&self, material: &Material, rows: &[Row], delta: &Array2<f32>) -> Result<Vec<(String, Tensor)>> {
        let noised = rows.iter().map(|row| Ok(material.schedule.add_noise(&row.latents, &row.noise, row.timestep)?));
        let targets = rows.iter().map(|row| Ok(material.schedule.target(&row.latents, &row.noise, row.timestep)?));
        let (sample, target) = (stacked(noised)?, stacked(targets)?);
        let captions: Vec<_> = rows.iter().map(|row| &material.captions[row.caption]).collect();
        let contexts: Vec<_> = captions.iter().map(|caption| caption.context.view()).collect();
        let context: Array3<f32> =
            concatenate(Axis(0), &contexts).map_err(|error| Error::shape("contexts of the prompts", error))?;
        let masks: Vec<_> = captions.iter().map(|caption| caption.mask.view().insert_axis(Axis(0))).collect();
        let mask = concatenate(Axis(0), &masks).map_err(|error| Error::shape("masks of the prompts", error))?;
        let timesteps: Vec<Timestep> = rows.iter().map(|row| Timestep::from(row.timestep)).collect();
        let timesteps = Timesteps::Each(&timesteps);
        let given = Conditions { context: &context, timesteps, guidance_scale: 1.0, further: &[] };
        let weight = rows.iter().any(|row| row.weight.is_some()).then(|| weights(rows, &sample));
        let mut feeds = self.model.feeds(Rows { sample: &sample, given });
        let ours = [
            (TrainNames::MASK, Some(Tensor::from(mask))),
            (TrainNames::DELTA, Some(Tensor::from(delta.clone()))),
            (TrainNames::TARGET, Some(Tensor::from(target))),
            (TrainNames::WEIGHT, weight.map(Tensor::from)),
        ];
        for (name, tensor) in ours {
            let Some(tensor) = tensor else { continue };
            let spec = self.session().input(name);
            let spec = spec.ok_or_else(|| Error::setting(name, "is no input: this is no train graph"))?;
            feeds.push((name.to_owned(), tensor.cast(spec.element_type)));
        }
        Ok(feeds)
    }
}

impl Gradient {
    /// The mean of gradients of as many rows each.
    fn mean(parts: &[Self], shape: (usize, usize)) -> Self {
        let share = 1.0 / parts.len().max(1) as f32;
        let mut mean = Self { loss: 0.0, gradient: Array2::zeros(shape) };
        for part in parts {
            mean.loss += part.loss * f64::from(share);
            mean.gradient.scaled_add(share, &part.gradient);
        }
        mean
    }
}

/// Whether the provider knows fused attention, which spares memory.
fn fuses(options: &SessionOptions) -> Result<bool> {
    Ok(matches!(providers::choose(&options.provider)?.spec.kind, ProviderKind::Cpu | ProviderKind::Cuda))
}

fn stacked(rows: impl Iterator<Item = Result<Latents>>) -> Result<Latents> {
    let rows: Vec<Latents> = rows.collect::<Result<_>>()?;
    let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
    concatenate(Axis(0), &views).map_err(|error| Error::shape("latents of the pictures", error))
}

/// `[B, 1, h, w]`, ones for rows without a mask.
fn weights(rows: &[Row], sample: &Latents) -> Array4<f32> {
    let (count, _, height, width) = sample.dim();
    let mut weights = Array4::ones((count, 1, height, width));
    for (row, index) in rows.iter().zip(0..) {
        if let Some(weight) = row.weight.as_ref().filter(|weight| weight.dim() == (height, width)) {
            weights.slice_mut(s![index, 0, .., ..]).assign(weight);
        }
    }
    weights
}
