use infusion::pipeline::{Control, Observer, StepReport};

use crate::interrupt;

/// Ends a run of the pipeline between two steps, when Ctrl-C was pressed.
pub struct UntilStopped;

impl Observer for UntilStopped {
    fn step(&mut self, _: &StepReport<'_>) -> Control {
        if interrupt::requested() { Control::Cancel } else { Control::Continue }
    }
}
