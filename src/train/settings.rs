use std::ops::Range;

use super::{Error, LrScheduler, Result};
use crate::patch::Memory;

/// How a training goes. The defaults are the paper's: Adam at 0.01, batches of 4.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Steps in all, those before a resumption included.
    pub steps: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// How the rate goes over the steps.
    pub lr_scheduler: LrScheduler,
    /// Rows of a batch.
    pub batch: usize,
    /// Rows computed at once; their gradients are averaged over the batch. `None`: all at once.
    pub micro_batch: Option<usize>,
    /// The timesteps that noise is drawn for, within the schedule's `num_train_timesteps`; `None`: all of them.
    /// A prompt decides most where there is little but noise: the upper half says more about a look, and less
    /// about its edges.
    pub timesteps: Option<Range<usize>>,
    /// Seed of all draws; the same seed, pictures and settings give the same Δ.
    pub seed: u64,
    /// What the graph keeps for the way back, and what it computes twice.
    pub memory: Memory,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            steps: 400,
            learning_rate: 0.01,
            lr_scheduler: LrScheduler::default(),
            batch: 4,
            micro_batch: None,
            timesteps: None,
            seed: 0,
            memory: Memory::default(),
        }
    }
}

impl Settings {
    /// The timesteps that are drawn on a schedule of `num_train_timesteps`.
    pub(super) fn timesteps_of(&self, num_train_timesteps: usize) -> Range<usize> {
        self.timesteps.clone().unwrap_or(0..num_train_timesteps)
    }

    /// Refuses numbers that no training can have, on a schedule of `num_train_timesteps`.
    pub(super) fn check(&self, num_train_timesteps: usize) -> Result<()> {
        if self.steps == 0 || self.batch == 0 || self.micro_batch == Some(0) {
            return Err(Error::setting("steps, batch and micro-batch", "must be at least 1"));
        }
        let timesteps = self.timesteps_of(num_train_timesteps);
        if timesteps.is_empty() || timesteps.end > num_train_timesteps {
            let reason = format!("must be a range within 0..{num_train_timesteps}, its least number first");
            return Err(Error::setting(format!("timesteps {timesteps:?}"), reason));
        }
        if !self.learning_rate.is_finite() || self.learning_rate <= 0.0 {
            let setting = format!("learning rate {}", self.learning_rate);
            return Err(Error::setting(setting, "must be a number above 0, such as 0.01"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_numbers_are_named() {
        for num_train_timesteps in [500, 1000, 2000] {
            assert!(Settings::default().check(num_train_timesteps).is_ok());
        }
        for timesteps in [5..5, 0..1001] {
            let error =
                Settings { timesteps: Some(timesteps), ..Default::default() }.check(1000).unwrap_err().to_string();
            assert!(error.contains("within 0..1000"), "{error}");
        }
        for settings in [
            Settings { steps: 0, ..Default::default() },
            Settings { batch: 0, ..Default::default() },
            Settings { micro_batch: Some(0), ..Default::default() },
        ] {
            assert!(settings.check(1000).unwrap_err().to_string().contains("at least 1"));
        }
        for learning_rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = Settings { learning_rate, ..Default::default() }.check(1000).unwrap_err().to_string();
            assert!(error.contains("learning rate"), "{error}");
        }
    }
}
