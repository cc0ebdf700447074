//! `infusion eval clip` and `dino` as a user runs them, on tiny backbones; see `tools/goldens/backbones.py`.

#[path = "support/tiny.rs"]
mod tiny;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backbones")
}

fn eval(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("infusion").unwrap();
    command.current_dir(root()).arg("eval").args(arguments).args(["--no-cache", "--threads", "1"]).output().unwrap()
}

fn report(arguments: &[&str]) -> Value {
    let output = eval(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn goldens() -> Value {
    serde_json::from_str(&std::fs::read_to_string(root().join("goldens.json")).unwrap()).unwrap()
}

fn close(found: &Value, expected: f64) -> bool {
    (found.as_f64().unwrap() - expected).abs() < 1e-5
}

#[test]
fn clip_scores_pictures_against_prompts_and_references() {
    let goldens = goldens();
    let prompt = goldens["prompts"][0].as_str().unwrap();
    let scores = report(&[
        "clip",
        "wide.png",
        "tall.png",
        "--backbone",
        "clip",
        "--prompt",
        prompt,
        "--references",
        "small.png",
    ]);
    let cosine = |row: usize| goldens["clip"]["cosines"][row][0].as_f64().unwrap();
    assert_eq!((&scores[0]["measure"], &scores[1]["measure"]), (&"CLIP-T".into(), &"CLIP-I".into()));
    assert!(close(&scores[0]["mean"], (cosine(0) + cosine(1)) / 2.0), "{scores}");
    assert!(close(&scores[0]["standard_error"], (cosine(0) - cosine(1)).abs() / 2.0));
    for score in scores.as_array().unwrap() {
        assert_eq!((&score["backbone"], &score["scale"]), (&"tiny/clip (clip)".into(), &"cosine, -1 to 1".into()));
    }
}

#[test]
fn captions_say_what_each_picture_shows() {
    let goldens = goldens();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("captions.jsonl");
    let line = |picture: &str, prompt: usize| {
        serde_json::json!({"file_name": picture, "text": goldens["prompts"][prompt]}).to_string()
    };
    std::fs::write(&file, [line("wide.png", 1), line("tall.png", 0)].join("\n")).unwrap();
    let arguments = ["clip", "wide.png", "tall.png", "--backbone", "clip-split", "--captions", file.to_str().unwrap()];
    let scores = report(&arguments);
    assert!(close(&scores[0]["cosines"][0], goldens["clip"]["cosines"][0][1].as_f64().unwrap()), "{scores}");
    assert!(close(&scores[0]["cosines"][1], goldens["clip"]["cosines"][1][0].as_f64().unwrap()), "{scores}");
}

#[test]
fn dino_scores_pictures_against_references() {
    let goldens = goldens();
    for backbone in ["vit", "dinov2"] {
        let score = report(&["dino", "wide.png", "--backbone", backbone, "--references", "tall.png", "small.png"]);
        let cosine = |pair: usize| goldens[backbone]["cosines"][pair].as_f64().unwrap();
        assert!(close(&score[0]["mean"], (cosine(0) + cosine(1)) / 2.0), "{score}");
        let own = report(&["dino", "wide.png", "--backbone", backbone, "--references", "wide.png"]);
        assert!(close(&own[0]["mean"], 1.0), "a picture is like itself: {own}");
    }
}

#[test]
fn every_number_names_its_backbone_and_scale() {
    let output = eval(&["dino", "wide.png", "small.png", "--backbone", "vit", "--references", "tall.png"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("DINO 0.") || text.starts_with("DINO -0."), "{text}");
    assert!(text.contains("vit (vit)") && text.contains("cosine") && text.contains("±"), "{text}");
}

#[test]
fn what_is_missing_is_named() {
    let refused = |arguments: &[&str]| {
        let output = eval(arguments);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["clip", "wide.png", "--backbone", "clip"]).contains("--prompt"));
    assert!(refused(&["clip", "none.png", "--backbone", "clip", "--prompt", "x"]).contains("none.png"));
    assert!(refused(&["clip", "wide.png", "--backbone", "nowhere", "--prompt", "x"]).contains("nowhere"));
    assert!(refused(&["dino", "vit", "--backbone", "vit", "--references", "wide.png"]).contains("holds no PNG"));
    assert!(refused(&["clip", "wide.png", "--backbone", "clip", "--no-text"]).contains("--references"));
}

#[test]
fn pictures_of_this_program_say_themselves_what_they_show() {
    let folder = tiny::pipeline();
    let file = folder.path().join("made.png");
    let mut command = Command::cargo_bin("infusion").unwrap();
    let arguments = ["generate", "a photo of a <thing> in the snow", "--model", ".", "--steps", "1", "--width", "64"];
    let more = ["--height", "64", "--concept", "thing=striped.safetensors", "--force", "-o", "made.png", "--no-cache"];
    command.current_dir(folder.path()).args(arguments).args(more).arg("--quiet").assert().success();
    let (file, out) = (file.to_str().unwrap(), folder.path().display().to_string());
    let own = Command::cargo_bin("infusion")
        .unwrap()
        .current_dir(&out)
        .args(["eval", "clip", file, "--json", "--no-cache", "--backbone"])
        .arg(root().join("clip"))
        .output()
        .unwrap();
    let own: Value = serde_json::from_slice(&own.stdout).unwrap();
    // The concept's super-class word stands for its mark.
    let told = report(&["clip", file, "--backbone", "clip", "--prompt", "a photo of a ball in the snow"]);
    assert_eq!(own[0]["mean"], told[0]["mean"]);
}
