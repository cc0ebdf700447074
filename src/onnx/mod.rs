//! ONNX models as data: read, index, edit, infer shapes, check and write.
//!
//! Knows nothing of attention or diffusion; `patch` and `autodiff` build on it
//! and it uses neither them nor ONNX Runtime. Weights stay where they are: a
//! [`Model`] holds slices of the mapped file, and writing refers to them.
//!
//! - [`Model`] opens a file and keeps everything a graph does not: opsets,
//!   functions, metadata.
//! - [`Graph`] holds nodes under stable [`NodeId`]s and keeps its index of
//!   producers and consumers true through every edit.
//! - [`Model::tensor_bytes`] and its kin read weights, inside the file or external.
//! - [`Transaction`] and [`write_all`] write models, all files of a run or none.
//! - [`NodeExt`] and [`NodeBuilder`] read and build nodes.

mod check;
mod constant;
mod error;
mod graph;
pub mod infer;
mod model;
mod node;
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod proto;
mod tensors;
#[cfg(test)]
mod testing;
pub mod weights;
pub mod write;

pub use constant::{DataType, constant_f32s, constant_ints, tensor_f32s, tensor_ints};
pub use error::{Error, Result};
pub use graph::{Graph, NodeId};
pub use model::Model;
pub use node::{Attr, NodeBuilder, NodeExt};
pub use weights::WeightSource;
pub use write::{Transaction, Weights, WriteOptions, write_all};
