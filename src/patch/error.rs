use std::path::PathBuf;

/// Why a model cannot be patched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model file or an edit of its graph is at fault.
    #[error(transparent)]
    Onnx(#[from] crate::onnx::Error),
    /// The model is not one that this library patches.
    #[error("cannot patch {model}: {reason}")]
    Refused {
        /// The model file, or `the model` if it came from memory.
        model: String,
        /// What was found and what was expected instead.
        reason: String,
    },
    /// A variant cannot be made of this export, though others can.
    #[error("cannot make the {variant} graph: {reason}")]
    Variant {
        /// The variant asked for.
        variant: super::Variant,
        /// What stands in its way and what to do about it.
        reason: String,
    },
    /// A recipe of attention is not well formed.
    #[error("graph patch {path}: {reason}", path = path.display())]
    Recipe {
        /// The recipe's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A concept does not fit the graph it is baked into.
    #[error("cannot bake: {0}")]
    Bake(String),
}

/// A result whose error is this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
