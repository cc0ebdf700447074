//! Sessions and feeds of a mode, and its steps.

mod concept;
mod feeds;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use infusion::concept::{Concept, Precision};
use infusion::patch::{TrainNames, Variant};
use infusion::runtime::{
    DeviceTensor, Feed, Fetch, Session, SessionOptions, ShapeRange, Tensor, TensorSpec, declared_inputs,
};
use ndarray::s;

use super::mode::Mode;
use concept::{Injected, Slots};

const TOKENS: usize = 77;
const USUAL_SIZE: usize = 64;
const ADDED: &str = "infusion.";

/// The sessions and feeds of one mode, ready to run steps.
pub struct Workload {
    mode: Mode,
    sessions: Vec<Session>,
    feeds: Vec<Vec<(String, Tensor)>>,
    /// V̄ of each layer as `c` is fed it.
    injected: Vec<Injected>,
    /// F's maps, kept from an earlier step.
    maps: Option<Vec<(String, Map)>>,
    /// The maps' names and shapes, once F has run.
    map_shapes: Vec<(String, Vec<usize>)>,
    width: usize,
    /// Pictures in a step.
    batch: usize,
}

/// F's map of a layer, wherever it is.
enum Map {
    Device(DeviceTensor),
    Host(Tensor),
}

impl Map {
    fn shape(&self) -> &[usize] {
        match self {
            Self::Device(map) => map.shape(),
            Self::Host(map) => map.shape(),
        }
    }

    fn feed(&self) -> Feed<'_> {
        match self {
            Self::Device(map) => map.into(),
            Self::Host(map) => map.into(),
        }
    }
}

impl Workload {
    pub fn load(
        mode: Mode,
        source: &Path,
        folder: &Path,
        options: &SessionOptions,
        size: Option<usize>,
        batch: usize,
    ) -> Result<Self> {
        let options = &match mode.learns() {
            true => SessionOptions { cache: None, ..options.clone() },
            false => options.clone(),
        };
        let size = size.or_else(|| feeds::usual_size(source)).unwrap_or(USUAL_SIZE);
        let (sessions, feeds, injected, map_shapes) = Default::default();
        let mut workload = Self { mode, sessions, feeds, injected, maps: None, map_shapes, width: 0, batch };
        match mode.graphs() {
            [] => workload.open_alone(source, options, size)?,
            [only] => workload.open_alone(&folder.join(only.file()), options, size)?,
            halves => {
                for half in halves {
                    workload.open_half(&folder.join(half.file()), half.variant, options, size)?;
                }
            }
        }
        Ok(workload)
    }

    /// Rows of latents and of the context that a run is fed.
    fn rows(&self) -> [usize; 2] {
        match self.mode {
            Mode::Dual => [4 * self.batch, 2 * self.batch],
            mode if mode.learns() => [self.batch; 2],
            _ => [2 * self.batch; 2],
        }
    }

    /// Opens a graph that needs no other, and feeds Δ where it takes one.
    fn open_alone(&mut self, file: &Path, options: &SessionOptions, size: usize) -> Result<()> {
        let specs = declared_inputs(file)?;
        self.feeds.push(feeds::random(file, &specs, self.rows(), size)?);
        if let Some(delta) = specs.iter().find(|spec| spec.name == concept::DELTA) {
            self.width = delta.fixed(1).context("infusion.delta has no fixed width")?;
            self.feed_concept(&specs, &concept::random(self.width))?;
        }
        let shapes = exact(&self.feeds[0]);
        let record = !self.mode.learns();
        self.sessions.push(Session::open(file, &SessionOptions { shapes, record, ..options.clone() })?);
        Ok(())
    }

    /// Opens `f` and runs it once for its values, or opens `c` for these.
    fn open_half(&mut self, file: &Path, variant: Variant, options: &SessionOptions, size: usize) -> Result<()> {
        let own = feeds::random(file, &declared_inputs(file)?, self.rows(), size)?;
        let maps = self.maps.iter().flatten().map(|(name, map)| ShapeRange::exact(name, map.shape()));
        let values = self.injected.iter().map(|value| ShapeRange::exact(value.name(), value.shape()));
        let shapes = exact(&own).into_iter().chain(maps).chain(values).collect();
        self.feeds.push(own);
        let record = self.mode != Mode::ThroughHost;
        self.sessions.push(Session::open(file, &SessionOptions { shapes, record, ..options.clone() })?);
        match variant {
            Variant::F => {
                self.injected = self.first_values()?;
                self.width = self.injected.iter().map(Injected::width).sum();
                // `c` is prepared for their shapes.
                if self.sessions[0].provider().settles_shapes() {
                    self.maps = Some(self.foundation()?);
                }
                Ok(())
            }
            _ => self.inject(&concept::random(self.width)),
        }
    }

    fn first_values(&self) -> Result<Vec<Injected>> {
        let names = self.sessions[0].outputs().iter().map(|spec| spec.name.clone());
        let names: Vec<String> = names.filter(|name| name.ends_with(".value")).collect();
        let fetch = |name: &str| if name.ends_with(".value") { Fetch::Host } else { Fetch::Skip };
        let mut outputs = self.sessions[0].run_fetching(&borrowed(&self.feeds[0]), fetch)?;
        let value = |name: String| Ok(Injected::new(name.clone(), outputs.take(&name)?));
        names.into_iter().map(value).collect()
    }

