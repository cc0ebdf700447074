//! `infusion.hpp`, and a C++ host with a scheduler and an ONNX Runtime of its own.

use std::process::Command;

use crate::build;
use crate::hosts::{output_of, root, tool};
use crate::studio::{Studio, apart, installed, onnxruntime_folder, with_library};

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
    checks.arg(studio.path("model")).arg(studio.path("ball.safetensors")).arg(studio.photographs());
    let said = output_of(with_library(&mut checks));
    assert!(said.ends_with("0 failures\n"), "{said}");
}

#[test]
fn a_cpp_host_draws_the_same_with_its_own_scheduler_on_its_own_onnxruntime() {
    let studio = Studio::new();
    let headers = root().join("target/onnxruntime-headers");
    assert!(headers.join("onnxruntime_cxx_api.h").is_file(), "no headers of ONNX Runtime: run 'make test-tools'");
    let runtime = onnxruntime_folder();
    let settings = [
        format!("-DONNXRUNTIME_INCLUDE={}", headers.display()),
        format!("-DONNXRUNTIME_LIBRARY={}", runtime.path().join("libonnxruntime.so.1").display()),
    ];
    let (folder, _) = build("cpp", &settings);
    for streams in ["shared", "separate"] {
        let mut host = Command::new(folder.path().join("host"));
        let host = host.args(studio.loop_arguments(streams, "by-cpp.ppm")).env_remove("ORT_DYLIB_PATH");
        let said = output_of(host);
        assert!(said.contains("on the host's ONNX Runtime"), "{said}");
        studio.check_loop(streams, "by-cpp.ppm");
    }
    assert!(apart(&studio.by_infusion("separate"), &studio.foundation()) > 1, "the concept shows");
}
