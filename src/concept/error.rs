use std::path::PathBuf;

/// What can be wrong with a concept or its file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened, read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Writing would replace a file, which was not asked for.
    #[error("{path}: exists already; choose another name or ask for it to be replaced", path = path.display())]
    Exists {
        /// The file concerned.
        path: PathBuf,
    },
    /// The file or concept contradicts itself or the format.
    #[error("{file}: {place}: {reason}")]
    Invalid {
        /// The file, or the concept's word where there is none.
        file: String,
        /// The tensor, layer or metadata key concerned.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The concept was learned on another model.
    #[error(
        "{file}: learned on {learned_on}, but the model is {model}; use the model it was learned on, or force it to be loaded"
    )]
    WrongModel {
        /// The concept's file.
        file: String,
        /// The hash in the file.
        learned_on: String,
        /// The hash of the model at hand.
        model: String,
    },
    /// The concept's layers are not the model's, or not those of the concept that it is merged with.
    #[error("{file}: layer '{layer}': {reason}")]
    Layer {
        /// The concept's file.
        file: String,
        /// The module path of the layer.
        layer: String,
        /// How the two differ.
        reason: String,
    },
    /// Concepts that cannot be merged.
    #[error("cannot merge: {reason}")]
    Merge {
        /// Why not.
        reason: String,
    },
}

/// A result whose error is this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(super) fn invalid(file: impl Into<String>, place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { file: file.into(), place: place.into(), reason: reason.into() }
    }

    pub(super) fn layer(file: impl Into<String>, layer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Layer { file: file.into(), layer: layer.into(), reason: reason.into() }
    }

    pub(super) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}
