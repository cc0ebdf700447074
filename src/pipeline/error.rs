use std::path::PathBuf;

use crate::{concept, noise, onnx, patch, prompt, runtime, schedulers};

/// What can go wrong between a prompt and its pictures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A part of the pipeline's folder is missing or unreadable.
    #[error("{path}: {reason}", path = path.display())]
    Folder {
        /// The file or folder concerned.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting of the request makes no sense or does not go with the model.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting's name and value.
        setting: String,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A model has inputs or outputs that this pipeline does not know what to do with.
    #[error("{model}: {reason}", model = model.display())]
    Model {
        /// The model's file.
        model: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// No concept of that name is set.
    #[error("there is no concept '{name}'; {}", known_concepts(.known))]
    NoConcept {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A host's callback gave up.
    #[error("cancelled by {0}")]
    Cancelled(&'static str),
    /// The numbers ran over.
    #[error(
        "step {step} of {steps} (timestep {timestep}): {what} holds {bad} of {count} values that are no number; {advice}"
    )]
    NotFinite {
        /// The step, from 1.
        step: usize,
        /// The number of steps.
        steps: usize,
        /// The timestep of the model.
        timestep: f64,
        /// Which tensor.
        what: &'static str,
        /// How many values are NaN or infinite.
        bad: usize,
        /// How many there are.
        count: usize,
        /// What to do about it.
        advice: &'static str,
    },
    /// The decoded picture holds values that are no number.
    #[error("the VAE's picture holds {bad} values that are no number; half-precision VAEs overflow: use one in fp32")]
    PictureNotFinite {
        /// How many.
        bad: usize,
    },
    /// A picture could not be read or resized.
    #[error("picture: {0}")]
    Picture(String),
    /// A concept does not go with the model.
    #[error(transparent)]
    Concept(#[from] concept::Error),
    /// The prompt is wrong.
    #[error(transparent)]
    Prompt(#[from] prompt::Error),
    /// The scheduler refused.
    #[error(transparent)]
    Scheduler(#[from] schedulers::Error),
    /// Noise could not be drawn.
    #[error(transparent)]
    Noise(#[from] noise::Error),
    /// ONNX Runtime refused.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The UNet could not be patched.
    #[error(transparent)]
    Patch(#[from] patch::Error),
    /// A model could not be read or written.
    #[error(transparent)]
    Onnx(#[from] onnx::Error),
}

/// A result whose error is this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn known_concepts(known: &[String]) -> String {
    match known {
        [] => "none is set".to_owned(),
        known => format!("there is {}", known.join(", ")),
    }
}

impl Error {
    pub(super) fn setting(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Setting { setting: setting.into(), reason: reason.into() }
    }

    pub(super) fn folder(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Folder { path: path.into(), reason: reason.into() }
    }

    pub(super) fn model(model: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Model { model: model.into(), reason: reason.into() }
    }
}
