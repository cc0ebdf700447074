//! Personalised pictures from Stable Diffusion v1.5 ONNX pipelines.
//!
//! A residual Δ is added to the value rows of a concept's tokens in every
//! cross-attention layer, while the attention maps come from an untouched
//! foundation stream ("Infusion", eq. 7). The modules build on each other in
//! one direction:
//!
//! [`onnx`] ← `patch`, `autodiff` ← `runtime` ← `pipeline`, `train`, `metrics`
//! ← `capi` and the programs; `schedulers`, `noise`, `concept`, `prompt` and
//! `picture` are leaves that know neither graphs nor sessions.

pub mod autodiff;
pub mod capi;
pub mod concept;
pub mod files;
pub mod metrics;
pub mod noise;
pub mod onnx;
pub mod patch;
pub mod picture;
pub mod pipeline;
pub mod prompt;
pub mod runtime;
pub mod schedulers;
pub mod train;

#[cfg(test)]
#[path = "../tests/support/dialects.rs"]
pub(crate) mod dialects;
