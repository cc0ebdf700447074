//! `infusion_mode` and `infusion_graphs`.

use super::{Error, Result};
use crate::pipeline::step::StepGraphs;
use crate::pipeline::{GraphChoice, Mode};

/// `None` is the mode that suits the call.
pub(super) fn mode(number: i32) -> Result<Option<Mode>> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(Mode::Separate)),
        2 => Ok(Some(Mode::Shared)),
        other => Err(Error::argument("mode", format!("{other} is no infusion_mode"))),
    }
}

pub(super) fn graphs(number: i32) -> Result<StepGraphs> {
    match number {
        0 => Ok(StepGraphs::Auto),
        1 => Ok(StepGraphs::Two),
        2 => Ok(StepGraphs::One),
        other => Err(Error::argument("graphs", format!("{other} is no infusion_graphs"))),
    }
}

/// The graphs of a whole generation.
pub(super) fn graph_choice(graphs: StepGraphs, mode: Mode) -> GraphChoice {
    match (graphs, mode) {
        (StepGraphs::Auto, _) => GraphChoice::Auto,
        (StepGraphs::Two, _) => GraphChoice::Two,
        (StepGraphs::One, Mode::Separate) => GraphChoice::Dual,
        (StepGraphs::One, Mode::Shared) => GraphChoice::Shared,
    }
}
