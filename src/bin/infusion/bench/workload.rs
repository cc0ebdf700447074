//! Sessions and feeds of a mode, and its steps.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use infusion::concept::{Concept, LayerSpec, Precision};
use infusion::noise::TorchGenerator;
use infusion::patch::TrainNames;
use infusion::runtime::{DeviceTensor, Dim, Feed, Fetch, Session, SessionOptions, Tensor, TensorSpec};
use ndarray::{Array1, Array2, Array3, ArrayD, ArrayView2, Axis, s};

use super::mode::Mode;

const TOKENS: usize = 77;
/// Of SD-1.x.
const CONTEXT: usize = 768;
const USUAL_SIZE: usize = 64;
/// The token that the concept stands at.
const CONCEPT_TOKEN: usize = 5;
const ADDED: &str = "infusion.";

/// The sessions and feeds of one mode, ready to run steps.
pub struct Workload {
    mode: Mode,
    sessions: Vec<Session>,
    feeds: Vec<Vec<(String, Tensor)>>,
    /// F's maps, kept from an earlier step.
    maps: Option<Vec<(String, DeviceTensor)>>,
    width: usize,
}

impl Workload {
    pub fn load(
        mode: Mode,
        source: &Path,
        folder: &Path,
        options: &SessionOptions,
        size: Option<usize>,
    ) -> Result<Self> {
        let files: Vec<_> = match mode.graphs() {
            [] => vec![source.to_owned()],
            graphs => graphs.iter().map(|graph| folder.join(graph.file())).collect(),
        };
        let options = &match mode.learns() {
            true => SessionOptions { cache: None, ..options.clone() },
            false => options.clone(),
        };
        let sessions = files.iter().map(|file| Ok(Session::open(file, options)?)).collect::<Result<Vec<_>>>()?;
        let size = size.or_else(|| usual_size(source)).unwrap_or(USUAL_SIZE);
        let rows = match mode {
            Mode::Dual => 4,
            mode if mode.learns() => 1,
            _ => 2,
        };
        let feeds = sessions.iter().map(|session| feeds(session, rows, size)).collect::<Result<Vec<_>>>()?;
        let mut workload = Self { mode, sessions, feeds, maps: None, width: 0 };
        workload.prepare_concept()?;
        Ok(workload)
    }

    /// One step.
    pub fn step(&mut self) -> Result<()> {
        match self.mode {
            Mode::Plain | Mode::Dual | Mode::Shared => self.run_alone(prediction_only),
            Mode::Naive => {
                self.run_alone(prediction_only)?;
                self.run_alone(prediction_only)
            }
            Mode::TwoGraphs => {
                let maps = self.foundation()?;
                self.customised(&maps)
            }
            Mode::Kept => {
                let maps = match self.maps.take() {
                    Some(maps) => maps,
                    None => self.foundation()?,
                };
                self.customised(&maps)?;
                self.maps = Some(maps);
                Ok(())
            }
            Mode::TrainLow | Mode::Train | Mode::TrainFast => self.run_alone(loss_and_gradient),
        }
    }

