use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

/// How the learning rate goes over the steps, as diffusers' `get_scheduler` names and computes it.
///
/// Adam's steps are about as long as its rate whatever the gradient, so the last ones are as long as the first unless
/// the rate falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LrScheduler {
    /// The rate stays, as in the paper.
    #[default]
    Constant,
    /// It falls to zero by the same amount each step.
    Linear,
    /// It falls to zero as half a cosine.
    Cosine,
}

impl LrScheduler {
    /// All of them, in the order of listings.
    pub const ALL: [Self; 3] = [Self::Constant, Self::Linear, Self::Cosine];

    /// What users call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Linear => "linear",
            Self::Cosine => "cosine",
        }
    }

    /// The share of the rate that step `done`, from 0, of `steps` takes.
    pub fn share(self, done: usize, steps: usize) -> f64 {
        let passed = done as f64 / steps.max(1) as f64;
        match self {
            Self::Constant => 1.0,
            Self::Linear => (1.0 - passed).max(0.0),
            Self::Cosine => 0.5 * (1.0 + (PI * passed.min(1.0)).cos()),
        }
    }
}

impl fmt::Display for LrScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LrScheduler {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scheduler| scheduler.name() == text);
        found.ok_or_else(|| format!("no such scheduler of the rate: use {}", Self::ALL.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `get_scheduler(name, optimizer, num_training_steps=8)` of diffusers 0.42 at a rate of 1, steps 0, 2, 5 and 7.
    #[test]
    fn shares_are_those_of_diffusers() {
        let expected = [
            (LrScheduler::Constant, [1.0, 1.0, 1.0, 1.0]),
            (LrScheduler::Linear, [1.0, 0.75, 0.375, 0.125]),
            (LrScheduler::Cosine, [1.0, 0.853_553_4, 0.308_658_3, 0.038_060_2]),
        ];
        for (scheduler, shares) in expected {
            for (step, share) in [0, 2, 5, 7].into_iter().zip(shares) {
                assert!((scheduler.share(step, 8) - share).abs() < 1e-6, "{scheduler} at {step}");
            }
        }
    }

    #[test]
    fn names_are_read_back_and_others_are_answered_with_the_list() {
        for scheduler in LrScheduler::ALL {
            assert_eq!(scheduler.name().parse(), Ok(scheduler));
        }
        assert!("polynomial".parse::<LrScheduler>().unwrap_err().contains("constant, linear, cosine"));
    }
}
