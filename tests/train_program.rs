//! `infusion train` as a user runs it, on the tiny pipeline.

#[path = "support/tiny.rs"]
mod tiny;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use assert_cmd::cargo::CommandCargoExt;
use image::{Rgb, RgbImage};
use infusion::concept::Concept;
use serde_json::Value;

/// A pipeline with photographs and masks beside it.
fn workshop() -> tempfile::TempDir {
    let root = tiny::pipeline();
    let (photos, masks) = (root.path().join("photos"), root.path().join("masks"));
    std::fs::create_dir_all(&photos).unwrap();
    std::fs::create_dir_all(&masks).unwrap();
    for (index, name) in ["a.png", "b.jpg", "c.webp"].into_iter().enumerate() {
        let picture = RgbImage::from_fn(90, 70, |x, y| Rgb([(x * 2) as u8, (y * 3) as u8, 80 * index as u8]));
        picture.save(photos.join(name)).unwrap();
        let half = RgbImage::from_fn(90, 70, |x, _| Rgb([if x < 45 { 255 } else { 0 }; 3]));
        half.save(masks.join(Path::new(name).with_extension("png"))).unwrap();
    }
    root
}

const SHORT: [&str; 17] = [
    "train",
    "--model",
    ".",
    "--images",
    "photos",
    "--prompt",
    "a photo of a <ball>",
    "--class",
    "ball",
    "--size",
    "64",
    "--seed",
    "5",
    "--precision",
    "f32",
    "--batch",
    "2",
];

fn arguments(more: &[&str]) -> Vec<String> {
    SHORT.iter().chain(more).map(|&argument| argument.to_owned()).collect()
}

fn infusion(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::cargo_bin("infusion").unwrap();
    command.current_dir(folder).env("XDG_CACHE_HOME", folder.join("cache")).args(arguments(more));
    command
}

fn report(folder: &Path, more: &[&str]) -> Value {
    let output = infusion(folder, more).arg("--json").assert().success();
    serde_json::from_slice(&output.get_output().stdout).unwrap()
}

fn failure(folder: &Path, more: &[&str]) -> String {
    let output = infusion(folder, more).assert().failure();
    String::from_utf8(output.get_output().stderr.clone()).unwrap()
}

#[test]
fn a_run_writes_the_concept_and_pictures_of_its_way() {
    let root = workshop();
    let folder = root.path();
    std::fs::write(folder.join("templates.txt"), "# lines\n\na picture of the <ball>\n").unwrap();
    let made = report(
        folder,
        &[
            "--steps",
            "4",
            "-o",
            "ball.safetensors",
            "--curve",
            "curve.png",
            "--sheet",
            "sheet.png",
            "--flip",
            "--masks",
            "masks",
            "--templates",
            "templates.txt",
            "--validate-every",
            "2",
            "--validation-steps",
            "2",
            "--guidance-scale",
            "3",
            "--timesteps",
            "200..1000",
            "--validation-prompt",
            "a <ball> in the snow",
            "--validation-prompt",
            "a house in the snow",
        ],
    );
    assert_eq!((made["steps"].as_u64(), made["stopped"].as_str()), (Some(4), Some("steps")));
    assert_eq!(made["losses"].as_array().unwrap().len(), 4);
    assert_eq!(made["skipped"].as_array().unwrap().len(), 0);
    let concept = Concept::load(folder.join("ball.safetensors")).unwrap();
    assert_eq!((concept.word.as_str(), concept.class.as_str()), ("ball", "ball"));
    assert!(concept.base_model_hash.is_some());
    assert_eq!(concept.training.as_ref().unwrap()["prompts"][1], "a picture of the <ball>");
    assert!(concept.layers.values().flatten().any(|value| value.abs() > 0.01));
    for name in ["curve.png", "sheet.png", "ball-step-2.png", "ball-step-4.png"] {
        let picture = image::open(folder.join(name)).unwrap();
        assert!(picture.width() > 128, "{name}: a picture of each prompt");
    }
    assert!(!folder.join("ball.checkpoint").exists());
    let error = failure(folder, &["--steps", "1", "-o", "ball.safetensors"]);
    assert!(error.contains("ball.safetensors: exists already"), "{error}");
    std::fs::remove_file(folder.join("ball.safetensors")).unwrap();
    for (range, said) in [("9..3", "timesteps 9..3: must be a range within 0..1000"), ("300", "400..1000")] {
        let error = failure(folder, &["--steps", "1", "--timesteps", range, "-o", "ball.safetensors"]);
        assert!(error.contains(said), "{error}");
    }
    let error = failure(folder, &["--steps", "4", "--validate-every", "2", "-o", "ball.safetensors"]);
    assert!(error.contains("ball-step-2.png: exists already"), "{error}");
}

