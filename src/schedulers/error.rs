use std::path::PathBuf;

/// What can be wrong with a scheduler's configuration or its use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not a `scheduler_config.json`, or an option has a value that nobody knows.
    #[error("{path}: not a scheduler configuration: {source}", path = path.display())]
    Parse {
        /// The file concerned.
        path: PathBuf,
        /// What the parser said, with line and column.
        source: serde_json::Error,
    },
    /// No scheduler has this name.
    #[error("there is no scheduler '{name}'; choose one of {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// All names, separated by commas.
        known: String,
    },
    /// The scheduler cannot do what an option of the configuration asks for.
    #[error("scheduler {scheduler} does not support {option} = {value}: {advice}")]
    Unsupported {
        /// The scheduler's name in the registry.
        scheduler: &'static str,
        /// The option in `scheduler_config.json`.
        option: &'static str,
        /// The value it has.
        value: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// An option of the configuration has an impossible value.
    #[error("scheduler configuration: {option} = {value}: {reason}")]
    Invalid {
        /// The option in `scheduler_config.json`.
        option: &'static str,
        /// The value it has.
        value: String,
        /// What it has to be.
        reason: String,
    },
    /// The number of steps does not fit the schedule.
    #[error("num_inference_steps = {num_inference_steps}: {reason}")]
    Steps {
        /// The number asked for.
        num_inference_steps: usize,
        /// Why it cannot be used.
        reason: String,
    },
    /// The share of img2img is no share.
    #[error("strength = {strength}: must lie between 0 and 1")]
    Strength {
        /// The value given.
        strength: f64,
    },
    /// A step was asked for that the schedule does not have.
    #[error("step {step} does not exist: the schedule has {len} steps")]
    StepOutOfRange {
        /// Index of the step, from 0.
        step: usize,
        /// Number of entries in `timesteps()`.
        len: usize,
    },
    /// A scheduler with a memory was called out of order.
    #[error("step {step} came where step {expected} was due: each trajectory needs its own clone of the scheduler")]
    StepOutOfOrder {
        /// Index of the step, from 0.
        step: usize,
        /// The index that was due.
        expected: usize,
    },
    /// Two tensors that belong together differ in shape.
    #[error("{what} has shape {shape:?}, but the latents have {latents:?}")]
    Shape {
        /// The tensor concerned.
        what: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// The shape of the latents.
        latents: Vec<usize>,
    },
    /// A stochastic step got no noise.
    #[error("scheduler {scheduler} needs noise at step {step}: ask noise_needed() and draw the same for both streams")]
    NoiseMissing {
        /// The scheduler's name in the registry.
        scheduler: &'static str,
        /// Index of the step, from 0.
        step: usize,
    },
    /// The equations of this step divide by zero.
    #[error(
        "scheduler {scheduler}: timestep {timestep} holds no signal, which leaves {option} = {value} undefined: {advice}"
    )]
    NoSignal {
        /// The scheduler's name in the registry.
        scheduler: &'static str,
        /// The timestep concerned.
        timestep: f64,
        /// The option that does not go with it.
        option: &'static str,
        /// The value it has.
        value: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
}

/// A result whose error is this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
