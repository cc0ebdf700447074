use crate::schedulers::Latents;

/// What the pipeline is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Load the text encoder and encode the prompts.
    Text,
    /// Encode the picture that img2img starts from.
    Encode,
    /// Load the UNet's graphs.
    Load,
    /// Run this many steps.
    Steps(usize),
    /// Decode latents to pictures.
    Decode,
}

/// A step that is done.
#[derive(Debug)]
#[non_exhaustive]
pub struct StepReport<'a> {
    /// Steps done so far, from 1.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// The model's timestep of this step.
    pub timestep: f64,
    /// Latents of the foundation stream `[batch, 4, height / 8, width / 8]`, where it is run.
    pub foundation: Option<&'a Latents>,
    /// Latents of each variation's customised stream; before the injection starts, those that all share.
    pub customised: Vec<&'a Latents>,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// With the next step.
    Continue,
    /// No further: what is done so far is given up.
    Cancel,
}

/// Is told what the pipeline does, and may stop it between steps.
pub trait Observer {
    /// A stage begins.
    fn stage(&mut self, stage: Stage) {
        let _ = stage;
    }

    /// Asked after each stage begins: whether to give up before its work.
    fn has_cancelled(&self) -> bool {
        false
    }

    /// A step is done.
    fn step(&mut self, report: &StepReport<'_>) -> Control {
        let _ = report;
        Control::Continue
    }
}

/// An observer that says nothing and stops nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
