//! `infusion generate` and `infusion inspect` as a user runs them, on the tiny pipeline.

#[path = "support/tiny.rs"]
mod tiny;

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn infusion(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("infusion").unwrap();
    command.current_dir(folder).env("XDG_CACHE_HOME", folder.join("cache")).env_remove("INFUSION_MODEL");
    command
}

fn concept() -> String {
    format!("ball={}", tiny::source().join("striped.safetensors").display())
}

/// The arguments of a short run.
fn short() -> Vec<String> {
    ["generate", tiny::PROMPT, "--model", ".", "--steps", "2", "--width", "64", "--height", "64", "--seed", "7"]
        .map(str::to_owned)
        .into_iter()
        .chain(["--force".to_owned(), "--concept".to_owned(), concept()])
        .collect()
}

fn pixels(path: &Path) -> image::RgbImage {
    image::open(path).unwrap().to_rgb8()
}

fn failure(folder: &Path, arguments: &[&str]) -> String {
    let output = infusion(folder).args(arguments).assert().failure();
    String::from_utf8(output.get_output().stderr.clone()).unwrap()
}

#[test]
fn one_run_writes_everything_and_its_picture_repeats_it() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let more = [
        "-o",
        "a.png",
        "--foundation",
        "f.png",
        "--sheet",
        "sheet.png",
        "--attention-maps",
        "--preview-every",
        "1",
        "--json",
        "--layer-scale",
        "0:0.5",
        "--start",
        "0.5",
        "--negative-prompt",
        "two balls",
        "--guidance-scale",
        "3",
    ];
    let output = infusion(folder).args(short()).args(more).assert().success();
    let report: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(report["steps"], 2);
    assert_eq!(report["files"][0]["seed"], 7);
    for file in ["a.png", "f.png", "sheet.png", "a-attention-ball.png", "a-preview.png"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    assert_ne!(pixels(&folder.join("a.png")), pixels(&folder.join("f.png")));

    infusion(folder).args(["generate", "--from", "a.png", "-o", "b.png", "--force", "--quiet"]).assert().success();
    assert_eq!(pixels(&folder.join("a.png")), pixels(&folder.join("b.png")), "the same settings, the same picture");
    infusion(folder).args(["generate", "--from", "f.png", "-o", "g.png", "--force", "--quiet"]).assert().success();
    assert_eq!(pixels(&folder.join("f.png")), pixels(&folder.join("g.png")));

    let shown = infusion(folder).args(["inspect", "a.png"]).assert().success();
    let shown = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    assert!(shown.contains("Sampler: DDIM") && shown.contains("Negative prompt: two balls"), "{shown}");
}

#[test]
fn batches_and_variations_are_named_by_seed_and_number() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let more =
        ["--batch", "2", "--variations", "1,-0.5", "-o", "a.png", "--streams", "shared", "--quiet", "--no-cache"];
    infusion(folder).args(short()).args(more).assert().success();
    for file in ["a-7-v1.png", "a-8-v1.png", "a-7-v2.png", "a-8-v2.png"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let one = ["-o", "one.png", "--streams", "shared", "--quiet", "--low-memory", "--threads", "1", "--no-cache"];
    infusion(folder).args(short()).args(one).assert().success();
    let (a, b) = (pixels(&folder.join("a-7-v1.png")), pixels(&folder.join("one.png")));
    assert!(a.iter().zip(b.iter()).all(|(a, b)| a.abs_diff(*b) <= 1), "a picture of a batch is the one made alone");
}

#[test]
fn a_folder_of_concepts_a_noise_file_and_img2img() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let noise = tiny::source().join("goldens.safetensors");
    let arguments = [
        "generate",
        "a <striped:0.9> in (snow:1.2)",
        "-m",
        ".",
        "--steps",
        "2",
        "--width",
        "64",
        "--height",
        "64",
        "--force",
        "--concepts",
        ".",
        "--noise",
        noise.to_str().unwrap(),
        "--init-image",
        "init.png",
        "--strength",
        "0.5",
        "--scheduler",
        "euler_a",
        "-o",
        "a.png",
    ];
    infusion(folder).args(arguments).assert().success();
    assert_eq!(pixels(&folder.join("a.png")).dimensions(), (64, 64));
}

#[test]
fn what_is_wrong_is_said_before_the_work() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    std::fs::write(folder.join("old.png"), b"mine").unwrap();
    let concept = concept();
    assert!(failure(folder, &["generate", "a", "-m", ".", "-o", "old.png"]).contains("exists already"));
    assert_eq!(std::fs::read(folder.join("old.png")).unwrap(), b"mine");
    assert!(failure(folder, &["generate", "a", "-m", ".", "-o", "no/a.png"]).contains("does not exist"));
    assert!(failure(folder, &["generate", "a"]).contains("--model"));
    assert!(failure(folder, &["generate", "a", "-m", "nowhere"]).contains("nowhere"));
    assert!(failure(folder, &["generate", "a <ball>", "-m", "."]).contains("<ball>"));
    assert!(failure(folder, &["generate", "a ball", "-m", ".", "-c", &concept, "--force"]).contains("<ball>"));
    assert!(failure(folder, &["generate", "a", "-m", ".", "--width", "60"]).contains("multiple of 8"));
    assert!(failure(folder, &["generate", "a", "-m", ".", "--provider", "gpu"]).contains("there are auto, cpu"));
    assert!(failure(folder, &["generate", "a", "-m", ".", "--onnxruntime", "no.so"]).contains("no.so"));
    assert!(failure(folder, &["generate", "--from", "init.png"]).contains("holds no settings"));
    assert!(failure(folder, &["generate", "a", "-m", ".", "--variations", "1,2"]).contains("no concept"));
}

#[test]
fn providers_completions_man_and_help_print() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["providers"][..], "auto takes"),
        (&["completions", "bash"], "infusion"),
        (&["man", "generate"], "guidance"),
        (&["generate", "--help"], "--preview-every"),
    ] {
        let output = infusion(folder.path()).args(arguments).assert().success();
        assert!(String::from_utf8_lossy(&output.get_output().stdout).contains(expected), "{arguments:?}");
    }
    let checked = tiny::source().join("unet/model.onnx");
    let output = infusion(folder.path()).args(["providers", "--provider", "cpu", "--check"]).arg(checked).assert();
    assert!(String::from_utf8_lossy(&output.success().get_output().stdout).contains("provider cpu"));
}
