use std::path::PathBuf;

/// What can be wrong with what is to be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file of samples is not one.
    #[error("{file}: {reason}")]
    Samples {
        /// The file concerned.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A model of embeddings cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Backbone {
        /// The file or folder concerned.
        path: PathBuf,
        /// What is wrong with it and what is needed.
        reason: String,
    },
    /// ONNX Runtime refused.
    #[error(transparent)]
    Runtime(#[from] crate::runtime::Error),
    /// A text cannot be tokenised.
    #[error(transparent)]
    Prompt(#[from] crate::prompt::Error),
    /// The numbers cannot be measured.
    #[error("{what}: {reason}")]
    Input {
        /// Which numbers.
        what: &'static str,
        /// What is wrong with them and what is needed.
        reason: String,
    },
}

/// A result whose error is this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(super) fn input(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Input { what, reason: reason.into() }
    }
}
