//! Random numbers equal to PyTorch's.
//!
//! [`TorchGenerator`] repeats `torch.Generator("cpu").manual_seed(seed)`, so that a seed gives the
//! same start noise, and thus the same picture, as diffusers does. It knows nothing of schedulers or
//! pictures and uses nothing of this crate; the pipeline and the trainer use it.

mod error;
mod torch;

pub use error::{Error, Result};
pub use torch::TorchGenerator;

use ndarray::{Array4, Axis};

/// Start noise for a batch: row `i` is drawn by its own generator, seeded `seed + i`.
///
/// Shape `[batch, channels, height, width]`, in units of a standard normal. Equals diffusers called
/// with a list of generators, so each picture of a batch can be repeated alone. Seeds wrap at 2⁶⁴.
pub fn start_noise(seed: u64, [batch, channels, height, width]: [usize; 4]) -> Array4<f32> {
    let mut noise = Array4::zeros((batch, channels, height, width));
    for (row, seed) in noise.axis_iter_mut(Axis(0)).zip((0..).map(|i| seed.wrapping_add(i))) {
        TorchGenerator::new(seed).randn((channels, height, width)).assign_to(row);
    }
    noise
}
