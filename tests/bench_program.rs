//! `infusion bench` as a user runs it, on the tiny pipeline.

#[path = "support/tiny.rs"]
mod tiny;

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn bench(folder: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::cargo_bin("infusion").unwrap();
    command.current_dir(folder).args(["bench", "--model", ".", "--size", "8", "--threads", "1"]).args(arguments);
    command.assert()
}

#[test]
fn every_way_of_a_step_is_measured_in_time_and_memory_and_nothing_is_left_behind() {
    let pipeline = tiny::pipeline();
    let before = std::fs::read_dir(pipeline.path().join("unet")).unwrap().count();
    let output = bench(pipeline.path(), &["--rounds", "2", "--steps", "1", "--json"]).success();
    let report: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    for mode in ["plain", "naive", "f+c", "dual", "shared", "kept"] {
        let figures = &report["modes"][mode];
        for figure in ["median_s", "of_plain", "load_s", "load_cached_s", "peak_bytes", "least_peak_bytes"] {
            assert!(figures[figure].as_f64().is_some_and(|number| number > 0.0), "{mode} {figure}: {figures}");
        }
        assert!(figures["cpu_s"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{mode}: {figures}");
        assert_eq!(figures["steps"], 2);
        assert_eq!(figures["delta_swap_s"].is_null(), ["plain", "naive"].contains(&mode), "{mode}");
    }
    assert_eq!(std::fs::read_dir(pipeline.path().join("unet")).unwrap().count(), before);
}

#[test]
fn a_table_shows_the_ways_that_were_asked_for() {
    let pipeline = tiny::pipeline();
    let options = ["--modes", "plain,shared", "--rounds", "1", "--steps", "1", "--no-least-memory", "--fuse"];
    let output = bench(pipeline.path(), &options).success();
    let table = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(table.contains("attention fused") && table.contains("\nshared") && !table.contains("\ndual"), "{table}");
}

#[test]
fn models_that_are_prepared_for_their_sizes_are_measured_with_maps_on_either_side() {
    let pipeline = tiny::pipeline();
    let modes = ["--modes", "f+c,f+c-host,dual,shared,train", "--provider", "cpu:static_shapes=yes"];
    let options = ["--batch", "2", "--rounds", "1", "--steps", "1", "--no-least-memory", "--json"];
    let output = bench(pipeline.path(), &[&modes[..], &options[..]].concat()).success();
    let report: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let mut measured: Vec<&String> = report["modes"].as_object().unwrap().keys().collect();
    measured.sort();
    assert_eq!(measured, ["dual", "f+c", "f+c-host", "shared", "train"]);
    assert_eq!(report["batch"], 2);
}

#[test]
fn every_option_is_driven() {
    let pipeline = tiny::pipeline();
    let options = ["--modes", "plain", "--rounds", "2", "--steps", "1", "--no-least-memory", "--provider", "cpu"];
    bench(pipeline.path(), &[&options[..], &["--cache", "kept"]].concat()).success();
    assert!(pipeline.path().join("kept/sessions").is_dir(), "the cache is where it was asked to be");
    bench(pipeline.path(), &[&options[..], &["--no-cache"]].concat()).success();
    let absent = bench(pipeline.path(), &["--modes", "plain", "--onnxruntime", "no.so"]).failure();
    assert!(String::from_utf8_lossy(&absent.get_output().stderr).contains("no.so"));
    let help = bench(pipeline.path(), &["--help"]).success();
    let help = String::from_utf8_lossy(&help.get_output().stdout).into_owned();
    let own = help.lines().filter(|line| line.split("  ").any(|part| part.starts_with('-') && !part.starts_with("- ")));
    let words = own.flat_map(|line| line.split(|c: char| !(c.is_alphanumeric() || c == '-')));
    for option in words.filter(|word| word.starts_with("--") && word.len() > 2 && *word != "--help") {
        let driven = include_str!("bench_program.rs").contains(&format!("\"{option}\""));
        assert!(driven, "{option} is driven by no test");
    }
}

#[test]
fn a_step_of_learning_is_measured_where_it_is_asked_for() {
    let pipeline = tiny::pipeline();
    let options = ["--modes", "train-fast,train-low,train", "--rounds", "1", "--steps", "1", "--json"];
    let output = bench(pipeline.path(), &options).success();
    let report: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let modes = report["modes"].as_object().unwrap();
    assert_eq!(modes.len(), 3);
    for (mode, figures) in modes {
        for figure in ["median_s", "peak_bytes", "least_peak_bytes", "delta_swap_s"] {
            assert!(figures[figure].as_f64().is_some_and(|number| number > 0.0), "{mode} {figure}: {figures}");
        }
    }
}

#[test]
fn what_cannot_be_measured_is_an_error() {
    let pipeline = tiny::pipeline();
    for (arguments, said) in [(["--rounds", "0"], "at least one"), (["--modes", "fastest"], "fastest")] {
        let output = bench(pipeline.path(), &arguments).failure();
        let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(text.contains(said), "{text}");
    }
}
