//! The C ABI of `bindings/c/infusion.h`, which is its documentation.
//!
//! Uses everything of this crate; nothing uses it. A function of the header is an `extern "C"`
//! function here that does three things: [`status::call`] catches panics and makes a status of an
//! error, [`arguments`], [`structs`] and [`tensor`] turn pointers into checked values, and the library does
//! the work.
//! Objects that a caller holds are tokens of a [`handles::Table`], never addresses.
//!
//! What a step costs beyond ONNX Runtime's own work is measured by `examples/step_overhead.rs`.
//!
//! To add a function: declare it in the header, write it here, and run `cargo test --test capi_c`,
//! which compares header, exported symbols and `tests/capi_abi.golden`.

mod arguments;
mod buffer;
mod concept;
mod concept_matrix;
mod error;
mod generate;
mod handles;
mod init;
#[cfg(test)]
mod layout;
mod model;
mod modes;
mod pictures;
mod pipeline;
mod progress;
mod scheduler;
mod session;
mod status;
mod structs;
mod tensor;
mod tokenizer;
mod train;
mod unet;
mod unet_run;
mod version;

use error::{Error, Result};