    /// One step.
    pub fn step(&mut self) -> Result<()> {
        match self.mode {
            Mode::Plain | Mode::Dual | Mode::Shared => self.predict(),
            Mode::Naive => {
                self.predict()?;
                self.predict()
            }
            Mode::TwoGraphs | Mode::ThroughHost => {
                self.maps = None;
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
            Mode::TrainLow | Mode::Train | Mode::TrainFast => self.learn(),
        }
    }

    /// One run of the only graph for its prediction, as `infusion generate` runs it.
    fn predict(&self) -> Result<()> {
        let session = &self.sessions[0];
        let feeds: Vec<(&str, &Tensor)> = self.feeds[0].iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let (_, sample) = feeds.iter().find(|(_, tensor)| tensor.shape().len() == 4).context("there are no latents")?;
        let output = session.outputs().first().context("there is no output")?;
        session.run_resident(&feeds, &output.name, sample.shape())?;
        Ok(())
    }

    /// One run for loss and gradient, as `infusion train` runs it.
    fn learn(&self) -> Result<()> {
        let fetch = |name: &str| if name == TrainNames::PREDICTION { Fetch::Skip } else { Fetch::Host };
        self.sessions[0].run_fetching(&borrowed(&self.feeds[0]), fetch)?;
        Ok(())
    }

    /// F's maps; the first run tells how large they are.
    fn foundation(&mut self) -> Result<Vec<(String, Map)>> {
        let place = if self.mode == Mode::ThroughHost { Fetch::Host } else { Fetch::Device };
        let session = &self.sessions[0];
        let feeds = borrowed(&self.feeds[0]);
        let mut outputs = match self.map_shapes.as_slice() {
            [] => {
                let fetch = |name: &str| if name.ends_with(".probs") { place } else { prediction_only(name) };
                session.run_fetching(&feeds, fetch)?
            }
            shapes => {
                let maps = shapes.iter().map(|(name, shape)| (name.as_str(), shape.as_slice(), place));
                let wanted: Vec<_> = std::iter::once(prediction(session, &feeds)?).chain(maps).collect();
                session.run_again(&feeds, &wanted)?
            }
        };
        let names = session.outputs().iter().map(|spec| spec.name.clone());
        let maps = names.filter(|name| name.ends_with(".probs")).map(|name| {
            let map = match place {
                Fetch::Device => Map::Device(outputs.take_device(&name)?),
                _ => Map::Host(outputs.take(&name)?),
            };
            Ok((name, map))
        });
        let maps: Vec<(String, Map)> = maps.collect::<Result<_>>()?;
        if self.map_shapes.is_empty() {
            self.map_shapes = maps.iter().map(|(name, map)| (name.clone(), map.shape().to_owned())).collect();
            if session.records() {
                return self.foundation();
            }
        }
        Ok(maps)
    }

    fn customised(&self, maps: &[(String, Map)]) -> Result<()> {
        let mut feeds = borrowed(&self.feeds[1]);
        feeds.extend(self.injected.iter().map(|value| (value.name(), value.feed())));
        feeds.extend(maps.iter().map(|(name, map)| (name.as_str(), map.feed())));
        let wanted = [prediction(&self.sessions[1], &feeds)?];
        self.sessions[1].run_again(&feeds, &wanted)?;
        Ok(())
    }

    /// Feeds Δ with its mask and, where the graph asks for them, the rows that carry the concept.
    fn feed_concept(&mut self, specs: &[TensorSpec], concept: &Concept) -> Result<()> {
        let fed = Slots::new(self.mode, concept, self.width, self.batch)?.feeds(specs);
        self.feeds[0].retain(|(name, _)| fed.iter().all(|(new, _)| new != name));
        self.feeds[0].extend(fed);
        Ok(())
    }

    /// V + mask · Δ, layer by layer, where `c` computes.
    fn inject(&mut self, concept: &Concept) -> Result<()> {
        let delta = concept::matrix(concept, self.width)?;
        let mut column = 0;
        for value in &mut self.injected {
            let width = value.width();
            value.inject(delta.slice(s![0, column..column + width]), &self.sessions[1])?;
            column += width;
        }
        Ok(())
    }

    /// Seconds from the bytes of another concept's file to what is fed; the sessions stay as they are.
    pub fn swap(&mut self) -> Result<Option<f64>> {
        if self.mode.graphs().is_empty() {
            return Ok(None);
        }
        let bytes = concept::random(self.width).encode(Precision::F16)?.bytes;
        let session = &self.sessions[0];
        let specs: Vec<TensorSpec> = session.inputs().iter().chain(session.optional_inputs()).cloned().collect();
        let started = Instant::now();
        let other = Concept::from_bytes(&bytes, "bench")?;
        match self.sessions.len() {
            1 => self.feed_concept(&specs, &other)?,
            _ => self.inject(&other)?,
        }
        Ok(Some(started.elapsed().as_secs_f64()))
    }
}

/// A session's prediction, which is as large as the latents among the feeds.
fn prediction<'a>(session: &'a Session, feeds: &[(&str, Feed<'a>)]) -> Result<(&'a str, &'a [usize], Fetch)> {
    let latents = feeds.iter().find_map(|(name, feed)| match feed {
        Feed::Host(tensor) if tensor.shape().len() == 4 && !name.starts_with(ADDED) => Some(tensor.shape()),
        _ => None,
    });
    let output = session.outputs().first().context("there is no output")?;
    Ok((&output.name, latents.context("there are no latents")?, Fetch::Host))
}

fn prediction_only(name: &str) -> Fetch {
    if name.starts_with(ADDED) { Fetch::Skip } else { Fetch::Host }
}

fn borrowed(feeds: &[(String, Tensor)]) -> Vec<(&str, Feed<'_>)> {
    feeds.iter().map(|(name, tensor)| (name.as_str(), tensor.into())).collect()
}

fn exact(feeds: &[(String, Tensor)]) -> Vec<ShapeRange> {
    feeds.iter().map(|(name, tensor)| ShapeRange::exact(name, tensor.shape())).collect()
}
