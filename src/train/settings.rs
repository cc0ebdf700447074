use super::{Error, Result};
use crate::patch::Memory;

/// How a training goes. The defaults are the paper's: Adam at 0.01, batches of 4.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Steps in all, those before a resumption included.
    pub steps: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Rows of a batch.
    pub batch: usize,
    /// Rows computed at once; their gradients are averaged over the batch. `None`: all at once.
    pub micro_batch: Option<usize>,
    /// Seed of all draws; the same seed, pictures and settings give the same Δ.
    pub seed: u64,
    /// What the graph keeps for the way back, and what it computes twice.
    pub memory: Memory,
}

impl Default for Settings {
    fn default() -> Self {
        Self { steps: 400, learning_rate: 0.01, batch: 4, micro_batch: None, seed: 0, memory: Memory::default() }
    }
}

impl Settings {
    /// Refuses numbers that no training can have.
    pub(super) fn check(&self) -> Result<()> {
        if self.steps == 0 || self.batch == 0 || self.micro_batch == Some(0) {
            return Err(Error::setting("steps, batch and micro-batch", "must be at least 1"));
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
        assert!(Settings::default().check().is_ok());
        for settings in [
            Settings { steps: 0, ..Default::default() },
            Settings { batch: 0, ..Default::default() },
            Settings { micro_batch: Some(0), ..Default::default() },
        ] {
            assert!(settings.check().unwrap_err().to_string().contains("at least 1"));
        }
        for learning_rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = Settings { learning_rate, ..Default::default() }.check().unwrap_err().to_string();
            assert!(error.contains("learning rate"), "{error}");
        }
    }
}
