//! The paper's measures of what a concept broke and how faithful it is.
//!
//! - [`wasserstein`]: the 2-Wasserstein distance between Gaussians fitted to two sets of latents (def. 3.2).
//! - [`Fisher`]: the latent Fisher divergence between two models' predictions (def. 3.1).
//! - [`Running`]: mean and standard error of a stream, which can be stopped, stored and resumed.
//!
//! - [`Clip`] and [`Dino`]: embeddings of pictures and texts, whose cosines tell how alike they are.
//!
//! Uses `noise`, and `runtime` and `prompt` for embeddings; who draws pictures hands in numbers. The programs
//! use it.

mod error;
mod fisher;
mod samples;
mod similarity;
mod statistics;
mod wasserstein;

pub use error::{Error, Result};
pub use fisher::{Draw, Fisher, noised};
pub use samples::{load_samples, samples_from_bytes};
pub use similarity::{Clip, Dino, cosine};
pub use statistics::Running;
pub use wasserstein::{Distance, wasserstein};
