use std::ffi::c_char;

use ndarray::Array2;

use super::Result;
use super::arguments::{output, text, write_all};
use super::concept::CONCEPTS;
use super::model::MODELS;
use super::status::{Status, call};
use crate::concept::{Concept, LayerSpec};
use crate::onnx::Model;
use crate::onnx::infer::infer;
use crate::patch::{FindOptions, find};

/// A concept as a host feeds it to `dual` and `shared` graphs.
///
/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_concept_matrix(
    model: *const c_char,
    path: *const c_char,
    delta: *mut f32,
    count: *mut usize,
    dims: *mut i64,
) -> *mut Status {
    call(|| {
        // SAFETY: the caller vouches for texts that end in NUL, and for the room that `count` and `dims` say.
        unsafe {
            let (model, path) = (text("model", model)?, text("path", path)?);
            let place = Place { delta, count, dims };
            place.write(|| Ok(Concept::load(path)?.matrix(&layers(model)?)?))
        }
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_model_delta(
    model: usize,
    concept: usize,
    delta: *mut f32,
    count: *mut usize,
    dims: *mut i64,
) -> *mut Status {
    call(|| {
        let concept = CONCEPTS.get(concept)?;
        let model = MODELS.get(model)?;
        // SAFETY: the caller vouches for the room that `count` and `dims` say.
        unsafe { Place { delta, count, dims }.write(|| Ok(concept.matrix(&model.layers())?)) }
    })
}

/// Where a matrix goes; its size alone where `delta` is NULL.
struct Place {
    delta: *mut f32,
    count: *mut usize,
    dims: *mut i64,
}

impl Place {
    /// # Safety
    /// `delta` is NULL or has room for `*count` numbers, and `dims` is NULL or has room for two.
    unsafe fn write(&self, matrix: impl FnOnce() -> Result<Array2<f32>>) -> Result<()> {
        let dims = output("dims", self.dims.cast::<[i64; 2]>())?;
        let count = output("count", self.count)?;
        let matrix = matrix()?;
        let (rows, columns) = matrix.dim();
        // SAFETY: not NULL and aligned; the caller vouches for the room.
        unsafe {
            match self.delta.is_null() {
                true => count.write(matrix.len()),
                false => write_all("delta", &matrix.into_iter().collect::<Vec<f32>>(), self.delta, self.count)?,
            }
            dims.write([rows as i64, columns as i64]);
        }
        Ok(())
    }
}

/// The cross-attention layers of the UNet at `model`.
fn layers(model: &str) -> Result<Vec<LayerSpec>> {
    let model = Model::open(model)?;
    let survey = find(&model, &infer(&model), &FindOptions::default())?;
    let spec = |layer: crate::patch::CrossAttention| LayerSpec { module_path: layer.module_path, width: layer.width };
    Ok(survey.layers.into_iter().map(spec).collect())
}
