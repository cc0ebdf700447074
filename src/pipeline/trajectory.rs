use crate::schedulers::{Latents, Scheduler};

use super::Result;

/// Latents on their way, with the scheduler that remembers what led there.
#[derive(Clone, Debug)]
pub(super) struct Trajectory {
    pub scheduler: Box<dyn Scheduler>,
    pub latents: Latents,
}

impl Trajectory {
    /// What the UNet is given at `step`.
    pub fn model_input(&self, step: usize) -> Result<Latents> {
        Ok(self.scheduler.scale_model_input(&self.latents, step)?)
    }

    /// Follows the predicted noise to the next step.
    pub fn advance(&mut self, predicted: &Latents, step: usize, noise: Option<&Latents>) -> Result<()> {
        self.latents = self.scheduler.step(predicted, step, &self.latents, noise)?;
        Ok(())
    }
}

/// The trajectories of a run: one trunk before the injection opens, then F and each variation's C.
#[derive(Debug)]
pub(super) enum Trajectories {
    /// Both streams are the same so far.
    Trunk(Trajectory),
    /// F, where it is wanted or needed, and C of each variation.
    Forked { foundation: Option<Trajectory>, customised: Vec<Trajectory> },
}

impl Trajectories {
    /// Ends the trunk: every stream goes on from where it is.
    pub fn fork(self, variations: usize, foundation: bool) -> Self {
        match self {
            Self::Trunk(trunk) => {
                let customised = vec![trunk.clone(); variations];
                Self::Forked { foundation: foundation.then_some(trunk), customised }
            }
            forked => forked,
        }
    }

    pub fn foundation(&self) -> Option<&Trajectory> {
        match self {
            Self::Trunk(trunk) => Some(trunk),
            Self::Forked { foundation, .. } => foundation.as_ref(),
        }
    }

    pub fn customised(&self) -> &[Trajectory] {
        match self {
            Self::Trunk(trunk) => std::slice::from_ref(trunk),
            Self::Forked { customised, .. } => customised,
        }
    }
}
