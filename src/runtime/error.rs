use std::path::PathBuf;

use super::library::MINIMUM_VERSION;

/// What can go wrong between this crate and ONNX Runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No usable library was found anywhere.
    #[error(
        "no ONNX Runtime library (version 1.{MINIMUM_VERSION} or newer) was found.\nTried:\n{}\n\
         To get one: `make setup` in the source tree, or `pip install onnxruntime`, then pass its \
         libonnxruntime.so (onnxruntime.dll, libonnxruntime.dylib) with --onnxruntime or ORT_DYLIB_PATH.",
        .tried.join("\n")
    )]
    LibraryNotFound {
        /// Every place tried, with the reason that it did not serve.
        tried: Vec<String>,
    },
    /// The library that was asked for cannot be used.
    #[error("ONNX Runtime library {path}: {reason}", path = path.display())]
    Library {
        /// The file concerned.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// A pointer handed over by a host is no usable ONNX Runtime.
    #[error("the host's ONNX Runtime cannot be used: {reason}")]
    Host {
        /// Why it cannot be used.
        reason: String,
    },
    /// The process already runs on another library.
    #[error("ONNX Runtime is already loaded from {loaded}; {asked} cannot be loaded into the same process")]
    AlreadyLoaded {
        /// What is in use.
        loaded: String,
        /// What was asked for.
        asked: PathBuf,
    },
    /// A model could not be loaded.
    #[error("{model}: ONNX Runtime cannot load it: {reason}", model = model.display())]
    Open {
        /// The model's file.
        model: PathBuf,
        /// What ONNX Runtime said.
        reason: String,
    },
    /// An execution provider could not be used.
    #[error("provider '{provider}': {reason}")]
    Provider {
        /// The provider's name as in `--provider`.
        provider: String,
        /// What is missing and what to do about it.
        reason: String,
    },
    /// An option's text does not make sense.
    #[error("{option}: {reason}")]
    InvalidOption {
        /// The option and its text.
        option: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A run failed.
    #[error("{model}: run failed: {reason}", model = model.display())]
    Run {
        /// The model's file.
        model: PathBuf,
        /// What ONNX Runtime said.
        reason: String,
    },
    /// A model has no such input or output, or one of another type or shape.
    #[error("{model}: tensor '{tensor}': {reason}", model = model.display())]
    Tensor {
        /// The model's file.
        model: PathBuf,
        /// The input or output concerned.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of the session cache could not be read or written.
    #[error("session cache {path}: {source}", path = path.display())]
    Cache {
        /// The file or folder concerned.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// ONNX Runtime refused something that should not fail.
    #[error("ONNX Runtime: {0}")]
    Runtime(String),
}

/// A result whose error is this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl<R> From<ort::Error<R>> for Error {
    fn from(error: ort::Error<R>) -> Self {
        Self::Runtime(error.to_string())
    }
}
