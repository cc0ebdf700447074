//! ONNX Runtime: found and loaded at run time, with sessions that are safe to share.
//!
//! Uses [`crate::onnx`] to read what models declare, and nothing else of this crate;
//! `pipeline`, `train`, `metrics` and `capi` use it, and nobody else calls `ort`.
//!
//! - [`library`] finds, checks and loads the shared library, once in a process.
//! - [`Tensor`] and [`TensorSpec`] are values and what a model says of them.
//! - [`Session`] runs a model. Its outputs can stay in the device's memory as
//!   [`DeviceTensor`]s and be fed to another session from there; [`Session::run_resident`]
//!   keeps inputs on the device as long as they do not change.
//! - [`ProviderSpec`] says where a model runs; there is no silent fallback.

mod assignment;
mod cache;
mod error;
pub mod library;
mod locate;
mod outputs;
pub mod providers;
mod resident;
mod session;
mod shapes;
mod spec;
mod tensor;
mod threads;

pub use assignment::Assignment;
pub use cache::CacheUse;
pub use error::{Error, Result};
pub use library::{LibraryChoice, LibraryInfo};
/// The crate whose environments [`library::share`] takes, in this crate's version of it.
pub use ort;
pub use outputs::{DeviceTensor, Outputs, Value};
pub use providers::{ProviderKind, ProviderSpec};
pub use session::{Feed, Fetch, Session, SessionOptions};
pub use shapes::{ShapeRange, declared_inputs};
pub use spec::{Dim, TensorSpec};
pub use tensor::{Element, ElementType, Tensor};
