//! The Rust host, in this process: its sessions, the library's and their one ONNX Runtime.

use std::collections::BTreeSet;

use infusion::runtime::library;
use infusion::runtime::ort::{self, AsPointer as _};

use crate::studio::{self, Studio, onnxruntime};
use crate::tiny;

#[path = "../../examples/hosts/rust/main.rs"]
#[allow(dead_code)]
mod host;

/// One test: a process has one environment.
#[test]
fn a_rust_host_draws_the_same_with_its_own_scheduler_and_sessions() {
    let studio = Studio::new();
    let environment = host::shared(ort::init_from(onnxruntime()).unwrap()).unwrap();
    let [model, concept, output] =
        ["model", "ball.safetensors", "by-rust.png"].map(|name| studio.path(name).display().to_string());
    let seed = studio::SEED.to_string();
    let [steps, guidance, size] = [studio::STEPS, studio::GUIDANCE, studio::SIZE];
    for streams in ["shared", "separate"] {
        let what = [streams, &model, &concept, "ball", tiny::PLAIN_PROMPT, &seed, steps, guidance, size, &output];
        let said = host::draw(&environment, what).unwrap();
        assert!(said.starts_with(&format!("{steps} steps on the host's ONNX Runtime 1.")), "{said}");
        studio.check_loop(streams, "by-rust.png");
    }
    assert_eq!(copies_of_onnxruntime(), 1);
    assert!(std::ptr::eq(library::environment().unwrap().ptr(), environment.ptr()), "one environment");
}

fn copies_of_onnxruntime() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let files = maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..]));
    files.filter(|file| file.contains("libonnxruntime.so")).collect::<BTreeSet<_>>().len()
}
