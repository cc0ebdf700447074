//! The programs of the README's "Embed it", as they stand there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::CommandCargoExt as _;
use image::RgbImage;
use tempfile::TempDir;

use crate::csharp::{assembly, compile, mono};
use crate::demo;
use crate::hosts::{library, output_of, root, tool};
use crate::studio::{installed, with_library};

/// The only program in `language` between "Embed it" and the next heading.
fn program(language: &str) -> String {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split("\n### Embed it\n").nth(1).expect("a section 'Embed it'").split("\n## ").next().unwrap();
    let section = section.split("\n### ").next().unwrap();
    let fence = format!("```{language}\n");
    let mut programs = section.split(&fence).skip(1);
    let program = programs.next().unwrap_or_else(|| panic!("no {language} in 'Embed it'")).split("```").next().unwrap();
    assert!(programs.next().is_none(), "two programs in {language}");
    program.to_owned()
}

/// A folder with the demo model and its concepts at the README's paths.
fn project() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    fs::create_dir(&models).unwrap();
    fs::rename(demo::pipeline().keep(), models.join("demo")).unwrap();
    std::os::unix::fs::symlink(root().join("models/concepts"), models.join("concepts")).unwrap();
    folder
}

/// Runs the program in the README's folder and gives the picture that it wrote.
fn drawn(project: &Path, command: &mut Command) -> RgbImage {
    let picture = project.join("ball.png");
    let _ = fs::remove_file(&picture);
    output_of(with_library(command).current_dir(project));
    image::open(&picture).unwrap().to_rgb8()
}

fn expected(project: &Path) -> RgbImage {
    let mut program = Command::cargo_bin("infusion").unwrap();
    program.args(["generate", "a photo of a <ball> in the snow", "--model", "models/demo", "--seed", "8"]);
    program.args(["--steps", "20", "--guidance-scale", "2", "-o", "ball.png", "--quiet"]);
    program.args(["--concept", "ball=models/concepts/two_tone_ball.safetensors"]);
    drawn(project, &mut program)
}

fn source(project: &Path, language: &str) -> PathBuf {
    let file = project.join(format!("embed.{language}"));
    fs::write(&file, program(language)).unwrap();
    file
}

/// By the compiler command that the README shows.
fn compiled(project: &Path, language: &str, compiler: &[&str]) -> Command {
    let mut pkg_config = tool("pkg-config");
    pkg_config.env("PKG_CONFIG_PATH", installed().join("lib/pkgconfig")).args(["--cflags", "--libs", "infusion"]);
    let flags = output_of(&mut pkg_config);
    let output = project.join(format!("embed-{language}"));
    let mut command = tool(compiler[0]);
    command.args(&compiler[1..]).args(["-Wall", "-Wextra", "-Werror"]).arg(source(project, language));
    output_of(command.args(flags.split_whitespace()).arg("-o").arg(&output));
    Command::new(output)
}

fn by_mono(project: &Path) -> Command {
    let reference = format!("-r:{}", assembly(project).display());
    // The README's file ends in .cs, its language is called csharp.
    mono(&compile(project, "embed.exe", &[reference], &[source(project, "csharp")]))
}

/// Against the library that cargo built for the tests.
fn by_rustc(project: &Path) -> Command {
    let deps = library().parent().unwrap().to_owned();
    let output = project.join("embed-rust");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "--crate-name", "embed"]).arg(source(project, "rust"));
    rustc.arg("--extern").arg(format!("infusion={}", deps.join("libinfusion.rlib").display()));
    output_of(rustc.arg("-L").arg(format!("dependency={}", deps.display())).arg("-o").arg(&output));
    Command::new(output)
}

#[test]
fn the_programs_of_the_readme_draw_what_infusion_generate_draws() {
    let project = project();
    let folder = project.path();
    let expected = expected(folder);
    let programs = [
        ("C", compiled(folder, "c", &["cc", "-std=c99"])),
        ("C++", compiled(folder, "cpp", &["c++", "-std=c++17"])),
        ("C#", by_mono(folder)),
        ("Rust", by_rustc(folder)),
    ];
    for (language, mut program) in programs {
        assert!(drawn(folder, &mut program) == expected, "{language}'s picture is another");
    }
}

/// Fenced programs of bindings/README.md in `language`.
fn excerpts(language: &str) -> Vec<String> {
    let readme = fs::read_to_string(root().join("bindings/README.md")).unwrap();
    let fence = format!("```{language}\n");
    let parts = readme.split(&fence).skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

/// Each line stands in the host that it is said to be from, in the same order.
#[test]
fn the_excerpts_of_the_bindings_readme_are_from_hosts_that_run() {
    for (language, host) in [("cpp", "cpp/main.cpp"), ("csharp", "csharp/loop/Loop.cs"), ("rust", "rust/main.rs")] {
        let source = fs::read_to_string(root().join("examples/hosts").join(host)).unwrap();
        let mut rest = source.lines().map(str::trim);
        let excerpts = excerpts(language);
        assert_eq!(excerpts.len(), 1, "{language}");
        let lines = excerpts[0].lines().map(str::trim).filter(|line| !line.is_empty());
        lines.for_each(|line| assert!(rest.any(|found| found == line), "not in {host}, or not in this order: {line}"));
    }
}

#[test]
fn the_c_function_of_the_bindings_readme_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("predict.c");
    let [function] = excerpts("c").try_into().unwrap();
    fs::write(&source, function).unwrap();
    let mut compiler = tool("cc");
    compiler.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", "-I"]);
    output_of(compiler.arg(root().join("bindings/c")).arg(&source).arg("-o").arg(folder.path().join("predict.o")));
}
