//! The tiny pipeline of `tests/tiny`, copied so that patched graphs land in a folder of its own.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array4;
use safetensors::SafeTensors;
use tempfile::TempDir;

/// What `tools/goldens/pipeline.py` used.
pub const PROMPT: &str = "a photo of a <ball> in the snow";
pub const PLAIN_PROMPT: &str = "a photo of a ball in the snow";
pub const NEGATIVE: &str = "two balls";
pub const SEED: u64 = 7;

pub fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny")
}

/// A copy of the pipeline; it is removed when dropped.
pub fn pipeline() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&source(), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        match source.is_dir() {
            true => copy(&source, &target),
            false => assert!(fs::copy(&source, &target).is_ok(), "{}", source.display()),
        }
    }
}

/// Latents `[1, 4, 8, 8]` of the reference.
pub fn golden(name: &str) -> Array4<f32> {
    let bytes = fs::read(source().join("goldens.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    let values = tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    let shape: [usize; 4] = tensor.shape().try_into().unwrap();
    Array4::from_shape_vec(shape, values.collect()).unwrap()
}

/// The largest difference, relative to the largest element of `expected`.
pub fn difference(found: &Array4<f32>, expected: &Array4<f32>) -> f32 {
    assert_eq!(found.shape(), expected.shape());
    let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    found.iter().zip(expected).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest
}
