//! The model of `models/demo` in a folder of its own, and the references of `tests/goldens/demo`.
#![allow(dead_code)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, ArrayViewD, IxDyn};
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

pub fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo")
}

/// A copy of the pipeline, so that patched graphs are written beside no file of the project.
pub fn pipeline() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&source(), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let patched = ["f", "c", "dual", "shared", "train"]
            .iter()
            .any(|kind| source.to_string_lossy().ends_with(&format!(".{kind}.onnx")));
        match source.is_dir() {
            true => copy(&source, &target),
            false if patched || source.to_string_lossy().ends_with(".infusion.json") => {}
            false => assert!(fs::copy(&source, &target).is_ok(), "{}", source.display()),
        }
    }
}

pub fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/demo")
}

/// The facts of `tokens.json`.
pub fn facts() -> serde_json::Value {
    let path = golden_folder().join("tokens.json");
    serde_json::from_slice(&fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

/// Tensors by name, all as `f32`.
pub struct Goldens(HashMap<String, ArrayD<f32>>);

impl Goldens {
    pub fn of(file: &str) -> Self {
        let path = golden_folder().join(file);
        let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        Self(tensors.iter().map(|(name, view)| (name.to_owned(), floats(&view))).collect())
    }

    pub fn get(&self, name: &str) -> ArrayViewD<'_, f32> {
        self.0.get(name).unwrap_or_else(|| panic!("no golden {name}")).view()
    }
}

fn floats(view: &safetensors::tensor::TensorView) -> ArrayD<f32> {
    let data = view.data();
    let values = match view.dtype() {
        Dtype::F32 => data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::I64 => data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
        Dtype::U8 => data.iter().map(|&b| f32::from(b)).collect(),
        other => panic!("a golden of type {other:?}"),
    };
    ArrayD::from_shape_vec(IxDyn(view.shape()), values).unwrap()
}

/// The largest difference, relative to the largest element of `expected`.
pub fn difference(found: ArrayViewD<f32>, expected: ArrayViewD<f32>) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let largest = expected.iter().fold(0f64, |largest, x| largest.max(f64::from(x.abs())));
    let apart = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    apart.fold(0f64, |most, apart| if apart.is_nan() { f64::INFINITY } else { most.max(apart) }) / largest
}
