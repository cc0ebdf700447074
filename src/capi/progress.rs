//! `infusion_progress`: how generating and training go, and whether they go on.

use std::ffi::c_void;

use super::{Error, Result};
use crate::pipeline::{Control, Observer, StepReport};
use crate::schedulers::Latents;

/// `infusion_progress`
pub type ProgressCallback = unsafe extern "C" fn(*mut c_void, *const Report) -> i32;

/// `infusion_report`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Report {
    struct_size: u32,
    stage: i32,
    step: u32,
    steps: u32,
    timestep: f64,
    loss: f64,
    latents: *const f32,
    latents_dims: [i64; 4],
}

/// `infusion_stage`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Stage {
    Text = 0,
    Pictures = 1,
    Load = 2,
    Steps = 3,
    Decode = 4,
}

/// `infusion_answer`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    GoOn,
    Cancel,
    Finish,
}

/// A host's callback, and what it said.
pub(super) struct Progress {
    callback: Option<ProgressCallback>,
    user: *mut c_void,
    cancelled: bool,
}

/// What there is to say of a step.
#[derive(Default)]
pub(super) struct Numbers<'a> {
    pub step: usize,
    pub steps: usize,
    pub timestep: f64,
    pub loss: f64,
    pub latents: Option<&'a Latents>,
}

impl Progress {
    pub fn new(callback: Option<ProgressCallback>, user: *mut c_void) -> Self {
        Self { callback, user, cancelled: false }
    }

    /// Tells the host, and asks it whether to go on.
    pub fn tell(&mut self, stage: Stage, numbers: &Numbers<'_>) -> Answer {
        let Some(callback) = self.callback else { return Answer::GoOn };
        let latents = numbers.latents.map(|latents| latents.as_standard_layout());
        let report = Report {
            struct_size: size_of::<Report>() as u32,
            stage: stage as i32,
            step: numbers.step as u32,
            steps: numbers.steps as u32,
            timestep: numbers.timestep,
            loss: numbers.loss,
            latents: latents.as_ref().map_or(std::ptr::null(), |latents| latents.as_ptr()),
            latents_dims: latents
                .as_ref()
                .map_or([0; 4], |latents| <[usize; 4]>::from(latents.dim()).map(|it| it as i64)),
        };
        // SAFETY: the host vouches for the callback; everything that the struct points to outlives the call.
        let answer = match unsafe { callback(self.user, &report) } {
            0 => Answer::GoOn,
            2 => Answer::Finish,
            _ => Answer::Cancel,
        };
        self.cancelled |= answer == Answer::Cancel;
        answer
    }

    /// Fails where the host has had enough.
    pub fn ensure_going_on(&self) -> Result<()> {
        if self.cancelled { Err(Error::Cancelled("the host's progress callback")) } else { Ok(()) }
    }
}

impl Observer for Progress {
    fn stage(&mut self, stage: crate::pipeline::Stage) {
        let (stage, steps) = match stage {
            crate::pipeline::Stage::Text => (Stage::Text, 0),
            crate::pipeline::Stage::Encode => (Stage::Pictures, 0),
            crate::pipeline::Stage::Load => (Stage::Load, 0),
            crate::pipeline::Stage::Steps(steps) => (Stage::Steps, steps),
            crate::pipeline::Stage::Decode => (Stage::Decode, 0),
        };
        if self.tell(stage, &Numbers { steps, ..Default::default() }) == Answer::Finish {
            self.cancelled = true;
        }
    }

    fn has_cancelled(&self) -> bool {
        self.cancelled
    }

    fn step(&mut self, report: &StepReport<'_>) -> Control {
        let numbers = Numbers {
            step: report.step,
            steps: report.steps,
            timestep: report.timestep,
            loss: 0.0,
            latents: report.customised.first().copied(),
        };
        self.cancelled |= self.tell(Stage::Steps, &numbers) == Answer::Finish;
        if self.cancelled { Control::Cancel } else { Control::Continue }
    }
}
