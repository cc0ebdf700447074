use super::{Error, Result, SchedulerConfig, TimestepSpacing};

/// A step of the trajectory, counted in training timesteps; fractional for schedulers that work in σ.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Timestep(f64);

impl Timestep {
    pub(super) fn new(value: f64) -> Self {
        Self(value)
    }

    /// The timestep as a number.
    pub fn value(self) -> f64 {
        self.0
    }

    /// For UNets whose `timestep` input is float.
    pub fn as_f32(self) -> f32 {
        self.0 as f32
    }

    /// For UNets whose `timestep` input is an integer: truncated, as NumPy casts.
    pub fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// The training timestep at or below.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

impl From<usize> for Timestep {
    /// A training timestep.
    fn from(timestep: usize) -> Self {
        Self(timestep as f64)
    }
}

impl From<f64> for Timestep {
    /// What a host's scheduler says.
    fn from(timestep: f64) -> Self {
        Self(timestep)
    }
}

impl std::fmt::Display for Timestep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Chooses the timesteps of a trajectory out of `0..num_train_timesteps`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spacing {
    kind: TimestepSpacing,
    num_train_timesteps: usize,
    offset: usize,
}

impl Spacing {
    pub fn new(config: &SchedulerConfig, num_train_timesteps: usize, default: TimestepSpacing) -> Self {
        let kind = config.timestep_spacing.unwrap_or(default);
        Self { kind, num_train_timesteps, offset: config.steps_offset.unwrap_or(0) }
    }

    /// Whether the first latents of a scheduler in σ are scaled by σ itself, not by √(σ² + 1).
    pub fn starts_at_sigma(&self) -> bool {
        self.kind != TimestepSpacing::Leading
    }

    /// `n` timesteps, falling; evenly spaced ones are not rounded.
    pub fn timesteps(&self, n: usize) -> Result<Vec<f64>> {
        let total = self.num_train_timesteps;
        self.ensure_steps(n, total)?;
        self.ensure_inside(
            n,
            match self.kind {
                TimestepSpacing::Linspace => linspace(0.0, (total - 1) as f64, n).into_iter().rev().collect(),
                TimestepSpacing::Leading => (0..n).rev().map(|i| (i * (total / n) + self.offset) as f64).collect(),
                TimestepSpacing::Trailing => trailing(total, total, n),
            },
        )
    }

    /// `n` timesteps, falling and whole, of a schedule of n + 1 whose last one is left to σ = 0; only
    /// those below `last` are visited.
    pub fn multistep_timesteps(&self, n: usize, last: usize) -> Result<Vec<f64>> {
        self.ensure_steps(n, last.saturating_sub(1))?;
        self.ensure_inside(
            n,
            match self.kind {
                TimestepSpacing::Linspace => linspace(0.0, (last - 1) as f64, n + 1)
                    .into_iter()
                    .skip(1)
                    .rev()
                    .map(f64::round_ties_even)
                    .collect(),
                TimestepSpacing::Leading => {
                    (1..=n).rev().map(|i| (i * (last / (n + 1)) + self.offset) as f64).collect()
                }
                TimestepSpacing::Trailing => trailing(last, self.num_train_timesteps, n),
            },
        )
    }

    fn ensure_steps(&self, n: usize, most: usize) -> Result<()> {
        if (1..=most).contains(&n) {
            return Ok(());
        }
        Err(Error::Steps { num_inference_steps: n, reason: format!("must be from 1 to {most}") })
    }

    fn ensure_inside(&self, n: usize, timesteps: Vec<f64>) -> Result<Vec<f64>> {
        let inside = timesteps.iter().all(|t| (0.0..self.num_train_timesteps as f64).contains(t));
        if inside && !timesteps.is_empty() {
            return Ok(timesteps);
        }
        let reason = format!(
            "with steps_offset = {} it leaves the {} training timesteps; use fewer steps",
            self.offset, self.num_train_timesteps
        );
        Err(Error::Steps { num_inference_steps: n, reason })
    }
}

/// `round(arange(last, 0, -total / n)) - 1`, without the entry beyond `n` that rounding adds for some `n`.
fn trailing(last: usize, total: usize, n: usize) -> Vec<f64> {
    let ratio = total as f64 / n as f64;
    let count = ((last as f64 / ratio).ceil() as usize).min(n);
    (0..count).map(|i| (last as f64 - i as f64 * ratio).round_ties_even() - 1.0).collect()
}

/// `numpy.linspace`.
pub(super) fn linspace(start: f64, end: f64, count: usize) -> Vec<f64> {
    if count < 2 {
        return vec![start; count];
    }
    let step = (end - start) / (count - 1) as f64;
    (0..count).map(|i| if i + 1 == count { end } else { start + i as f64 * step }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spacing(kind: TimestepSpacing, offset: usize) -> Spacing {
        let config = SchedulerConfig { timestep_spacing: Some(kind), steps_offset: Some(offset), ..Default::default() };
        Spacing::new(&config, 1000, TimestepSpacing::Leading)
    }

    #[test]
    fn the_three_ways() {
        assert_eq!(spacing(TimestepSpacing::Leading, 1).timesteps(4).unwrap(), [751.0, 501.0, 251.0, 1.0]);
        assert_eq!(spacing(TimestepSpacing::Trailing, 1).timesteps(4).unwrap(), [999.0, 749.0, 499.0, 249.0]);
        assert_eq!(spacing(TimestepSpacing::Linspace, 1).timesteps(3).unwrap(), [999.0, 499.5, 0.0]);
    }

    #[test]
    fn every_count_stays_inside_and_falls() {
        for kind in [TimestepSpacing::Leading, TimestepSpacing::Trailing, TimestepSpacing::Linspace] {
            for n in 1..=999 {
                let timesteps = spacing(kind, 0).timesteps(n).unwrap();
                assert_eq!(timesteps.len(), n, "{kind:?}");
                assert!(timesteps.is_sorted_by(|a, b| a > b), "{kind:?} {n}");
                assert_eq!(spacing(kind, 0).multistep_timesteps(n, 1000).unwrap().len(), n, "{kind:?}");
            }
        }
    }

    #[test]
    fn too_many_steps_and_too_large_an_offset_are_named() {
        let reason = |spacing: Spacing, n| spacing.timesteps(n).unwrap_err().to_string();
        assert!(reason(spacing(TimestepSpacing::Linspace, 0), 0).contains("from 1 to 1000"));
        assert!(reason(spacing(TimestepSpacing::Linspace, 0), 1001).contains("from 1 to 1000"));
        assert!(reason(spacing(TimestepSpacing::Leading, 1), 1000).contains("steps_offset = 1"));
    }
}
