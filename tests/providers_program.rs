//! `infusion providers` as a user runs it, on the tiny pipeline.

#[path = "support/tiny.rs"]
mod tiny;

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn providers(folder: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::cargo_bin("infusion").unwrap();
    command.current_dir(folder).args(["providers", "--threads", "1"]).args(arguments).assert()
}

fn json(output: &assert_cmd::assert::Assert) -> Value {
    serde_json::from_slice(&output.get_output().stdout).unwrap()
}

#[test]
fn the_list_as_json_names_every_provider_and_option() {
    let folder = tempfile::tempdir().unwrap();
    let list = json(&providers(folder.path(), &["--json"]).success());
    let names: Vec<&str> = list["providers"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["cpu", "cuda", "tensorrt", "directml", "coreml", "openvino"]);
    assert_eq!(list["providers"][0]["built_in"], true);
    let cuda = list["providers"][1]["options"].as_array().unwrap();
    assert!(cuda.iter().any(|option| option["name"] == "graphs"));
    assert!(list["onnxruntime"]["version"].as_str().is_some());
}

#[test]
fn the_cpu_agrees_with_itself_in_every_model_of_a_pipeline() {
    let pipeline = tiny::pipeline();
    let options = ["--provider", "cpu", "--check", ".", "--size", "8", "--steps", "2", "--no-cache"];
    let report = json(&providers(pipeline.path(), &[&options[..], &["--json"]].concat()).success());
    let graphs = report["graphs"].as_array().unwrap();
    let names: Vec<&str> = graphs.iter().filter_map(|graph| graph["name"].as_str()).collect();
    let expected = [
        "text_encoder",
        "unet",
        "unet f",
        "unet c",
        "unet dual",
        "unet shared",
        "vae_decoder",
        "vae_encoder",
        "2 steps of f+c",
        "2 steps of dual",
        "2 steps of shared",
    ];
    assert_eq!(names, expected);
    for graph in graphs {
        assert!(graph["difference"].as_f64().unwrap() <= 1e-6, "{graph}");
        assert!((graph["tolerance"].as_f64().unwrap() - 1e-3).abs() < 1e-6, "{graph}");
    }
    assert_eq!(report["passed"], true);
}

#[test]
fn models_prepared_for_their_sizes_compute_the_same() {
    let pipeline = tiny::pipeline();
    let provider = "cpu:static_shapes=yes";
    let options = ["--provider", provider, "--check", ".", "--size", "8", "--steps", "3", "--cache", "cache", "--json"];
    for _ in ["made", "from the cache"] {
        let report = json(&providers(pipeline.path(), &options).success());
        assert_eq!(report["provider"], provider);
        assert_eq!(report["graphs"].as_array().unwrap().len(), 11);
    }
    for graph in ["dual", "shared"] {
        let engine = pipeline.path().join(format!("unet/model.{graph}.engine.onnx"));
        let inputs = infusion::runtime::declared_inputs(&engine).unwrap();
        assert!(inputs.iter().any(|input| input.name == "infusion.delta") && inputs.iter().all(|it| !it.optional));
    }
}

#[test]
fn a_model_file_is_checked_in_words() {
    let pipeline = tiny::pipeline();
    for (model, expected) in [("unet/model.onnx", "\nunet shared: "), ("text_encoder/model.onnx", "\nmodel: ")] {
        let output = providers(pipeline.path(), &["--provider", "cpu", "--check", model, "--size", "8"]).success();
        let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
        assert!(text.contains("provider cpu") && text.contains(expected), "{text}");
        assert!(text.contains("from the CPU (tolerance 1e-3)"), "{text}");
    }
}

#[test]
fn a_provider_that_is_missing_fails_the_check_by_name() {
    let pipeline = tiny::pipeline();
    let list = json(&providers(pipeline.path(), &["--json"]).success());
    for provider in list["providers"].as_array().unwrap().iter().filter(|it| it["built_in"] == false) {
        let name = provider["name"].as_str().unwrap();
        let output = providers(pipeline.path(), &["--provider", name, "--check", "unet/model.onnx"]).failure();
        let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        let needs = provider["needs"].as_str().unwrap().split('.').next().unwrap();
        assert!(text.contains(&format!("provider '{name}'")) && text.contains(needs), "{text}");
    }
}
