//! Embeddings of pictures and texts by models in ONNX, and how alike they are.
//!
//! | measure | between | backbone |
//! |---|---|---|
//! | CLIP-T | a picture and its prompt | [`Clip`] |
//! | CLIP-I | a picture and those of the concept | [`Clip`] |
//! | DINO | a picture and those of the concept | [`Dino`] |
//!
//! All are plain cosines. [`preprocess`] does to pictures what a `preprocessor_config.json` says, with
//! Pillow's own resizing ([`resample`]); to add a kind of model, write a file with a struct that is
//! opened from a folder and gives embeddings.

mod backbone;
mod clip;
mod dino;
mod preprocess;
mod resample;
#[cfg(test)]
mod tests;

use ndarray::ArrayView1;

pub use clip::Clip;
pub use dino::Dino;

/// The cosine of the angle between two embeddings, in float64; 0 where one has no length.
pub fn cosine(a: ArrayView1<f32>, b: ArrayView1<f32>) -> f64 {
    let dot = |a: ArrayView1<f32>, b: ArrayView1<f32>| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}
