use std::fmt;

use super::survey::Survey;
use super::{FindOptions, Memory, Result, c, dual, f, find, fuse::fuse, refusal, shared, train};
use crate::onnx::Model;
use crate::onnx::infer::infer;

/// The graphs that are made of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// The foundation stream: the source, with maps and values as outputs.
    F,
    /// The customised stream: maps and values are inputs.
    C,
    /// Both streams, each on its own latents.
    Dual,
    /// Both streams on the same latents; unfed, it is the source.
    Shared,
    /// One step of learning Δ: both streams, the loss and its gradient.
    Train,
}

impl Variant {
    /// All variants in the order of the contract.
    pub const ALL: [Self; 5] = [Self::F, Self::C, Self::Dual, Self::Shared, Self::Train];

    /// The name in file names and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F => "f",
            Self::C => "c",
            Self::Dual => "dual",
            Self::Shared => "shared",
            Self::Train => "train",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a user may say about the graphs made.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmitOptions {
    /// Write attention as `com.microsoft.MultiHeadAttention` where that is exact: less memory and
    /// faster on CPU and CUDA, unknown to TensorRT.
    pub fuse: bool,
    /// What the train graph keeps for the way back, and what it computes twice.
    pub memory: Memory,
}

/// Makes one graph of `model`, whose weights stay where they are.
///
/// # Errors
/// An attention that may be a layer to patch was not understood; the variant cannot be made of
/// this export.
pub fn emit(model: &Model, survey: &Survey, variant: Variant, options: &EmitOptions) -> Result<Model> {
    refusal::of_gaps(model, survey)?;
    if options.fuse {
        let (fused, _) = fuse(model, survey)?;
        let context = Some(survey.context_input.clone());
        let survey = find(&fused, &infer(&fused), &FindOptions { context, recipes: None })?;
        return emit(&fused, &survey, variant, &EmitOptions { fuse: false, ..*options });
    }
    match variant {
        Variant::F => f::emit(model.clone(), survey),
        Variant::C => c::emit(model.clone(), survey),
        Variant::Dual => dual::emit(model.clone(), survey),
        Variant::Shared => shared::emit(model.clone(), survey),
        Variant::Train => train::emit(model.clone(), survey, options.memory),
    }
}
