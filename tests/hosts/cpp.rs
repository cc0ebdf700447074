//! `infusion.hpp`, and a C++ host with a scheduler and an ONNX Runtime of its own.

use std::fs;
use std::process::Command;

use crate::hosts::{output_of, root, tool};
use crate::studio::{self, Studio, apart, installed, onnxruntime, with_library};
use crate::{build, tiny};

#[test]
fn the_cpp_header_holds_what_it_says() {
    let studio = Studio::new();
    let program = studio.path("checks");
    let mut compiler = tool("c++");
    compiler.args(["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-I"]);
    compiler.arg(installed().join("include")).arg(root().join("tests/hosts/cpp/checks.cpp"));
    compiler.arg("-L").arg(installed().join("lib")).args(["-linfusion", "-o"]).arg(&program);
    output_of(&mut compiler);
    let mut checks = Command::new(program);
    checks.arg(studio.path("model")).arg(studio.path("ball.safetensors"));
    let said = output_of(with_library(&mut checks));
    assert!(said.ends_with("0 failures\n"), "{said}");
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