#[test]
fn flips_masks_micro_batches_and_rates_change_what_they_should() {
    let root = workshop();
    let folder = root.path();
    let learn = |name: &str, more: &[&str]| {
        report(folder, &[&["--steps", "3", "-o", name][..], more].concat());
        Concept::load(folder.join(name)).unwrap().layers
    };
    let plain = learn("plain.safetensors", &[]);
    let again = learn("again.safetensors", &["--micro-batch", "1"]);
    let flipped = learn("flipped.safetensors", &["--flip"]);
    let masked = learn("masked.safetensors", &["--masks", "masks"]);
    let falling = learn("falling.safetensors", &["--lr-scheduler", "cosine"]);
    let apart = |other: &indexmap::IndexMap<String, ndarray::Array2<f32>>| {
        plain.iter().flat_map(|(path, delta)| (delta - &other[path]).into_iter()).fold(0.0_f32, |m, x| m.max(x.abs()))
    };
    assert!(apart(&again) < 1e-5, "averaged gradients are those of the batch: {}", apart(&again));
    assert!(apart(&flipped) > 1e-3 && apart(&masked) > 1e-3);
    let length = |layers: &indexmap::IndexMap<String, ndarray::Array2<f32>>| {
        layers.values().flatten().map(|x| x.abs()).sum::<f32>()
    };
    assert!(length(&falling) < 0.9 * length(&plain), "shares of 1, 0.75 and 0.25 go less far than three whole steps");
}

#[test]
fn bad_pictures_are_left_out_or_refused() {
    let root = workshop();
    let folder = root.path();
    std::fs::write(folder.join("photos/d.png"), "no picture").unwrap();
    let error = failure(folder, &["--steps", "1", "-o", "a.safetensors", "--strict"]);
    assert!(error.contains("d.png") && !folder.join("a.safetensors").exists(), "{error}");
    let output = infusion(folder, &["--steps", "1", "-o", "a.safetensors"]).assert().success();
    let told = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(told.contains("left out photos/d.png") && told.contains("1 steps on 3 pictures"), "{told}");
}

#[test]
fn several_concepts_learn_at_once() {
    let root = workshop();
    let folder = root.path();
    std::fs::create_dir(folder.join("others")).unwrap();
    std::fs::copy(folder.join("photos/a.png"), folder.join("others/x.png")).unwrap();
    let mut command = Command::cargo_bin("infusion").unwrap();
    command.current_dir(folder).args([
        "train",
        "--model",
        ".",
        "--images",
        "ball=photos",
        "--images",
        "house=others",
        "--prompt",
        "a photo of a <ball>",
        "--prompt",
        "a photo of a <house>",
        "--class",
        "ball=ball",
        "--class",
        "house=house",
        "-o",
        "ball=ball.safetensors",
        "-o",
        "house=house.safetensors",
        "--size",
        "64",
        "--steps",
        "4",
        "--no-cache",
        "--quiet",
    ]);
    command.assert().success().stdout("").stderr("");
    for word in ["ball", "house"] {
        let concept = Concept::load(folder.join(format!("{word}.safetensors"))).unwrap();
        assert_eq!(concept.word, word);
        assert!(concept.layers.values().flatten().any(|value| value.abs() > 0.01), "{word}");
    }
}

#[test]
fn early_stops_and_mistakes_are_told() {
    let root = workshop();
    let folder = root.path();
    let made = report(folder, &["--steps", "50", "--lr", "1e-9", "--early-stop", "2", "-o", "a.safetensors"]);
    assert_eq!(made["stopped"], "plateau");
    for (more, reason) in [
        (&["-o", "x/b.safetensors"][..], "folder does not exist"),
        (&["-o", "b.safetensors", "--resume"], "no checkpoint"),
        (&["-o", "b.safetensors", "--lr", "0"], "learning rate"),
        (&["-o", "b.safetensors", "--lr-scheduler", "polynomial"], "constant, linear, cosine"),
        (&["-o", "b.safetensors", "--prompt", "a plain ball"], "marks no concept"),
        (&["-o", "b.safetensors", "--images", "cup=photos"], "no prompt marks <cup>"),
    ] {
        let error = failure(folder, more);
        assert!(error.contains(reason) && !error.contains("panicked"), "{more:?}: {error}");
    }
}

/// Starts a training that saves every step, and waits until it has saved `steps`.
fn started(folder: &Path, more: &[&str]) -> Child {
    let mut command = std::process::Command::cargo_bin("infusion").unwrap();
    command.current_dir(folder).args(arguments(more)).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let checkpoint = folder.join("cut.checkpoint");
    let patience = Instant::now() + Duration::from_secs(60);
    while !checkpoint.exists() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn a_killed_training_goes_on_to_the_same_concept() {
    let root = workshop();
    let folder = root.path();
    let steps = ["--steps", "90", "--checkpoint-every", "1", "--no-cache", "--flip"];
    let falling = ["--lr-scheduler", "cosine"];
    let whole = [&steps[..], &falling, &["-o", "whole.safetensors"]].concat();
    infusion(folder, &whole).assert().success();

    let constant = [&steps[..], &["-o", "cut.safetensors"]].concat();
    let cut = [&constant[..], &falling].concat();
    let mut child = started(folder, &cut);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.join("cut.safetensors").exists(), "it was to be killed before its end");
    let error = failure(folder, &cut);
    assert!(error.contains("--resume"), "{error}");
    let other = [&cut[..], &["--resume", "--lr", "0.02"]].concat();
    let error = failure(folder, &other);
    assert!(error.contains("learning rate 0.01"), "{error}");
    let error = failure(folder, &[&constant[..], &["--resume"]].concat());
    assert!(error.contains("scheduler of the rate"), "{error}");
    infusion(folder, &[&cut[..], &["--resume"]].concat()).assert().success();
    let read = |name: &str| Concept::load(folder.join(name)).unwrap();
    assert_eq!(read("whole.safetensors").layers, read("cut.safetensors").layers);
    assert!(!folder.join("cut.checkpoint").exists());
}
