use std::ffi::c_char;

use super::arguments::{output, text, write_all};
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
        let dims = output("dims", dims.cast::<[i64; 2]>())?;
        // SAFETY: the caller vouches for texts that end in NUL.
        let (model, path) = unsafe { (text("model", model)?, text("path", path)?) };
        let matrix = Concept::load(path)?.matrix(&layers(model)?)?;
        let (rows, columns) = matrix.dim();
        let values: Vec<f32> = matrix.into_iter().collect();
        // SAFETY: the caller vouches for the room that `count` says, and for two numbers at `dims`.
        unsafe {
            write_all("delta", &values, delta, count)?;
            dims.write([rows as i64, columns as i64]);
        }
        Ok(())
    })
}

/// The cross-attention layers of the UNet at `model`.
fn layers(model: &str) -> super::Result<Vec<LayerSpec>> {
    let model = Model::open(model)?;
    let survey = find(&model, &infer(&model), &FindOptions::default())?;
    let spec = |layer: crate::patch::CrossAttention| LayerSpec { module_path: layer.module_path, width: layer.width };
    Ok(survey.layers.into_iter().map(spec).collect())
}
