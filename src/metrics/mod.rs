//! The paper's measures of what a concept broke and how faithful it is.
//!
//! - [`wasserstein`]: the 2-Wasserstein distance between Gaussians fitted to two sets of latents (def. 3.2).
//! - [`Fisher`]: the latent Fisher divergence between two models' predictions (def. 3.1).
//! - [`Running`]: mean and standard error of a stream, which can be stopped, stored and resumed.
//!
//! Uses arrays, `noise` and `schedulers` only: who draws pictures or runs models hands in numbers. The
//! programs use it.

mod error;
mod fisher;
mod samples;
mod statistics;
mod wasserstein;

pub use error::{Error, Result};
pub use fisher::{Draw, Fisher, noised};
pub use samples::{load_samples, samples_from_bytes};
pub use statistics::Running;
pub use wasserstein::{Distance, wasserstein};