    fn run_alone(&self, fetch: fn(&str) -> Fetch) -> Result<()> {
        let feeds: Vec<(&str, Feed<'_>)> = borrowed(&self.feeds[0]);
        self.sessions[0].run_fetching(&feeds, fetch)?;
        Ok(())
    }

    fn foundation(&self) -> Result<Vec<(String, DeviceTensor)>> {
        let fetch = |name: &str| if name.ends_with(".probs") { Fetch::Device } else { prediction_only(name) };
        let mut outputs = self.sessions[0].run_fetching(&borrowed(&self.feeds[0]), fetch)?;
        let names = self.sessions[0].outputs().iter().map(|spec| spec.name.clone());
        names
            .filter(|name| name.ends_with(".probs"))
            .map(|name| Ok((name.clone(), outputs.take_device(&name)?)))
            .collect()
    }

    fn customised(&self, maps: &[(String, DeviceTensor)]) -> Result<()> {
        let mut feeds = borrowed(&self.feeds[1]);
        feeds.extend(maps.iter().map(|(name, map)| (name.as_str(), map.into())));
        self.sessions[1].run_fetching(&feeds, prediction_only)?;
        Ok(())
    }

    /// Feeds Δ to the optional inputs, or V̄ to `c`.
    fn prepare_concept(&mut self) -> Result<()> {
        match self.mode {
            Mode::Plain | Mode::Naive => {}
            Mode::TwoGraphs | Mode::Kept => {
                let names = self.sessions[0].outputs().iter().map(|spec| spec.name.clone());
                let values: Vec<String> = names.filter(|name| name.ends_with(".value")).collect();
                let fetch = |name: &str| if name.ends_with(".value") { Fetch::Host } else { Fetch::Skip };
                let mut outputs = self.sessions[0].run_fetching(&borrowed(&self.feeds[0]), fetch)?;
                for name in values {
                    let value = outputs.take(&name)?;
                    self.width += value.shape().last().copied().unwrap_or(0);
                    self.feeds[1].retain(|(known, _)| *known != name);
                    self.feeds[1].push((name, value));
                }
            }
            Mode::Dual | Mode::Shared | Mode::TrainLow | Mode::Train | Mode::TrainFast => {
                let delta = self.sessions[0].input("infusion.delta").context("the graph has no infusion.delta")?;
                self.width = delta.fixed(1).context("infusion.delta has no fixed width")?;
                let concept = self.concept();
                self.feed_concept(&concept)?;
            }
        }
        Ok(())
    }

    /// A concept of the model's width, as one layer: only the number of values matters.
    fn concept(&self) -> Concept {
        let mut concept = Concept::new("bench", "bench");
        concept.layers.insert("all".to_owned(), TorchGenerator::new(1).randn((1, self.width)) * 0.1);
        concept
    }

    fn feed_concept(&mut self, concept: &Concept) -> Result<()> {
        let layer = LayerSpec { module_path: "all".to_owned(), width: self.width };
        let delta = concept.matrix(&[layer])?;
        if self.sessions.len() == 1 {
            let rows = if self.mode.learns() { 1 } else { 2 };
            let mut mask = Array3::<f32>::zeros((rows, TOKENS, 1));
            mask[[rows - 1, CONCEPT_TOKEN, 0]] = 1.0;
            let session = &self.sessions[0];
            let typed = |name: &str, tensor: Tensor| match session.input(name) {
                Some(spec) => tensor.cast(spec.element_type),
                None => tensor,
            };
            let mut fed = vec![
                ("infusion.mask".to_owned(), typed("infusion.mask", Tensor::from(mask))),
                ("infusion.delta".to_owned(), typed("infusion.delta", Tensor::from(delta))),
            ];
            if self.mode == Mode::Shared {
                fed.push(("infusion.rows".to_owned(), Tensor::from(Array1::from_elem(1, 1_i64))));
            }
            self.feeds[0].retain(|(name, _)| fed.iter().all(|(new, _)| new != name));
            self.feeds[0].extend(fed);
            return Ok(());
        }
        self.add_to_values(&delta);
        Ok(())
    }

    /// V + mask · Δ, layer by layer.
    fn add_to_values(&mut self, delta: &Array2<f32>) {
        let mut column = 0;
        for (_, value) in self.feeds.iter_mut().skip(1).flatten().filter(|(name, _)| name.ends_with(".value")) {
            let width = value.shape().last().copied().unwrap_or(0);
            let own = delta.slice(s![.., column..column + width]);
            match value {
                Tensor::F32(values) => add_to_token(values, own),
                other => {
                    let element_type = other.element_type();
                    let mut values = other.clone().into_f32();
                    add_to_token(&mut values, own);
                    *other = Tensor::from(values).cast(element_type);
                }
            }
            column += width;
        }
    }

    /// Seconds from the bytes of another concept's file to what is fed; the sessions stay as they are.
    pub fn swap(&mut self) -> Result<Option<f64>> {
        if self.mode.graphs().is_empty() {
            return Ok(None);
        }
        let bytes = self.concept().encode(Precision::F16)?.bytes;
        let started = Instant::now();
        let other = Concept::from_bytes(&bytes, "bench")?;
        self.feed_concept(&other)?;
        Ok(Some(started.elapsed().as_secs_f64()))
    }
}

/// Adds Δ to the concept's token in the conditional row of `values` [rows, L, d].
fn add_to_token(values: &mut ArrayD<f32>, delta: ArrayView2<'_, f32>) {
    let mut row = values.index_axis_mut(Axis(0), 1);
    let mut row = row.index_axis_mut(Axis(0), CONCEPT_TOKEN);
    row += &delta.row(0);
}

fn loss_and_gradient(name: &str) -> Fetch {
    if name == TrainNames::PREDICTION { Fetch::Skip } else { Fetch::Host }
}

fn prediction_only(name: &str) -> Fetch {
    if name.starts_with(ADDED) { Fetch::Skip } else { Fetch::Host }
}

fn borrowed(feeds: &[(String, Tensor)]) -> Vec<(&str, Feed<'_>)> {
    feeds.iter().map(|(name, tensor)| (name.as_str(), tensor.into())).collect()
}

/// `sample_size` of the UNet's config.json.
fn usual_size(source: &Path) -> Option<usize> {
    let text = std::fs::read_to_string(source.with_file_name("config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_str(&text).ok()?;
    config.get("sample_size")?.as_u64().map(|size| size as usize)
}

/// Random numbers for every input of the source that this graph reads, and for the target of learning.
fn feeds(session: &Session, rows: usize, size: usize) -> Result<Vec<(String, Tensor)>> {
    let mut generator = TorchGenerator::new(0);
    let context_rows = if rows == 4 { 2 } else { rows };
    let own = session.inputs().iter().filter(|spec| !spec.name.starts_with(ADDED) || spec.name == TrainNames::TARGET);
    let feed = |spec: &TensorSpec| {
        let values = match spec.rank() {
            4 => Tensor::from(generator.randn((rows, spec.fixed(1).unwrap_or(4), size, size))),
            3 => Tensor::from(generator.randn((context_rows, TOKENS, spec.fixed(2).unwrap_or(CONTEXT)))),
            2 => Tensor::from(generator.randn((rows, spec.fixed(1).unwrap_or(256)))),
            _ => return Ok((spec.name.clone(), timestep(spec, rows))),
        };
        let values = values.cast(spec.element_type);
        let reason = || format!("{}: this export has other sizes fixed: {spec}; --size", session.model().display());
        ensure!(spec.mismatch(values.element_type(), values.shape()).is_none(), reason());
        Ok((spec.name.clone(), values))
    };
    own.map(feed).collect()
}

fn timestep(spec: &TensorSpec, rows: usize) -> Tensor {
    let shape: Vec<usize> = match spec.dims.first() {
        None => Vec::new(),
        Some(Dim::Fixed(length)) => vec![*length],
        Some(Dim::Symbolic(name)) if name.contains("batch") => vec![rows],
        Some(Dim::Symbolic(_)) => vec![1],
    };
    Tensor::filled(&shape, spec.element_type, 401.0)
}
