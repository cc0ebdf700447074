//! From an exported UNet to the graphs of Infusion.
//!
//! Uses `onnx` (graphs and shape inference) only; `runtime` and all above it build on the files
//! that are written here. Cross-attention is found by data flow, never by names:
//!
//! 1. [`flow`] tells constants, shape arithmetic and data apart, and which input data comes from.
//! 2. [`anchor`] matches a Softmax or a fused operator against the [`recipe`]s of `graph-patches/`,
//!    which say for each dialect where Q, K, V and the probabilities are and how they lie.
//! 3. [`find()`] keeps the anchors whose K and V come from the context alone, and follows what they
//!    make to where it leaves the layer.
//! 4. [`emit`] makes the graphs, one file each: [`f`] taps maps and values, [`c`] splices them in.
//!
//! # Adding a dialect
//! Write its recipe into `graph-patches/`, its name into the list in `recipe.rs`, its line into
//! `graph-patches/README.md`, and its fixture into `tools/dialects`.

mod anchor;
mod bake;
mod c;
mod correction;
mod defaults;
mod dual;
mod error;
mod exit;
mod f;
mod find;
mod flow;
mod fuse;
mod layout;
mod manifest;
mod memory;
mod paths;
mod recipe;
mod refusal;
mod region;
mod rows;
mod shared;
mod sketch;
mod splice;
#[allow(dead_code)]
mod stream;
mod survey;
mod tap;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod trail;
mod train;
mod uniform;
mod value;
mod value_weights;
mod variant;

pub use anchor::{Part, Place};
pub use bake::{Baked, bake};
pub use defaults::drop_defaults;
pub use error::{Error, Result};
pub use find::{FindOptions, find};
pub use fuse::fuse;
pub use layout::{Axis, Layout, Sizes};
pub use manifest::{Layer, Manifest, Source};
pub use memory::Memory;
pub use recipe::{Parts, Recipe};
pub use survey::{Attention, CrossAttention, NearMiss, Survey};
pub use train::TrainNames;
pub use value_weights::{base_model_hash, value_weights};
pub use variant::{EmitOptions, Variant, emit};
