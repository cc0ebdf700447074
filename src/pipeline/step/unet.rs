use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use ndarray::{Array3, Axis};

use super::concepts::{Concepts, Setting, StepConcept};
use super::evaluate::Evaluator;
use super::images::Images;
use super::marks::Marked;
use super::{FoundationScheduler, FoundationStep, Inputs, Predicted, Step, StepOptions};
use crate::concept::Concept;
use crate::pipeline::graphs::{Graph, fused_serves};
use crate::pipeline::unet::Unet;
use crate::pipeline::{Error, Mode, Result, UnetGraphs};
use crate::prompt::Tokenizer;
use crate::runtime::{Session, TensorSpec, providers};
use crate::schedulers::Latents;

/// A UNet with concepts, in the place of a host's own session.
///
/// Any number of threads may share it: runs of one graph take turns, and every call sees the concepts
/// that were set when it began. The calls of one picture come one after the other.
pub struct StepUnet {
    evaluator: Evaluator,
    mode: Option<Mode>,
    tokenizer: Option<Arc<Tokenizer>>,
    scheduler: Option<Box<dyn FoundationScheduler>>,
    concepts: RwLock<Arc<Concepts>>,
    images: Images,
}

impl StepUnet {
    /// Opens the exported UNet at `path` (or one of its patched graphs, or their manifest), and patches it
    /// unless that was done before. Sessions are loaded when they are first needed.
    ///
    /// # Errors
    /// The UNet cannot be patched, or the provider cannot be used.
    pub fn open(path: impl AsRef<Path>, options: StepOptions) -> Result<Self> {
        let fuse = fused_serves(&options.session)?;
        let graphs = UnetGraphs::open(path.as_ref(), options.graph_folder.as_deref(), fuse)?;
        let provider = providers::choose(&options.session.provider)?.spec.kind;
        let unet = Unet::fed_by_host(graphs, &options.session)?;
        Ok(Self {
            evaluator: Evaluator::new(unet, options.graphs, provider),
            mode: options.mode,
            tokenizer: options.tokenizer,
            scheduler: options.scheduler,
            concepts: RwLock::default(),
            images: Images::default(),
        })
    }

    /// The patched graphs, their layers and their hash.
    pub fn graphs(&self) -> &UnetGraphs {
        self.evaluator.unet.graphs()
    }

    /// The inputs that must be fed, and the output, of the UNet as exported; loads it.
    ///
    /// # Errors
    /// It cannot be loaded.
    pub fn describe(&self) -> Result<(Vec<TensorSpec>, TensorSpec)> {
        let model = self.evaluator.unet.plain_model()?;
        let output = model.session.outputs().iter().find(|spec| spec.name == model.output());
        let output = output.ok_or_else(|| Error::model(model.session.model(), "has no output"))?;
        Ok((model.session.inputs().to_vec(), output.clone()))
    }

    /// The sessions that are loaded, by the names of their graphs.
    pub fn loaded(&self) -> Vec<(&'static str, Arc<Session>)> {
        self.evaluator.unet.loaded()
    }

    /// Loads what the next [`StepUnet::run`] needs: the graphs of both streams where concepts are set, the UNet
    /// alone where none is.
    ///
    /// # Errors
    /// One cannot be loaded.
    pub fn preload(&self) -> Result<()> {
        if self.snapshot().0.is_empty() {
            return self.evaluator.unet.plain_model().map(|_| ());
        }
        let single = if self.is_separate() { Graph::Dual } else { Graph::Shared };
        let graphs = if self.evaluator.uses_one(single)? { vec![single] } else { vec![Graph::F, Graph::C] };
        graphs.into_iter().try_for_each(|graph| self.evaluator.unet.model(graph).map(|_| ()))
    }

    /// Adds a concept, or puts it in the place of the one of its name; the next call draws with it.
    ///
    /// # Errors
    /// It does not go with the model, or its phrase has no tokens.
    pub fn set_concept(&self, concept: Arc<Concept>, setting: Setting) -> Result<()> {
        let graphs = self.graphs();
        concept.check_base(graphs.known_hash(), setting.force)?;
        let added = StepConcept::new(concept, setting, &graphs.layers, self.tokenizer.as_deref())?;
        self.change(|concepts| Ok(concepts.with(added)))
    }

    /// Changes how much of a concept's Δ is added.
    ///
    /// # Errors
    /// There is none of that name, or the weight is no number.
    pub fn set_weight(&self, name: &str, weight: f32) -> Result<()> {
        self.change(|concepts| concepts.with_weight(name, weight))
    }

