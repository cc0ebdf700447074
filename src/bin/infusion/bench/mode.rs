//! The ways of computing a guided step.

use clap::ValueEnum;
use infusion::patch::Variant;

/// A way of computing a guided step: an unconditional and a conditional row, the latter with a concept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Mode {
    /// The exported UNet, without any concept: what all others are held against
    Plain,
    /// The exported UNet once for each stream
    Naive,
    /// `f`, then `c` with its maps
    #[value(name = "f+c")]
    TwoGraphs,
    /// Both streams in one run, each on its own latents
    Dual,
    /// Both streams on the same latents, rows without a concept once
    Shared,
    /// A further concept on a foundation that was run already: `c` alone
    Kept,
}

impl Mode {
    pub const ALL: [Self; 6] = [Self::Plain, Self::Naive, Self::TwoGraphs, Self::Dual, Self::Shared, Self::Kept];

    /// The name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Naive => "naive",
            Self::TwoGraphs => "f+c",
            Self::Dual => "dual",
            Self::Shared => "shared",
            Self::Kept => "kept",
        }
    }

    /// The graphs that it runs, beside the source.
    pub fn graphs(self) -> &'static [Variant] {
        match self {
            Self::Plain | Self::Naive => &[],
            Self::TwoGraphs | Self::Kept => &[Variant::F, Variant::C],
            Self::Dual => &[Variant::Dual],
            Self::Shared => &[Variant::Shared],
        }
    }
}
