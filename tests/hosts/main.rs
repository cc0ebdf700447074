//! Hosts in C, C++ and C#, built against an installed tree as their users would build them: each draws
//! a picture with a concept, which is compared with that of `infusion generate`.
#![cfg(target_os = "linux")]

#[path = "../support/demo.rs"]
mod demo;
#[path = "../support/hosts.rs"]
mod hosts;
#[path = "../support/tiny.rs"]
mod tiny;

mod csharp;
mod readme;
mod studio;

use std::fs;
use std::process::Command;

use hosts::{output_of, root, tool};
use studio::{Studio, apart, installed, onnxruntime, with_library};

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

#[test]
fn a_cpp_host_draws_the_same_with_its_own_scheduler_on_its_own_onnxruntime() {
    let studio = Studio::new();
    let headers = root().join("target/onnxruntime-headers");
    assert!(headers.join("onnxruntime_cxx_api.h").is_file(), "no headers of ONNX Runtime: run 'make test-tools'");
    // The linker records libonnxruntime.so.1, the library's own name; the host's folder has it under that.
    let runtime = tempfile::tempdir().unwrap();
    let library = runtime.path().join("libonnxruntime.so.1");
    std::os::unix::fs::symlink(onnxruntime(), &library).unwrap();
    let settings = [
        format!("-DONNXRUNTIME_INCLUDE={}", headers.display()),
        format!("-DONNXRUNTIME_LIBRARY={}", library.display()),
    ];
    let (folder, _) = build("cpp", &settings);
    let noise = infusion::noise::start_noise(studio::SEED, [1, 4, 8, 8]);
    let bytes: Vec<u8> = noise.iter().flat_map(|number| number.to_le_bytes()).collect();
    fs::write(studio.path("noise"), bytes).unwrap();

    for mode in ["shared", "separate"] {
        let output = studio.path("by-cpp.ppm");
        let mut host = Command::new(folder.path().join("host"));
        host.arg(mode).arg(studio.path("model")).arg(studio.path("ball.safetensors"));
        host.args(["ball", tiny::PLAIN_PROMPT]).arg(studio.path("noise"));
        host.args([studio::STEPS, studio::GUIDANCE, studio::SIZE]).arg(&output);
        let said = output_of(host.env_remove("ORT_DYLIB_PATH"));
        assert!(said.contains("on the host's ONNX Runtime"), "{said}");
        // Another order of the same sums: a level of 255 where a value lies on the edge between two.
        let (drawn, expected) = (studio.picture("by-cpp.ppm"), studio.by_infusion(mode));
        let most = apart(&drawn, &expected);
        assert!(most <= 1, "{mode}: {most} levels apart");
    }
    assert!(apart(&studio.by_infusion("separate"), &studio.foundation()) > 1, "the concept shows");
}
