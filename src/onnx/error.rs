use std::path::PathBuf;

/// What can be wrong with a model file or an edit of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened, mapped, read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The bytes are not an ONNX model.
    #[error("{path}: not an ONNX model: {reason}", path = path.display())]
    Decode {
        /// The file concerned.
        path: PathBuf,
        /// Why decoding stopped.
        reason: String,
    },
    /// The model is readable, but contradicts itself or the format.
    #[error("{place}: {reason}")]
    Invalid {
        /// The node or tensor concerned, e.g. `node 'Conv_3' (Conv)`.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model uses something that this library does not handle.
    #[error("{place}: not supported: {reason}")]
    Unsupported {
        /// The node or tensor concerned.
        place: String,
        /// What is not supported and what to do about it.
        reason: String,
    },
    /// A file would be replaced without permission.
    #[error("{path}: exists and would be replaced", path = path.display())]
    Exists {
        /// The file concerned.
        path: PathBuf,
    },
    /// The caller stopped the operation.
    #[error("interrupted")]
    Interrupted,
}

/// A result whose error is this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Invalid`] at `place`.
    pub fn invalid(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { place: place.into(), reason: reason.into() }
    }

    /// An [`Error::Unsupported`] at `place`.
    pub fn unsupported(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported { place: place.into(), reason: reason.into() }
    }

    /// An [`Error::Io`] about `path`.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// The same error, its place preceded by what encloses it, e.g. a file.
    pub fn within(self, outer: &str) -> Self {
        match self {
            Self::Invalid { place, reason } => Self::Invalid { place: format!("{outer}: {place}"), reason },
            Self::Unsupported { place, reason } => Self::Unsupported { place: format!("{outer}: {place}"), reason },
            other => other,
        }
    }
}
