//! The C ABI of `bindings/c/infusion.h`, which is its documentation.
//!
//! Uses everything of this crate; nothing uses it. A function of the header is an `extern "C"`
//! function here that does three things: [`status::call`] catches panics and makes a status of an
//! error, [`arguments`] turns pointers into checked references, and the library does the work.
//! Objects that a caller holds are tokens of a [`handles::Table`], never addresses.
//!
//! To add a function: declare it in the header, write it here, and run `cargo test --test capi_c`,
//! which compares header, exported symbols and `tests/capi_abi.golden`.

mod arguments;
mod concept_matrix;
mod error;
mod handles;
mod init;
mod status;
mod tokenizer;
mod version;

use error::{Error, Result};
