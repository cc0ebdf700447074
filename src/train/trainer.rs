use std::sync::Arc;

use ndarray::{Array2, s};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Adam, Batch, Checkpoint, Error, Gradient, LrScheduler, Material, Result, Settings, TrainGraph};
use crate::concept::Concept;
use crate::pipeline::Pipeline;

/// A training under way: Δ, Adam's memory, and what they learn from.
#[derive(Debug)]
pub struct Trainer {
    graph: TrainGraph,
    material: Arc<Material>,
    settings: Settings,
    delta: Array2<f32>,
    adam: Adam,
    losses: Vec<f64>,
}

/// A step that is done.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepDone {
    /// Steps done so far, from 1.
    pub step: usize,
    /// The loss of its batch, before Δ moved.
    pub loss: f64,
}

impl Trainer {
    /// Loads the train graph; Δ starts at zero, where C equals F.
    ///
    /// # Errors
    /// A setting makes no sense or does not go with the export, or the graph cannot be made.
    pub fn new(pipeline: &Pipeline, material: Material, settings: Settings) -> Result<Self> {
        settings.check(material.schedule.num_train_timesteps())?;
        let graph = TrainGraph::open(pipeline, settings.memory)?;
        Self::with_graph(graph, material, settings)
    }

    /// The same with a train graph that is loaded already.
    ///
    /// # Errors
    /// A setting makes no sense or does not go with the export.
    pub fn with_graph(graph: TrainGraph, material: Material, mut settings: Settings) -> Result<Self> {
        settings.check(material.schedule.num_train_timesteps())?;
        if let Some(rows) = graph.fixed_rows() {
            if !settings.batch.is_multiple_of(rows) {
                let reason = format!("this export runs {rows} rows at a time; use a multiple of that");
                return Err(Error::setting(format!("batch {}", settings.batch), reason));
            }
            settings.micro_batch = Some(rows);
        }
        let shape = material.delta_shape();
        Ok(Self {
            graph,
            material: Arc::new(material),
            delta: Array2::zeros(shape),
            adam: Adam::new(shape, settings.learning_rate),
            losses: Vec::new(),
            settings,
        })
    }

    /// Goes on where `checkpoint` was taken.
    ///
    /// # Errors
    /// The checkpoint is of a training with other settings, pictures, prompts or another model.
    pub fn resume(&mut self, checkpoint: Checkpoint) -> Result<()> {
        checkpoint.check(&self.fingerprint(), self.delta.dim())?;
        (self.delta, self.adam) = (checkpoint.delta, checkpoint.adam);
        self.losses = checkpoint.losses;
        Ok(())
    }

