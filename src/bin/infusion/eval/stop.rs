use std::sync::atomic::{AtomicBool, Ordering};

use infusion::pipeline::{Control, Observer, StepReport};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C end a measurement between two of its parts; a second one ends the program at once.
pub fn on_ctrl_c() {
    let _ = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
}

/// Whether it was pressed.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Ends a run of the pipeline between two steps, when Ctrl-C was pressed.
pub struct UntilStopped;

impl Observer for UntilStopped {
    fn step(&mut self, _: &StepReport<'_>) -> Control {
        if asked() { Control::Cancel } else { Control::Continue }
    }
}
