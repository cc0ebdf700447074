//! Writing models whose weights stay where they are.
//!
//! A [`Transaction`] collects every file of one run under temporary names in
//! the target folder and moves them into place together, so an interrupted run
//! leaves the old files or the new ones. [`Weights::Shared`] makes the written
//! models refer to bytes that exist already (`external_data` into the source's
//! own file, or into its external files); [`Weights::SelfContained`] copies.
//!
//! ONNX Runtime from 1.32 on reads external data only from the model's own
//! folder and follows no link out of it, so weights that live elsewhere, or
//! behind such a link (a Hugging Face cache), are hard-linked next to the
//! written models, or copied where the file system cannot link.
//!
//! - `bytes`: a model in memory, weights included
//! - `place`: which bytes become which `external_data`
//! - `encode`: protobuf to a stream, one tensor at a time
//! - `transaction`: temporary files, conflicts, renaming, undoing

mod bytes;
mod encode;
mod place;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

pub use transaction::Transaction;

use super::{Model, Result};

/// What becomes of the weights of a written model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// The model refers to the source's weights: nothing is copied beside the source;
    /// elsewhere its files are hard-linked, or copied once.
    #[default]
    Shared,
    /// The model holds its weights; above 2 GB, which protobuf cannot hold, they go to
    /// one file `<model>_data` beside it.
    SelfContained,
}

/// Which existing files may be replaced.
#[derive(Clone, Debug, Default)]
pub enum Overwrite {
    /// None.
    #[default]
    Never,
    /// Files of these names in the target folder, e.g. those a manifest lists.
    Named(HashSet<String>),
    /// Any.
    Always,
}

/// How far the copy of one weight file has come.
#[derive(Clone, Copy, Debug)]
pub struct Copying<'a> {
    /// The file that is copied from.
    pub file: &'a Path,
    /// Bytes copied.
    pub done: u64,
    /// Bytes in the file.
    pub total: u64,
}

/// Called while weights are copied; [`ControlFlow::Break`] stops the transaction.
pub type OnCopy<'a> = &'a dyn Fn(Copying<'_>) -> ControlFlow<()>;

/// How a [`Transaction`] writes.
#[derive(Clone, Default)]
pub struct WriteOptions<'a> {
    /// What becomes of the weights.
    pub weights: Weights,
    /// Which existing files may be replaced.
    pub overwrite: Overwrite,
    /// Told how copying goes, and asked whether to go on.
    pub on_copy: Option<OnCopy<'a>>,
}

/// Writes `models` under their names into `folder`, all or none.
///
/// # Errors
/// As [`Transaction::model`] and [`Transaction::commit`]; nothing is written then.
pub fn write_all(folder: &Path, models: &[(&str, &Model)], options: WriteOptions<'_>) -> Result<()> {
    let mut transaction = Transaction::begin(folder, options)?;
    for (name, model) in models {
        transaction.model(name, model)?;
    }
    transaction.commit()?;
    Ok(())
}
