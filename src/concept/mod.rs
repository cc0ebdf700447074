//! Concept files: the learned residual Δ of one word, a few kilobytes each.
//!
//! A [`Concept`] holds one matrix `[T, d]` for every cross-attention layer: what eq. 7 of the paper
//! adds to the value rows of the concept's `T` tokens. It is read from and written to `.safetensors`
//! in four [`Precision`]s, laid side by side as the `infusion.delta` input of a patched graph
//! ([`Concept::matrix`]), merged ([`merge`]), imported from a Δ in front of the value projection
//! ([`TextDelta`]) and exported as an ONNX Runtime adapter ([`adapter`]).
//!
//! A leaf: it knows neither graphs nor sessions; the pipeline, the trainer and the programs use it.
//!
//! # The file
//!
//! | precision | tensors |
//! |---|---|
//! | f32, f16 | `unet.<module path>.attn2.to_v.infusion_delta`, F32 or F16 `[T, d]` |
//! | i8 | the same name, I8 `[T, d]`; `….infusion_delta.scale`, F32 `[T, 1]` |
//! | i4 | the same name, U8 `[T, ⌈d/2⌉]`, two numbers a byte, low half first, stored as q + 8; one `unet.infusion_delta.scale`, F32 `[n]` |
//!
//! Δ = scale · q, with q in −127…127 (i8) or −8…7 (i4). The i4 form has one scale for every
//! `scale_block` (metadata, 64) numbers of a row, all layers' scales in the order in which their tensors
//! lie in the file, row by row: sixteen more entries in the header would cost more bytes than the
//! finer scales do, and the whole file of SD-1.5's 12 480 numbers has to stay under 11 kB. Where some
//! `d` is odd, the metadata's `widths` (JSON, module path → d) says so.

pub mod adapter;
mod container;
mod error;
mod import;
mod layers;
mod merge;
mod metadata;
mod quantise;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;
use ndarray::Array2;

pub use error::{Error, Result};
pub use import::{TextDelta, ValueWeight};
pub use layers::LayerSpec;
pub use merge::merge;
pub use write::Encoded;

pub use crate::files::Existing;

/// A learned concept: the residual Δ of every cross-attention layer, and what it was learned on.
#[derive(Debug, Clone, PartialEq)]
pub struct Concept {
    /// The concept's own name, as in `<striped>`; not empty, without `<`, `>`, `|`, `:` and line ends.
    pub word: String,
    /// The super-class word that stands for it in a prompt, e.g. `ball`; not empty.
    pub class: String,
    /// `sha256:…` over the value projections of the model that it was learned on.
    pub base_model_hash: Option<String>,
    /// How it was learned (steps, lr, batch, seed, prompts, …).
    pub training: Option<serde_json::Value>,
    /// Further metadata of the file (author, licence, `modelspec.*`), kept as it is.
    pub extra: BTreeMap<String, String>,
    /// Module path (`down_blocks.0.attentions.0.transformer_blocks.0`) → Δ `[T, d]`, T equal in all.
    pub layers: IndexMap<String, Array2<f32>>,
    /// The file that it was read from.
    pub path: Option<PathBuf>,
    /// How that file stores it.
    pub stored_as: Option<Precision>,
}

/// How the numbers of a concept file are stored; a coarser one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Precision {
    /// 32-bit floats, exact.
    F32,
    /// 16-bit floats (relative error about 2e-4).
    #[default]
    F16,
    /// 8-bit integers and one scale a row.
    I8,
    /// 4-bit integers, two a byte, and one scale for 64 numbers.
    I4,
}

impl Precision {
    /// All of them, from the most exact to the smallest.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::I8, Self::I4];

    /// The name in options and reports: `f32`, `f16`, `i8` or `i4`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I8 => "i8",
            Self::I4 => "i4",
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.name() == name)
            .ok_or_else(|| format!("unknown precision '{name}': use f32, f16, i8 or i4"))
    }
}

impl Concept {
    /// A concept with Δ = 0 in no layer yet, for `word` of class `class`.
    pub fn new(word: impl Into<String>, class: impl Into<String>) -> Self {
        Self {
            word: word.into(),
            class: class.into(),
            base_model_hash: None,
            training: None,
            extra: BTreeMap::new(),
            layers: IndexMap::new(),
            path: None,
            stored_as: None,
        }
    }

    /// How many tokens it has a Δ for: 1 means that every token of the marked phrase gets that one.
    pub fn tokens(&self) -> usize {
        self.layers.values().next().map_or(0, Array2::nrows)
    }

    /// How many numbers it holds over all layers and tokens (12 480 in SD-1.5 for one token).
    pub fn parameters(&self) -> usize {
        self.layers.values().map(Array2::len).sum()
    }

    /// How messages name it: by its file, or by its word if it has none.
    pub fn origin(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => format!("concept '{}'", self.word),
        }
    }

    /// Fails unless it was learned on the model with this hash.
    ///
    /// A concept without a hash is accepted by no model but under `force`.
    pub fn check_base(&self, model_hash: &str, force: bool) -> Result<()> {
        if force || self.base_model_hash.as_deref() == Some(model_hash) {
            return Ok(());
        }
        Err(Error::WrongModel {
            file: self.origin(),
            learned_on: self.base_model_hash.clone().unwrap_or_else(|| "a model it does not name".into()),
            model: model_hash.into(),
        })
    }

    /// Fails if a word, hash, shape or number is one that a concept may not have.
    pub fn check(&self) -> Result<()> {
        let invalid = |place: &str, reason: String| Err(Error::invalid(self.origin(), place, reason));
        metadata::check_word("concept", &self.word).or_else(|reason| invalid("metadata 'concept'", reason))?;
        metadata::check_word("class", &self.class).or_else(|reason| invalid("metadata 'class'", reason))?;
        if let Some(hash) = &self.base_model_hash {
            metadata::check_hash(hash).or_else(|reason| invalid("metadata 'base_model_hash'", reason))?;
        }
        if self.layers.is_empty() {
            return invalid("layers", "there are none".into());
        }
        let tokens = self.tokens();
        for (layer, delta) in &self.layers {
            let place = format!("layer '{layer}'");
            if delta.is_empty() {
                return invalid(&place, format!("Δ is empty, of shape {:?}", delta.shape()));
            }
            if delta.nrows() != tokens {
                let reason = format!("Δ has {} tokens where the first layer has {tokens}", delta.nrows());
                return invalid(&place, reason);
            }
            if let Some(((token, column), value)) = delta.indexed_iter().find(|(_, value)| !value.is_finite()) {
                return invalid(&place, format!("Δ is {value} at token {token}, column {column}"));
            }
        }
        Ok(())
    }
}
