use std::sync::atomic::{AtomicBool, Ordering};

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
