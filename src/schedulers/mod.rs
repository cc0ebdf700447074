//! Schedulers: how each model output moves the latents one step closer to a picture.
//!
//! One file a scheduler, each equal to the one of the same name in diffusers, step by step. What they
//! share: [`SchedulerConfig`] (a `scheduler_config.json`), [`NoiseSchedule`] (ᾱ of training, which the
//! trainer uses too), the choice of timesteps, and the tables of σ. This is a leaf: it knows latents,
//! neither models nor generators; the caller draws the noise, so that two streams can share it. The
//! pipeline and the trainer use it.
//!
//! # Adding a scheduler
//! 1. Write `name.rs` with a struct that implements [`Scheduler`] and a `build` function that takes a
//!    [`SchedulerConfig`] and refuses every option that it would have to honour and does not.
//! 2. Add its [`Entry`] to [`SCHEDULERS`], in the order in which help texts shall list it.
//! 3. Add it to `tools/goldens/schedulers.py`, run that, and add its name in `tests.rs` if it departs
//!    from diffusers anywhere.

mod config;
mod ddim;
mod ddpm;
mod dpmpp_2m;
mod dpmpp_sde;
mod error;
mod euler;
mod euler_ancestral;
mod heun;
mod lcm;
mod lms;
mod noise_schedule;
mod prediction;
mod registry;
mod sigma_space;
mod spacing;
#[cfg(test)]
mod tests;
mod unipc;

pub use config::{BetaSchedule, FinalSigmas, PredictionType, SchedulerConfig, TimestepSpacing};
pub use error::{Error, Result};
pub use noise_schedule::NoiseSchedule;
pub use registry::{Entry, SCHEDULERS, build, find};
pub use spacing::Timestep;

/// Latents of shape `[batch, channels, height, width]`, single precision.
pub type Latents = ndarray::Array4<f32>;

/// One trajectory from noise to clean latents.
///
/// ```text
/// scheduler.set_timesteps(n)
/// latents = noise * init_noise_sigma()            or add_noise(image latents, noise, first)
/// for each step: output = unet(scale_model_input(latents, step), timesteps()[step])
///                latents = step(output, step, latents, noise)
/// ```
///
/// Some schedulers remember earlier outputs, so each trajectory needs its own; cloning copies the memory.
/// Steps are numbered from 0 as in [`Scheduler::timesteps`] and have to come in order, from any first one.
pub trait Scheduler: std::fmt::Debug + Send + Sync {
    /// The name in [`SCHEDULERS`], without what its options add (`_sde`, `_karras`).
    fn name(&self) -> &'static str;

    /// Lays out a trajectory of `num_inference_steps` steps and forgets the last one.
    ///
    /// # Errors
    /// When the schedule has no room for that many steps.
    fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<()>;

    /// The timestep of each model evaluation; empty before [`Scheduler::set_timesteps`].
    fn timesteps(&self) -> &[Timestep];

    /// Model evaluations for each inference step: 2 for Heun and DPM++ SDE, whose last step takes one.
    fn order(&self) -> usize {
        1
    }

    /// Factor on standard normal noise that gives the first latents.
    fn init_noise_sigma(&self) -> f32 {
        1.0
    }

    /// What the UNet is given in place of the latents at this step.
    ///
    /// # Errors
    /// When the step does not exist.
    fn scale_model_input(&self, latents: &Latents, step: usize) -> Result<Latents> {
        self.timestep(step)?;
        Ok(latents.clone())
    }

    /// Whether [`Scheduler::step`] wants standard normal noise of the latents' shape at this step.
    fn noise_needed(&self, step: usize) -> bool {
        let _ = step;
        false
    }

    /// The latents after this step.
    ///
    /// # Errors
    /// When the step does not exist or is not due, shapes differ, or needed noise is missing.
    fn step(
        &mut self,
        model_output: &Latents,
        step: usize,
        sample: &Latents,
        noise: Option<&Latents>,
    ) -> Result<Latents>;

    /// Clean latents noised to the level at which this step begins: where img2img starts.
    ///
    /// # Errors
    /// When the step does not exist or the shapes differ.
    fn add_noise(&self, original: &Latents, noise: &Latents, step: usize) -> Result<Latents>;

    /// A copy with its own memory.
    fn boxed_clone(&self) -> Box<dyn Scheduler>;

    /// The timestep of a step.
    ///
    /// # Errors
    /// When the step does not exist.
    fn timestep(&self, step: usize) -> Result<Timestep> {
        let len = self.timesteps().len();
        self.timesteps().get(step).copied().ok_or(Error::StepOutOfRange { step, len })
    }

    /// The step at which img2img begins: of n steps the last `int(n · strength)` are run, so 1 runs
    /// all and 0 none (the result is then the number of steps).
    ///
    /// # Errors
    /// When `strength` is not between 0 and 1.
    fn first_step(&self, strength: f64) -> Result<usize> {
        if !(0.0..=1.0).contains(&strength) {
            return Err(Error::Strength { strength });
        }
        let inference_steps = self.timesteps().len().div_ceil(self.order());
        let run = (inference_steps as f64 * strength) as usize;
        Ok(((inference_steps - run) * self.order()).min(self.timesteps().len()))
    }
}

impl Clone for Box<dyn Scheduler> {
    fn clone(&self) -> Self {
        self.boxed_clone()
    }
}

/// Sees to it that a scheduler with a memory is called step by step, from the first evaluation of any.
#[derive(Clone, Debug)]
struct StepOrder {
    evaluations: usize,
    due: Option<usize>,
}

impl StepOrder {
    /// For a scheduler of so many evaluations a step.
    fn new(evaluations: usize) -> Self {
        Self { evaluations, due: None }
    }

    fn advance(&mut self, step: usize) -> Result<()> {
        let expected = self.due.unwrap_or(step - step % self.evaluations);
        if step != expected {
            return Err(Error::StepOutOfOrder { step, expected });
        }
        self.due = Some(step + 1);
        Ok(())
    }
}

fn ensure_same_shape(what: &'static str, tensor: &Latents, latents: &Latents) -> Result<()> {
    if tensor.shape() == latents.shape() {
        return Ok(());
    }
    Err(Error::Shape { what, shape: tensor.shape().to_vec(), latents: latents.shape().to_vec() })
}

/// The noise of a stochastic step, of the latents' shape.
fn required_noise<'n>(
    scheduler: &'static str,
    step: usize,
    noise: Option<&'n Latents>,
    latents: &Latents,
) -> Result<&'n Latents> {
    let noise = noise.ok_or(Error::NoiseMissing { scheduler, step })?;
    ensure_same_shape("noise", noise, latents)?;
    Ok(noise)
}
