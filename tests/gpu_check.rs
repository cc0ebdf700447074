//! `tools/gpu-check` against the CPU: the script itself, without a card.
#![cfg(unix)]

#[path = "support/tiny.rs"]
mod tiny;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn gpu_check(arguments: &[&str]) -> std::process::Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/gpu-check");
    let program = assert_cmd::cargo::cargo_bin("infusion");
    Command::new(script).arg("--quick").arg("--program").arg(program).args(arguments).output().unwrap()
}

#[test]
fn compares_and_times_every_way_of_a_step() {
    let pipeline = tiny::pipeline();
    let model = pipeline.path().to_str().unwrap();
    let json = pipeline.path().join("figures.json");
    let output = gpu_check(&["--provider", "cpu", "--model", model, "--json", json.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for way in ["source", "f+c, host", "f+c, device", "dual", "shared"] {
        assert!(text.lines().any(|line| line.contains(" cpu ") && line.contains(way)), "{way}: {text}");
    }
    assert!(text.contains("11 of 11 comparisons with the CPU passed"), "{text}");
    let figures: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let run = &figures["runs"][0];
    assert_eq!(run["passed"], true);
    assert!(run["bench"]["modes"]["f+c-host"]["median_s"].as_f64().is_some_and(|seconds| seconds > 0.0));
}

#[test]
fn a_provider_that_is_missing_fails_and_says_what_it_needs() {
    let pipeline = tiny::pipeline();
    let output = gpu_check(&["--provider", "openvino", "--model", pipeline.path().to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("FAILED") && said.contains("provider 'openvino'"), "{said}");
}
