use std::path::PathBuf;

use crate::{concept, noise, onnx, patch, picture, pipeline, prompt, runtime, schedulers};

/// What can go wrong while a concept is learned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A setting makes no sense, or does not go with the model or the pictures.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting's name and value.
        setting: String,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// No picture of a folder can be used.
    #[error("{folder}: {reason}", folder = folder.display())]
    NoPictures {
        /// The folder.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
    /// A checkpoint is damaged, or of another training.
    #[error("{path}: {reason}", path = path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The numbers ran over.
    #[error("step {step}: {what} is not finite; lower the learning rate, or train on the fp32 export")]
    Diverged {
        /// The step, from 1.
        step: usize,
        /// Which number.
        what: &'static str,
    },
    /// Arrays that should fit each other do not.
    #[error("{what}: {reason}")]
    Shape {
        /// Which arrays.
        what: &'static str,
        /// How they differ.
        reason: String,
    },
    /// A picture or drawing is wrong.
    #[error(transparent)]
    Picture(#[from] picture::Error),
    /// A model of the pipeline failed.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// A prompt is wrong.
    #[error(transparent)]
    Prompt(#[from] prompt::Error),
    /// The noise schedule cannot be used.
    #[error(transparent)]
    Schedule(#[from] schedulers::Error),
    /// Noise could not be drawn.
    #[error(transparent)]
    Noise(#[from] noise::Error),
    /// ONNX Runtime refused.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The UNet has no train graph.
    #[error(transparent)]
    Patch(#[from] patch::Error),
    /// A model could not be read or written.
    #[error(transparent)]
    Onnx(#[from] onnx::Error),
    /// The concept could not be made or written.
    #[error(transparent)]
    Concept(#[from] concept::Error),
}

/// A result whose error is this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(super) fn setting(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Setting { setting: setting.into(), reason: reason.into() }
    }

    pub(super) fn shape(what: &'static str, error: ndarray::ShapeError) -> Self {
        Self::Shape { what, reason: error.to_string() }
    }
}
