//! The UNet one evaluation at a time, for hosts that keep their own loop.
//!
//! Uses the streams of the pipeline; the C library uses it. A [`StepUnet`] takes the place of the
//! host's session: it is given what the host's UNet was given, and what each row of the batch is.
//!
//! 1. [`concepts`] holds what is set, as a snapshot for every call.
//! 2. [`marks`] makes a mask of what the rows say of their tokens.
//! 3. [`images`] keeps the foundation's own trajectory of every picture under way.
//! 4. [`evaluate`] runs the graphs; [`unet`] ties these together.

mod concepts;
mod evaluate;
mod images;
mod marks;
mod unet;

use std::sync::Arc;

use ndarray::{Array3, Array4, ArrayD};

pub use concepts::{Setting, StepConcept};
pub use unet::StepUnet;

use super::{Mode, Result};
use crate::prompt::Tokenizer;
use crate::runtime::SessionOptions;
use crate::schedulers::{Latents, Timestep};

/// How a [`StepUnet`] is opened.
#[derive(Default)]
pub struct StepOptions {
    /// How its sessions are made.
    pub session: SessionOptions,
    /// Where patched graphs go when the UNet's own folder cannot be written.
    pub graph_folder: Option<std::path::PathBuf>,
    /// Which latents F is evaluated on; `None`: its own where there is a scheduler for them, else C's.
    pub mode: Option<Mode>,
    /// Which graphs compute the streams.
    pub graphs: StepGraphs,
    /// Finds concepts in rows that carry token ids.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// Follows F's predictions, for separate streams in [`StepUnet::run`].
    pub scheduler: Option<Box<dyn FoundationScheduler>>,
}

/// Which graphs compute the streams of a [`StepUnet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StepGraphs {
    /// What suits model, mode and provider.
    #[default]
    Auto,
    /// `f`, then `c`.
    Two,
    /// `dual` or `shared`, as the mode is.
    One,
}

/// What a row of the batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The negative prompt's; it carries no concept.
    Unconditional,
    /// The prompt's.
    Conditional,
    /// Any further one of a picture, e.g. of a weighed prompt.
    Other,
}

/// One row of the batch.
#[derive(Clone, Debug)]
pub struct StepRow {
    /// What it is.
    pub role: Role,
    /// Rows of one picture share it.
    pub image: u64,
    /// Where concepts go.
    pub marks: Vec<Mark>,
    /// The ids that its prompt was encoded from: every concept goes where its phrase occurs in them.
    pub ids: Vec<i64>,
}

/// Where a concept's tokens are in a row's prompt.
#[derive(Clone, Debug)]
pub struct Mark {
    /// The concept, by the name that it was set under.
    pub concept: String,
    /// Times the concept's weight.
    pub strength: f32,
    /// Rows of the context. A concept of T tokens goes to each T of them in turn.
    pub positions: Vec<usize>,
}

/// What an evaluation is about.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Which evaluation of the picture it is; one not above the last begins the picture anew.
    pub index: u32,
    /// Evaluations in all, after which the picture is forgotten; 0: not known.
    pub steps: u32,
    /// Rows of a picture over all calls of one evaluation; 0: they are all in this call.
    pub rows_per_image: usize,
    /// One for each row of the sample; may be empty while no concept is set.
    pub rows: Vec<StepRow>,
}

/// What the host's UNet is given, apart from the latents.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// One for all rows, or one for each.
    pub timesteps: Vec<Timestep>,
    /// `[rows, L, C]`
    pub context: Array3<f32>,
    /// Further inputs of the export by name, with a row for each row.
    pub further: Vec<(String, ArrayD<f32>)>,
}

/// F's prediction of one picture at one evaluation.
#[derive(Debug)]
pub struct FoundationStep {
    /// The picture.
    pub image: u64,
    /// Which evaluation.
    pub index: u32,
    /// What each row is, in the order in which the calls gave them.
    pub roles: Vec<Role>,
    /// `[rows, 4, h, w]`
    pub noise: Array4<f32>,
    /// What F was given, `[4, h, w]`.
    pub sample: Array3<f32>,
}

/// Follows F's predictions from one evaluation to the next, as the host follows C's.
pub trait FoundationScheduler: Send + Sync {
    /// What F is given at the next evaluation, `[4, h, w]`.
    ///
    /// # Errors
    /// The host gives up.
    fn step(&self, foundation: &FoundationStep) -> Result<Array3<f32>>;
}

/// Noise of both streams.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// F's, on F's latents.
    pub foundation: Latents,
    /// C's, on C's.
    pub customised: Latents,
}
