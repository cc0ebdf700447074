//! Against transformers; see `tools/goldens/backbones.py`.

use std::path::{Path, PathBuf};

use ndarray::{Array1, array};
use serde_json::Value;

use super::*;
use crate::runtime::SessionOptions;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backbones")
}

fn goldens() -> Value {
    serde_json::from_str(&std::fs::read_to_string(root().join("goldens.json")).unwrap()).unwrap()
}

fn pictures() -> Vec<image::RgbImage> {
    let names: Vec<String> = serde_json::from_value(goldens()["pictures"].clone()).unwrap();
    names.iter().map(|name| crate::picture::open(root().join(name)).unwrap()).collect()
}

fn vectors(value: &Value) -> Vec<Array1<f32>> {
    let rows: Vec<Vec<f32>> = serde_json::from_value(value.clone()).unwrap();
    rows.into_iter().map(Array1::from).collect()
}

/// The same bytes go into the same network: only the order of sums differs.
fn assert_same(found: &Array1<f32>, expected: &Array1<f32>) {
    let length = |row: &Array1<f32>| row.dot(row).sqrt();
    // Some exports give the embedding as it is, transformers' model one of length 1.
    let (found, expected) = (found / length(found), expected / length(expected));
    let apart = (&found - &expected).iter().fold(0f32, |most, value| most.max(value.abs()));
    assert!(apart < 2e-5, "{apart}: {found} {expected}");
}

#[test]
fn clip_embeds_as_transformers_does() {
    let goldens = goldens();
    let prompts: Vec<String> = serde_json::from_value(goldens["prompts"].clone()).unwrap();
    let cosines: Vec<Vec<f64>> = serde_json::from_value(goldens["clip"]["cosines"].clone()).unwrap();
    for export in ["clip", "clip-split"] {
        let clip = Clip::open(root().join(export), &SessionOptions::default()).unwrap();
        assert_eq!(clip.name(), "tiny/clip (clip)");
        let images: Vec<_> = pictures().iter().map(|picture| clip.picture(picture).unwrap()).collect();
        let texts: Vec<_> = prompts.iter().map(|text| clip.text_embedding(text).unwrap()).collect();
        for (found, expected) in images.iter().zip(vectors(&goldens["clip"]["images"])) {
            assert_same(found, &expected);
        }
        for (found, expected) in texts.iter().zip(vectors(&goldens["clip"]["texts"])) {
            assert_same(found, &expected);
        }
        for (image, row) in images.iter().zip(&cosines) {
            for (text, expected) in texts.iter().zip(row) {
                assert!((cosine(image.view(), text.view()) - expected).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn dino_embeds_as_transformers_does() {
    let goldens = goldens();
    for export in ["vit", "dinov2"] {
        let dino = Dino::open(root().join(export), &SessionOptions::default()).unwrap();
        let images: Vec<_> = pictures().iter().map(|picture| dino.picture(picture).unwrap()).collect();
        for (found, expected) in images.iter().zip(vectors(&goldens[export]["images"])) {
            assert_same(found, &expected);
        }
        let pairs = [(0, 1), (0, 2), (1, 2)].map(|(a, b): (usize, usize)| cosine(images[a].view(), images[b].view()));
        let expected: Vec<f64> = serde_json::from_value(goldens[export]["cosines"].clone()).unwrap();
        for (found, expected) in pairs.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

#[test]
fn folders_of_other_things_are_named() {
    let open = |name: &str| Clip::open(root().join(name), &SessionOptions::default()).unwrap_err().to_string();
    assert!(open("vit").contains("vocab.json"));
    let empty = tempfile::tempdir().unwrap();
    let error = Dino::open(empty.path(), &SessionOptions::default()).unwrap_err().to_string();
    assert!(error.contains("model.onnx") && error.contains(&empty.path().display().to_string()), "{error}");
    let text = root().join("clip-split/onnx/text_model.onnx");
    std::fs::copy(text, empty.path().join("model.onnx")).unwrap();
    let error = Dino::open(empty.path(), &SessionOptions::default()).unwrap_err().to_string();
    assert!(error.contains("pixel_values"), "{error}");
}

#[test]
fn cosines_of_known_angles() {
    let (x, y, d) = (array![2.0, 0.0], array![0.0, 3.0], array![1.0, 1.0]);
    assert_eq!(cosine(x.view(), y.view()), 0.0);
    assert!((cosine(x.view(), d.view()) - 0.5f64.sqrt()).abs() < 1e-12);
    assert!((cosine(x.view(), (-&x).view()) + 1.0).abs() < 1e-12);
    assert_eq!(cosine(x.view(), array![0.0, 0.0].view()), 0.0);
}