    /// The state to go on from.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            delta: self.delta.clone(),
            adam: self.adam.clone(),
            losses: self.losses.clone(),
            fingerprint: self.fingerprint(),
            path: None,
        }
    }

    /// Does the next step; `None` once all are done.
    ///
    /// # Errors
    /// The run fails, or the numbers ran over.
    pub fn step(&mut self) -> Result<Option<StepDone>> {
        if self.losses.len() >= self.settings.steps {
            return Ok(None);
        }
        let batch = Batch::draw(&self.material, &self.settings, self.losses.len())?;
        self.learn(&batch).map(Some)
    }

    /// One step on a batch of the caller's.
    ///
    /// # Errors
    /// The run fails, or the numbers ran over.
    pub fn learn(&mut self, batch: &Batch) -> Result<StepDone> {
        let Gradient { loss, gradient } = self.gradient(batch)?;
        let step = self.losses.len() + 1;
        let finite = |what, holds: bool| if holds { Ok(()) } else { Err(Error::Diverged { step, what }) };
        finite("the loss", loss.is_finite())?;
        finite("the gradient", gradient.iter().all(|value| value.is_finite()))?;
        self.adam.learning_rate = self.rate();
        self.adam.step(&mut self.delta, gradient.view());
        self.losses.push(loss);
        Ok(StepDone { step, loss })
    }

    /// Loss and gradient of a batch at the present Δ, micro-batch by micro-batch.
    ///
    /// # Errors
    /// The run fails.
    pub fn gradient(&self, batch: &Batch) -> Result<Gradient> {
        let size = self.settings.micro_batch.unwrap_or(batch.rows.len()).max(1);
        let mut sum = Gradient { loss: 0.0, gradient: Array2::zeros(self.delta.dim()) };
        for rows in batch.rows.chunks(size) {
            let part = self.graph.gradient(&self.material, rows, &self.delta)?;
            let share = rows.len() as f64 / batch.rows.len() as f64;
            sum.loss += part.loss * share;
            sum.gradient.scaled_add(share as f32, &part.gradient);
        }
        Ok(sum)
    }

    /// The rate of the next step.
    fn rate(&self) -> f64 {
        let settings = &self.settings;
        settings.learning_rate * settings.lr_scheduler.share(self.losses.len(), settings.steps)
    }

    /// Δ of all concepts, [S, D].
    pub fn delta(&self) -> &Array2<f32> {
        &self.delta
    }

    /// The loss of every step so far.
    pub fn losses(&self) -> &[f64] {
        &self.losses
    }

    /// The settings, the micro-batch as the export needs it.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The graph that it runs.
    pub fn graph(&self) -> &TrainGraph {
        &self.graph
    }

    /// The concepts as learned so far, in the order of the subjects.
    pub fn concepts(&self) -> Vec<Concept> {
        let mut row = 0;
        let mut concepts = Vec::with_capacity(self.material.subjects.len());
        for (subject, tokens) in &self.material.subjects {
            let mut concept = Concept::new(&subject.name, &subject.class);
            concept.base_model_hash = self.material.base_model_hash.clone();
            concept.training = Some(self.description());
            let mut column = 0;
            for layer in &self.material.layers {
                let own = self.delta.slice(s![row..row + tokens, column..column + layer.width]);
                concept.layers.insert(layer.module_path.clone(), own.to_owned());
                column += layer.width;
            }
            row += tokens;
            concepts.push(concept);
        }
        concepts
    }

    /// What concept files say of their training.
    fn description(&self) -> serde_json::Value {
        json!({
            "steps": self.losses.len(),
            "lr": self.settings.learning_rate,
            "lr_scheduler": self.settings.lr_scheduler.name(),
            "batch": self.settings.batch,
            "timesteps": self.timesteps(),
            "seed": self.settings.seed,
            "prompts": self.prompts(),
            "pictures": self.material.examples.len(),
        })
    }

    fn timesteps(&self) -> [usize; 2] {
        let drawn = self.settings.timesteps_of(self.material.schedule.num_train_timesteps());
        [drawn.start, drawn.end]
    }

    fn prompts(&self) -> Vec<&str> {
        self.material.captions.iter().map(|caption| caption.prompt.as_str()).collect()
    }

    /// Everything that decides the numbers of a step; how many there are does where the rate falls over them.
    fn fingerprint(&self) -> serde_json::Value {
        let falls_over = (self.settings.lr_scheduler != LrScheduler::Constant).then_some(self.settings.steps);
        let subjects: Vec<String> =
            self.material.subjects.iter().map(|(subject, _)| format!("{}: {}", subject.name, subject.class)).collect();
        json!({
            "learning rate": self.settings.learning_rate,
            "scheduler of the rate": self.settings.lr_scheduler.name(),
            "steps that the rate falls over": falls_over,
            "batch": self.settings.batch,
            "micro-batch": self.settings.micro_batch,
            "timesteps": self.timesteps(),
            "seed": self.settings.seed,
            "memory": self.settings.memory.name(),
            "concepts": subjects,
            "prompts": self.prompts(),
            "pictures": self.pictures_hash(),
            "model": self.material.base_model_hash,
        })
    }

    fn pictures_hash(&self) -> String {
        let mut hash = Sha256::new();
        for view in self.material.examples.iter().flat_map(|example| &example.views) {
            let weights = view.weight.iter().flatten();
            for value in view.posterior.mean.iter().chain(weights) {
                hash.update(value.to_le_bytes());
            }
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}
