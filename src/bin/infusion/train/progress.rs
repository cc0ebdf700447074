use indicatif::{ProgressBar, ProgressStyle};
use infusion::train::StepDone;

/// A bar with the loss and the time left.
pub struct Progress {
    bar: ProgressBar,
    loss: Option<f64>,
}

/// How much of the shown loss the last step is.
const SHARE: f64 = 0.1;

impl Progress {
    pub fn new(shown: bool) -> Self {
        let bar = if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        Self { bar, loss: None }
    }

    /// What is done before the first step.
    pub fn stage(&self, message: &'static str) {
        self.bar.set_message(message);
        self.bar.tick();
    }

    pub fn begin(&self, done: usize, steps: usize) {
        self.bar.set_length(steps as u64);
        self.bar.set_position(done as u64);
        self.bar.reset_eta();
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, loss {msg}, {per_sec}, {eta} left");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_message("-");
    }

    pub fn step(&mut self, done: StepDone) {
        let mean = self.loss.map_or(done.loss, |mean| mean + SHARE * (done.loss - mean));
        self.loss = Some(mean);
        self.bar.set_message(format!("{mean:.4}"));
        self.bar.set_position(done.step as u64);
    }

    /// Prints a line above the bar.
    pub fn note(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
