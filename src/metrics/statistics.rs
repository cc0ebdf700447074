//! Mean and standard error of numbers that come one by one.

use serde::{Deserialize, Serialize};

/// A running mean and sum of squared deviations (Welford), in float64.
///
/// Pushing numbers in the same order gives the same bits, however they are grouped; it can be stored
/// between runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Running {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Running {
    /// Takes one more number in.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// How many numbers there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean, if there were any.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Their variance, Σ(x − mean)² / (n − 1), if there were two.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }

    /// The standard error of the mean, √(variance / n), if there were two.
    pub fn standard_error(&self) -> Option<f64> {
        self.variance().map(|variance| (variance / self.count as f64).sqrt())
    }
}

impl Extend<f64> for Running {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.push(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers() {
        let mut running = Running::default();
        assert_eq!((running.mean(), running.standard_error()), (None, None));
        running.extend([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(running.mean(), Some(5.0));
        // Σ(x − 5)² = 32.
        assert!((running.variance().unwrap() - 32.0 / 7.0).abs() < 1e-14);
        assert!((running.standard_error().unwrap() - (32.0f64 / 56.0).sqrt()).abs() < 1e-14);
    }

    #[test]
    fn a_large_offset_costs_no_digits() {
        let mut running = Running::default();
        running.extend((0..1000).map(|i| 1e9 + f64::from(i % 2)));
        assert!((running.variance().unwrap() - 250.0 / 999.0).abs() < 1e-9);
    }

    #[test]
    fn stopping_and_resuming_changes_nothing() {
        let values: Vec<f64> = (0..50).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let (mut whole, mut first) = (Running::default(), Running::default());
        whole.extend(values.iter().copied());
        first.extend(values[..20].iter().copied());
        let stored = serde_json::to_string(&first).unwrap();
        let mut resumed: Running = serde_json::from_str(&stored).unwrap();
        resumed.extend(values[20..].iter().copied());
        assert_eq!(resumed, whole);
    }
}
