//! The ways of computing a guided step, and of a step of learning.

use clap::ValueEnum;
use infusion::patch::{Memory, Variant};

/// A way of computing a guided step: an unconditional and a conditional row, the latter with a concept. Or a
/// step of learning: the loss of one row and its gradient, as `infusion train` computes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Mode {
    /// The exported UNet, without any concept: what all others are held against
    Plain,
    /// The exported UNet once for each stream
    Naive,
    /// `f`, then `c` with its maps
    #[value(name = "f+c")]
    TwoGraphs,
    /// The same with the maps fetched to the host's memory and sent from there
    #[value(name = "f+c-host")]
    ThroughHost,
    /// Both streams in one run, each on its own latents
    Dual,
    /// Both streams on the same latents, rows without a concept once
    Shared,
    /// A further concept on a foundation that was run already: `c` alone
    Kept,
    /// A step of learning with `--memory low`
    TrainLow,
    /// A step of learning as it is by default, with `--memory balanced`
    Train,
    /// A step of learning with `--memory fast`
    TrainFast,
}

impl Mode {
    /// Those of a guided step, which are measured where none is asked for.
    pub const GUIDED: [Self; 6] = [Self::Plain, Self::Naive, Self::TwoGraphs, Self::Dual, Self::Shared, Self::Kept];

    /// The name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Naive => "naive",
            Self::TwoGraphs => "f+c",
            Self::ThroughHost => "f+c-host",
            Self::Dual => "dual",
            Self::Shared => "shared",
            Self::Kept => "kept",
            Self::TrainLow => "train-low",
            Self::Train => "train",
            Self::TrainFast => "train-fast",
        }
    }

    /// The graphs that it runs instead of the source.
    pub fn graphs(self) -> &'static [Graph] {
        match self {
            Self::Plain | Self::Naive => &[],
            Self::TwoGraphs | Self::ThroughHost | Self::Kept => {
                const { &[Graph::of(Variant::F), Graph::of(Variant::C)] }
            }
            Self::Dual => const { &[Graph::of(Variant::Dual)] },
            Self::Shared => const { &[Graph::of(Variant::Shared)] },
            Self::TrainLow => const { &[Graph::train(Memory::Low)] },
            Self::Train => const { &[Graph::train(Memory::Balanced)] },
            Self::TrainFast => const { &[Graph::train(Memory::Fast)] },
        }
    }

    /// Whether its step is one of learning.
    pub fn learns(self) -> bool {
        self.graphs().iter().any(|graph| graph.variant == Variant::Train)
    }
}

/// A patched graph, made one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graph {
    pub variant: Variant,
    pub memory: Memory,
}

impl Graph {
    const fn of(variant: Variant) -> Self {
        Self { variant, memory: Memory::Balanced }
    }

    const fn train(memory: Memory) -> Self {
        Self { variant: Variant::Train, memory }
    }

    /// Whether attention is fused unasked, as `infusion train` does where it knows that the provider can.
    pub fn fused_by_default(self) -> bool {
        self.variant == Variant::Train && self.memory != Memory::Fast
    }

    /// Its name in the folder of graphs.
    pub fn file(self) -> String {
        format!("{}.{}.onnx", self.memory, self.variant)
    }
}