    /// Takes a concept out.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove_concept(&self, name: &str) -> Result<()> {
        self.change(|concepts| concepts.without(name))
    }

    /// The concepts that the next call would see.
    pub fn concepts(&self) -> Vec<StepConcept> {
        self.snapshot().0.clone()
    }

    /// Forgets a picture that will not be gone on with.
    pub fn end_image(&self, image: u64) {
        self.images.end(image);
    }

    /// C's noise of every row. With separate streams, F's own trajectory is followed by the scheduler.
    ///
    /// # Errors
    /// Rows, marks or tensors do not fit the model or each other, a run fails, or the scheduler gives up.
    pub fn run(&self, step: &Step, sample: &Latents, inputs: &Inputs) -> Result<Latents> {
        let marked = self.marked(step, sample, inputs)?;
        match (self.is_separate(), &self.scheduler) {
            (false, _) => self.evaluator.shared(sample, inputs, &marked),
            (true, Some(scheduler)) => self.follow(step, sample, inputs, &marked, scheduler.as_ref()),
            (true, None) => Err(Error::setting(
                "mode separate",
                "F has a trajectory of its own: give a scheduler for it, give both streams' latents, or use mode shared",
            )),
        }
    }

    /// Noise of both streams, whose latents the host keeps.
    ///
    /// # Errors
    /// Rows, marks or tensors do not fit the model or each other, or a run fails.
    pub fn run2(&self, step: &Step, foundation: &Latents, sample: &Latents, inputs: &Inputs) -> Result<Predicted> {
        if self.mode == Some(Mode::Shared) {
            return Err(Error::setting("mode shared", "both streams have the same latents; use the plain run"));
        }
        if foundation.dim() != sample.dim() {
            let reason = format!("is {:?}, and sample is {:?}", foundation.shape(), sample.shape());
            return Err(Error::setting("foundation", reason));
        }
        let marked = self.marked(step, sample, inputs)?;
        let differ = |row: usize| foundation.index_axis(Axis(0), row) != sample.index_axis(Axis(0), row);
        let apart: Vec<usize> = (0..sample.shape()[0]).filter(|&row| marked.carries(row) || differ(row)).collect();
        self.evaluator.separate(foundation, sample, inputs, &marked, &apart)
    }

    fn follow(
        &self,
        step: &Step,
        sample: &Latents,
        inputs: &Inputs,
        marked: &Marked,
        scheduler: &dyn FoundationScheduler,
    ) -> Result<Latents> {
        if step.rows.is_empty() {
            return self.evaluator.plain(sample, inputs);
        }
        let images = rows_of_images(step)?;
        let mut foundation = sample.clone();
        let mut apart = Vec::new();
        for (&image, rows) in &images {
            let carries = rows.iter().any(|&row| marked.carries(row));
            let begun = self.images.begin(image, step.index, sample.index_axis(Axis(0), rows[0]), carries)?;
            if begun.diverged {
                rows.iter().for_each(|&row| foundation.index_axis_mut(Axis(0), row).assign(&begun.sample));
                apart.extend(rows);
            }
        }
        apart.sort_unstable();
        let predicted = self.evaluator.separate(&foundation, sample, inputs, marked, &apart)?;
        for (image, rows) in images {
            let noise = |&row: &usize| (step.rows[row].role, predicted.foundation.index_axis(Axis(0), row).to_owned());
            let all = if step.rows_per_image == 0 { rows.len() } else { step.rows_per_image };
            let seen = self.images.record(image, rows.iter().map(noise).collect(), all)?;
            if let Some(foundation) = seen {
                let next = next(scheduler, &foundation).inspect_err(|_| self.images.take_back(image, rows.len()))?;
                self.images.advance(image, next);
                if step.steps > 0 && step.index + 1 >= step.steps {
                    self.images.end(image);
                }
            }
        }
        Ok(predicted.customised)
    }

    fn marked(&self, step: &Step, sample: &Latents, inputs: &Inputs) -> Result<Marked> {
        let rows = sample.shape()[0];
        inputs.check(rows)?;
        Marked::new(&self.snapshot(), &step.rows, (rows, inputs.context.shape()[1]), &self.graphs().layers)
    }

    fn is_separate(&self) -> bool {
        self.mode.map_or(self.scheduler.is_some(), |mode| mode == Mode::Separate)
    }

    fn snapshot(&self) -> Arc<Concepts> {
        Arc::clone(&self.concepts.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&Concepts) -> Result<Concepts>) -> Result<()> {
        let mut concepts = self.concepts.write().unwrap_or_else(PoisonError::into_inner);
        *concepts = Arc::new(change(&concepts)?);
        Ok(())
    }
}

/// The rows of each picture.
fn rows_of_images(step: &Step) -> Result<BTreeMap<u64, Vec<usize>>> {
    let mut images: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, row) in step.rows.iter().enumerate() {
        images.entry(row.image).or_default().push(index);
    }
    match images.iter().find(|(_, rows)| step.rows_per_image > 0 && rows.len() > step.rows_per_image) {
        None => Ok(images),
        Some((image, rows)) => {
            let reason = format!("is {}, and picture {image} has {} in one call", step.rows_per_image, rows.len());
            Err(Error::setting("rows_per_image", reason))
        }
    }
}

fn next(scheduler: &dyn FoundationScheduler, foundation: &FoundationStep) -> Result<Array3<f32>> {
    let next = scheduler.step(foundation)?;
    if next.dim() != foundation.sample.dim() || next.iter().any(|value| !value.is_finite()) {
        let reason = "gave latents of another shape, or that hold values that are no number";
        return Err(Error::setting(format!("scheduler of picture {}", foundation.image), reason));
    }
    Ok(next)
}

impl Inputs {
    /// Fails where they are not for `rows` rows.
    fn check(&self, rows: usize) -> Result<()> {
        let wrong = |what: &str, found: usize| {
            Err(Error::setting(what.to_owned(), format!("has {found} rows, and sample has {rows}")))
        };
        if rows == 0 {
            return Err(Error::setting("sample", "has no rows"));
        }
        if self.context.shape()[0] != rows {
            return wrong("encoder_hidden_states", self.context.shape()[0]);
        }
        if self.timesteps.len() != 1 && self.timesteps.len() != rows {
            return wrong("timestep", self.timesteps.len());
        }
        match self.further.iter().find(|(_, tensor)| tensor.shape().first() != Some(&rows)) {
            Some((name, tensor)) => wrong(name, tensor.shape().first().copied().unwrap_or(0)),
            None => Ok(()),
        }
    }
}
