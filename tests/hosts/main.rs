//! Hosts in C, C++, C# and Rust, built against an installed tree as their users would build them: each draws
//! a picture with a concept, which is compared with that of `infusion generate`.
#![cfg(target_os = "linux")]

#[path = "../support/demo.rs"]
mod demo;
#[path = "../support/hosts.rs"]
mod hosts;
#[path = "../support/tiny.rs"]
mod tiny;

mod cpp;
mod csharp;
mod readme;
mod rust;
mod studio;

use std::process::Command;

use hosts::{output_of, root, tool};
use studio::{Studio, installed, with_library};

/// Builds the CMake project of `examples/hosts/NAME`.
fn build(name: &str, settings: &[String]) -> (tempfile::TempDir, Command) {
    let folder = tempfile::tempdir().unwrap();
    let mut configure = tool("cmake");
    configure.arg("-S").arg(root().join("examples/hosts").join(name)).arg("-B").arg(folder.path());
    configure.arg(format!("-DCMAKE_PREFIX_PATH={}", installed().display())).args(settings);
    output_of(&mut configure);
    output_of(tool("cmake").arg("--build").arg(folder.path()));
    let host = Command::new(folder.path().join("host"));
    (folder, host)
}

#[test]
fn a_c_host_draws_what_the_program_draws() {
    let studio = Studio::new();
    let (_folder, mut host) = build("c", &[]);
    let output = studio.path("by-c.png");
    let said = output_of(with_library(&mut host).args(studio.arguments(tiny::PROMPT)).arg(&output));
    assert!(said.starts_with(&format!("{} steps on ONNX Runtime 1.", studio::STEPS)), "{said}");
    assert_eq!(studio.picture("by-c.png"), studio.by_infusion("separate"), "the same code on the same machine");
}
