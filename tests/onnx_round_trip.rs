//! A model that is read and written without edits computes the same, bit for bit.

#[path = "support/dialects.rs"]
mod dialects;

use std::path::Path;

use half::f16;
use infusion::onnx::{Model, Weights, WriteOptions, write_all};
use infusion::runtime::{Dim, ElementType, Session, SessionOptions, Tensor, TensorSpec};
use ndarray::{ArrayD, IxDyn};

#[test]
fn rewritten_models_compute_the_same() {
    for dialect in ["sdpa-17", "dynamo-18"].map(dialects::named) {
        let source = dialect.model();
        let model = Model::open(&source).unwrap();
        let expected = run(&source);
        for weights in [Weights::Shared, Weights::SelfContained] {
            let folder = tempfile::tempdir().unwrap();
            let options = WriteOptions { weights, ..WriteOptions::default() };
            write_all(folder.path(), &[("copy.onnx", &model)], options).unwrap();
            assert_eq!(run(&folder.path().join("copy.onnx")), expected, "{} {weights:?}", dialect.name);
        }
    }
}

/// All outputs for inputs that depend on nothing but their specs.
fn run(path: &Path) -> Vec<(String, Tensor)> {
    let session = Session::open(path, &SessionOptions::default()).unwrap();
    let feeds: Vec<(String, Tensor)> = session.inputs().iter().map(|spec| (spec.name.clone(), filler(spec))).collect();
    let feeds: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut outputs = session.run(&feeds).unwrap();
    let names: Vec<String> = session.outputs().iter().map(|spec| spec.name.clone()).collect();
    names.into_iter().map(|name| (name.clone(), outputs.take(&name).unwrap())).collect()
}

fn filler(spec: &TensorSpec) -> Tensor {
    // The batch is free on axis 0; 8 serves as image size and as number of tokens.
    let length = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Fixed(length) => *length,
        Dim::Symbolic(_) if axis == 0 => 2,
        Dim::Symbolic(_) => 8,
    };
    let shape: Vec<usize> = spec.dims.iter().enumerate().map(length).collect();
    let mut seed = 7u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let floats = ArrayD::from_shape_simple_fn(IxDyn(&shape), &mut next);
    match spec.element_type {
        ElementType::F32 => floats.into(),
        ElementType::F16 => floats.mapv(f16::from_f32).into(),
        ElementType::I64 => floats.mapv(|x| (x * 1000.0) as i64 + 500).into(),
        other => panic!("{} is of type {other}", spec.name),
    }
}
