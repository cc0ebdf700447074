//! `infusion eval fisher` and `wasserstein` on models: the tiny pipeline, driven as a user would.

#[path = "support/tiny.rs"]
mod tiny;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use infusion::onnx::proto::ModelProto;
use prost::Message;
use serde_json::{Value, json};

fn infusion(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("infusion").unwrap();
    command.current_dir(folder).env_remove("INFUSION_MODEL").args(["eval"]).args(arguments);
    command.args(["--model", ".", "--no-cache", "--threads", "1", "--size", "64", "--json", "--quiet"]);
    command
}

fn report(folder: &Path, arguments: &[&str]) -> Value {
    let output = infusion(folder, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let output = infusion(folder, arguments).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn goldens() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/fisher.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The tiny pipeline with the pairs of `tools/goldens/fisher.py`.
fn with_pairs() -> tempfile::TempDir {
    let folder = tiny::pipeline();
    let lines: Vec<String> = goldens()["pairs"].as_array().unwrap().iter().map(Value::to_string).collect();
    std::fs::write(folder.path().join("metadata.jsonl"), lines.join("\n")).unwrap();
    folder
}

fn close(found: &Value, expected: &Value) -> bool {
    let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
    // Squares of differences of predictions, which agree to 1e-4 of their size.
    (found - expected).abs() <= 1e-3 * expected
}

#[test]
fn fisher_is_that_of_torch_whatever_the_batch_size_and_where_it_was_stopped() {
    let folder = with_pairs();
    let goldens = goldens();
    let seed = goldens["seed"].to_string();
    let run = |more: &[&str]| {
        let common = ["fisher", "--pairs", ".", "--concept", "striped.safetensors", "--force", "--seed", &seed];
        report(folder.path(), &[&common[..], more].concat())
    };
    let everywhere = run(&["-n", "7", "--apply-to", "*", "--batch", "1"]);
    assert!(close(&everywhere["divergence"], &goldens["everywhere"]["mean"]), "{everywhere}");
    assert!(close(&everywhere["standard_error"], &goldens["everywhere"]["error"]), "{everywhere}");
    let word = run(&["-n", "7", "--apply-to", "ball", "--batch", "4"]);
    assert!(close(&word["divergence"], &goldens["ball"]["mean"]), "{word}");
    assert_eq!(word["marked"], 7);

    run(&["-n", "3", "--apply-to", "*", "--batch", "2", "--state", "state.json"]);
    let resumed = run(&["-n", "7", "--apply-to", "*", "--batch", "3", "--state", "state.json"]);
    let whole = everywhere["divergence"].as_f64().unwrap();
    // Rows of a batch round differently, in the last of float32's digits.
    assert!((resumed["divergence"].as_f64().unwrap() / whole - 1.0).abs() < 1e-5, "{resumed} {everywhere}");
    assert_eq!(resumed["pairs"], 7);
}

#[test]
fn a_concept_leaves_prompts_without_it_exactly_alone() {
    let folder = with_pairs();
    let report =
        report(folder.path(), &["fisher", "--pairs", ".", "--concept", "striped.safetensors:2", "--force", "-n", "5"]);
    assert_eq!(report["divergence"], 0.0);
    assert_eq!((&report["standard_error"], &report["pairs"], &report["marked"]), (&json!(0.0), &json!(5), &json!(0)));
}

/// The UNet with `shift` added to the bias of its last convolution, and so to every prediction.
fn shifted_unet(folder: &Path, shift: f32) -> PathBuf {
    let bytes = std::fs::read(folder.join("unet/model.onnx")).unwrap();
    let mut model = ModelProto::decode(&bytes[..]).unwrap();
    let weights = &mut model.graph.as_mut().unwrap().initializer;
    let bias = weights.iter_mut().find(|it| it.name.as_deref().is_some_and(|name| name.ends_with("conv_out.bias")));
    let data = bias.unwrap().raw_data.as_mut().unwrap();
    let moved: Vec<u8> =
        data.chunks_exact(4).flat_map(|b| (f32::from_le_bytes(b.try_into().unwrap()) + shift).to_le_bytes()).collect();
    *data = moved.into();
    let path = folder.join("unet/shifted.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

#[test]
fn another_unet_diverges_by_what_was_changed_in_it() {
    let folder = with_pairs();
    shifted_unet(folder.path(), 0.25);
    let report = report(folder.path(), &["fisher", "--pairs", ".", "--unet", "unet/shifted.onnx", "-n", "4"]);
    // ½ · 256 · 0.25² = 8 for every pair.
    assert!((report["divergence"].as_f64().unwrap() - 8.0).abs() < 1e-3, "{report}");
    assert!(report["standard_error"].as_f64().unwrap() < 1e-3);
}

#[test]
fn fisher_says_what_is_wrong() {
    let folder = with_pairs();
    let run = |arguments: &[&str]| refusal(folder.path(), &[&["fisher", "--pairs", "."], arguments].concat());
    let concept = ["--concept", "striped.safetensors", "--force"];
    assert!(run(&[&concept[..], &["--apply-to", "zebra"]].concat()).contains("zebra"));
    assert!(run(&concept[..2]).contains("learned on"));
    assert!(run(&[]).contains("--unet"));
    assert!(run(&[&concept[..], &["--captions", "none.jsonl"]].concat()).contains("none.jsonl"));
    let kept =
        ["fisher", "--pairs", ".", "--concept", "striped.safetensors", "--force", "--state", "s.json", "-n", "1"];
    report(folder.path(), &kept);
    assert!(refusal(folder.path(), &[&kept[..], &["--seed", "5"]].concat()).contains("seed"));
}

#[test]
fn wasserstein_draws_its_samples_and_goes_on_from_those_it_kept() {
    let folder = tiny::pipeline();
    let run = |more: &[&str]| {
        let common =
            ["wasserstein", "--prompt", "a photo of a <ball>", "--prompt", "the <ball> in the snow", "-n", "6"];
        let concept = ["--concept", "ball=striped.safetensors", "--force", "--steps", "2", "--seed", "3"];
        report(folder.path(), &[&common[..], &concept, more].concat())
    };
    let whole = run(&["--batch", "4", "--keep", "kept"]);
    let distance = |report: &Value, which: &str| report[which]["squared"].as_f64().unwrap();
    assert_eq!((&whole["samples"], &whole["dimensions"]), (&json!([6, 6]), &json!(256)));
    assert!(distance(&whole, "distance") > 0.0 && distance(&whole, "floor") > 0.0);

    std::fs::remove_file(folder.path().join("kept/customised-000003.safetensors")).unwrap();
    let resumed = run(&["--batch", "2", "--keep", "kept"]);
    // Rows of a batch round differently, and fifty steps of guidance 8 make more of it.
    assert!((distance(&resumed, "distance") / distance(&whole, "distance") - 1.0).abs() < 1e-3, "{resumed} {whole}");
    let other = run(&["--no-floor", "--batch", "3"]);
    assert!((distance(&other, "distance") / distance(&whole, "distance") - 1.0).abs() < 1e-3);
    assert!(other["floor"].is_null());
}

#[test]
fn wasserstein_between_a_pipeline_and_itself_is_zero() {
    let folder = tiny::pipeline();
    let arguments = ["wasserstein", "--other", ".", "--prompt", "a ball", "-n", "3", "--steps", "1", "--no-floor"];
    let report = report(folder.path(), &arguments);
    assert!(report["distance"]["squared"].as_f64().unwrap() < 1e-6, "{report}");
}

#[test]
fn another_pipeline_that_is_the_same_diverges_by_nothing() {
    let folder = with_pairs();
    let report = report(folder.path(), &["fisher", "--pairs", ".", "--other", ".", "-n", "3", "--batch", "3"]);
    assert_eq!(report["divergence"], 0.0);
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_was_measured() {
    let folder = with_pairs();
    let common = ["fisher", "--pairs", ".", "--concept", "striped.safetensors", "--force", "--apply-to", "*"];
    let state = ["--state", "state.json", "-n"];
    let started = || infusion(folder.path(), &[&common[..], &state, &["1000000"]].concat());
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("infusion"));
    command.args(started().get_args()).current_dir(folder.path()).stdout(std::process::Stdio::null());
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let state_file = folder.path().join("state.json");
    let long = std::time::Instant::now() + std::time::Duration::from_secs(180);
    while !state_file.exists() && std::time::Instant::now() < long {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let kept: Value = serde_json::from_slice(&std::fs::read(&state_file).unwrap()).unwrap();
    let done = kept["next"].as_u64().unwrap();
    assert!(done > 0, "nothing was measured");
    let count = (done + 3).to_string();
    let resumed = report(folder.path(), &[&common[..], &state, &[&count]].concat());
    let whole = report(folder.path(), &[&common[..], &["-n", &count]].concat());
    assert_eq!(resumed["pairs"], done + 3);
    // Batches begin elsewhere, and their rows round differently.
    let [resumed, whole] = [resumed, whole].map(|it| it["divergence"].as_f64().unwrap());
    assert!((resumed / whole - 1.0).abs() < 1e-5, "{resumed} {whole}");
}
