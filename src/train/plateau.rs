/// Says when a training no longer gets better: the mean loss of the last `patience` steps is not lower
/// than that of as many steps before.
///
/// The loss of a single step says little, since it depends on the timesteps drawn; means over a hundred
/// steps and more do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plateau {
    /// Steps of each mean.
    pub patience: usize,
    /// The share by which the mean must fall to count as better.
    pub least_gain: f64,
}

impl Plateau {
    /// A plateau of means over `patience` steps that fall by less than half a per cent.
    pub fn new(patience: usize) -> Self {
        Self { patience: patience.max(1), least_gain: 0.005 }
    }

    /// Whether a training with these losses, oldest first, should stop.
    pub fn reached(&self, losses: &[f64]) -> bool {
        let Some(from) = losses.len().checked_sub(2 * self.patience) else { return false };
        let (before, last) = losses[from..].split_at(self.patience);
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / self.patience as f64;
        mean(last) > mean(before) * (1.0 - self.least_gain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_loss_goes_on_and_a_level_one_ends() {
        let plateau = Plateau::new(10);
        let falling: Vec<f64> = (0..40).map(|step| 0.97_f64.powi(step)).collect();
        let level: Vec<f64> = (0..40).map(|step| 0.3 + f64::from(step % 2) * 0.2).collect();
        assert!((0..=40).all(|steps| !plateau.reached(&falling[..steps])));
        assert!(!plateau.reached(&level[..19]), "two means have to be there");
        assert!(plateau.reached(&level[..20]));
    }
}
