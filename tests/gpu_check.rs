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

/// A program whose ONNX Runtime has TensorRT, on a machine that has not.
const WITHOUT_TENSORRT: &str = r#"#!/bin/sh
case "$*" in
*--check*) echo "error: provider 'tensorrt': Failed to load library libnvinfer.so.10. It needs TensorRT 10" >&2; exit 1 ;;
esac
echo '{"onnxruntime": {"version": "1.31.1"}, "providers": [{"name": "tensorrt", "built_in": true}]}'
"#;

#[test]
fn a_provider_that_the_machine_has_not_is_left_out_unless_it_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("infusion");
    std::fs::write(&program, WITHOUT_TENSORRT).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/gpu-check");
    let check = |more: &[&str]| {
        let mut command = Command::new(&script);
        let output =
            command.arg("--program").arg(&program).args(["--model", "model.onnx"]).args(more).output().unwrap();
        assert!(!output.status.success(), "nothing was compared");
        let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (told(&output.stdout), told(&output.stderr))
    };
    let (out, error) = check(&[]);
    assert_eq!(out.matches("left out, since this machine has not all of it").count(), 1, "{out}");
    assert!(out.contains("libnvinfer.so.10") && !error.contains("FAILED"), "{out}{error}");
    let (_, error) = check(&["--provider", "tensorrt"]);
    assert!(error.contains("FAILED") && error.contains("libnvinfer.so.10"), "{error}");
}

/// A CUDA runtime that copies in the host's memory, as the counter finds the real one: by the name of its library.
const RUNTIME: &str = r"
#include <string.h>
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    memcpy(to, from, size);
    return kind + 10 * (stream != 0);
}
int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
    memcpy(to, from, size);
    return kind;
}
";

/// Copies seven bytes to the card, and twice five bytes back, by a runtime that is not in the global scope.
const HOST: &str = r#"
#include <dlfcn.h>
#include <string.h>
int main(void) {
    char card[8] = "", host[8] = "";
    if (!dlopen("libcudart.so.13", RTLD_NOW | RTLD_LOCAL)) return 1;
    int (*later)(void *, const void *, size_t, int, void *) = dlsym(RTLD_DEFAULT, "cudaMemcpyAsync");
    int (*now)(void *, const void *, size_t, int) = dlsym(RTLD_DEFAULT, "cudaMemcpy");
    if (!later || !now) return 2;
    if (later(card, "seventh", 7, 1, card) != 11) return 3;
    if (now(host, card, 5, 2) != 2 || later(host, card, 5, 2, 0) != 2) return 4;
    return strcmp(host, "seven") != 0;
}
"#;

#[test]
#[cfg(target_os = "linux")]
fn copies_between_card_and_host_are_counted_and_happen() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let compile = |name: &str, source: &Path, more: &[&str]| {
        let output = Command::new("cc").arg(source).arg("-o").arg(path(name)).args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    std::fs::write(path("runtime.c"), RUNTIME).unwrap();
    std::fs::write(path("host.c"), HOST).unwrap();
    let shared = ["-shared", "-fPIC"];
    compile("libcudart.so.13", &path("runtime.c"), &[&shared[..], &["-Wl,-soname,libcudart.so.13"]].concat());
    compile("host", &path("host.c"), &["-D_GNU_SOURCE", "-ldl"]);
    let counter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/cuda_copies.c");
    compile("counter.so", &counter, &[&shared[..], &["-Wall", "-Wextra", "-Werror", "-ldl"]].concat());

    let mut host = Command::new(path("host"));
    host.env("LD_LIBRARY_PATH", folder.path()).env("LD_PRELOAD", path("counter.so"));
    let status = host.env("CUDA_COPIES", path("copies.json")).status().unwrap();
    assert_eq!(status.code(), Some(0), "what was copied, or answered, is not what the runtime does");
    let copies: Value = serde_json::from_slice(&std::fs::read(path("copies.json")).unwrap()).unwrap();
    assert_eq!(copies, serde_json::json!({ "to_card": [1, 7], "to_host": [2, 10], "on_card": [0, 0] }));
}
