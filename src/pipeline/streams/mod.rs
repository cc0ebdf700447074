//! The two streams through the UNet, by whichever graphs serve.
//!
//! | file | graphs | mode |
//! |---|---|---|
//! | [`two_graphs`] | `f`, then `c` | both |
//! | [`dual`] | `dual`, both streams in one run | separate |
//! | [`shared`] | `shared`, rows without a concept once | shared |
//!
//! All predict the same noise to rounding. To add another way, write a file with a struct that
//! implements [`Separate`] or [`Shared`], and choose it in `plan.rs`.

mod dual;
mod plain;
mod shared;
mod two_graphs;

use crate::schedulers::Latents;

use super::Result;
use super::heat::HeatCollector;
use super::injection::Injection;
use super::rows::{Conditions, Rows};

pub(super) use dual::{Dual, optional_inputs};
pub(super) use plain::Plain;
pub(super) use shared::OneGraph;
pub(super) use two_graphs::TwoGraphs;

/// What is the same for all rows and variations of a step.
pub(super) struct StepContext<'a> {
    pub given: Conditions<'a>,
    /// One for each variation.
    pub injections: &'a [Injection],
    /// Whether Δ is added at this step.
    pub open: bool,
}

impl<'a> StepContext<'a> {
    fn rows(&self, sample: &'a Latents) -> Rows<'a> {
        Rows { sample, given: self.given }
    }
}

/// F on its own latents, C on its own: all rows of both are predicted.
pub(super) trait Separate {
    /// Noise of F's rows, and of the rows of each variation.
    fn predict(
        &mut self,
        foundation: &Latents,
        customised: &[Latents],
        step: &StepContext<'_>,
        heat: Option<&mut HeatCollector>,
    ) -> Result<(Latents, Vec<Latents>)>;
}

/// F on C's latents: rows without a concept are the same in both.
pub(super) trait Shared {
    /// Noise of the rows of one variation; those that carry concepts are `concept_rows`, ascending.
    fn predict(
        &mut self,
        variation: usize,
        rows: &Latents,
        concept_rows: &[usize],
        step: &StepContext<'_>,
        heat: Option<&mut HeatCollector>,
    ) -> Result<Latents>;
}
