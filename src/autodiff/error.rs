use crate::onnx;

/// Why a gradient cannot be written down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A node on the way has an operator without a rule.
    #[error("{place}: there is no gradient rule for this operator")]
    NoRule {
        /// The node, e.g. `node 'Sort_3' (Sort)`.
        place: String,
    },
    /// A node on the way computes with quantised numbers.
    #[error("{place}: quantised graphs have no gradient; use the float export of this model")]
    Quantised {
        /// The node.
        place: String,
    },
    /// A node on the way uses its operator in a form that its rule does not handle.
    #[error("{place}: no gradient: {reason}")]
    Unsupported {
        /// The node.
        place: String,
        /// Which form, and what to do about it.
        reason: String,
    },
    /// The outputs do not depend on a wanted tensor.
    #[error("tensor '{tensor}': the differentiated outputs do not depend on it")]
    Unreached {
        /// The wanted tensor.
        tensor: String,
    },
    /// The graph contradicts itself.
    #[error(transparent)]
    Graph(#[from] onnx::Error),
}

/// A result whose error is this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
