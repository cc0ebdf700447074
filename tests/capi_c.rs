//! The C ABI from C: misuse, the exported symbols, and the layout that programs were compiled with.

#[path = "support/runtime.rs"]
mod runtime;
#[path = "support/tiny.rs"]
mod tiny;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header() -> String {
    fs::read_to_string(root().join("bindings/c/infusion.h")).unwrap()
}

/// The shared library, which cargo builds beside the tests.
fn library() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let name = format!("{}infusion{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = deps.join(name);
    assert!(library.is_file(), "{} is missing", library.display());
    library
}

fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Compiles `source` to a program in `folder`.
fn compile(source: &Path, folder: &Path, linked: bool) -> PathBuf {
    compile_with(source, folder, linked, &[])
}

fn compile_with(source: &Path, folder: &Path, linked: bool, flags: &[&str]) -> PathBuf {
    let program = folder.join("program");
    let mut command = Command::new("cc");
    command.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-overlength-strings"]);
    command.args(["-D_DEFAULT_SOURCE", "-g", "-pthread"]).args(flags);
    command.arg("-I").arg(root().join("bindings/c")).arg(source).arg("-o").arg(&program);
    if linked {
        for name in ["libinfusion.so", "libinfusion.so.0"] {
            fs::copy(library(), folder.join(name)).unwrap();
        }
        command
            .arg("-L")
            .arg(folder)
            .args(["-linfusion", "-lm", "-ldl"])
            .arg(format!("-Wl,-rpath,{}", folder.display()));
    }
    output_of(&mut command);
    program
}

/// A program of `tests/capi_c`, and the folder that it lies in.
fn program(name: &str, flags: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let program = compile_with(&root().join("tests/capi_c").join(name), folder.path(), true, flags);
    (folder, program)
}

fn concept() -> PathBuf {
    tiny::source().join("striped.safetensors")
}

/// The arguments of `misuse.c`.
fn misuse(program: &Path, folder: &Path, pipeline: &Path, mut command: Command) -> String {
    let no_library = folder.join("libonnxruntime.so");
    fs::write(&no_library, "no library").unwrap();
    fs::create_dir(folder.join("written")).unwrap();
    let command = command.current_dir(root()).arg(program).arg(root().join("tests/goldens/tokenizer")).arg(pipeline);
    output_of(command.arg(concept()).arg(no_library).arg(folder.join("written")))
}

#[test]
fn a_careless_c_host_gets_errors_and_never_crashes() {
    let (folder, program) = program("misuse.c", &[]);
    let pipeline = tiny::pipeline();
    let said = misuse(&program, folder.path(), pipeline.path(), Command::new("env"));
    assert!(said.ends_with("0 failures\n"), "{said}");
}

/// Every access of the host's, buffers of the library included, and every block that either loses.
#[test]
fn address_sanitizer_finds_nothing() {
    let (folder, program) = program("misuse.c", &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    let pipeline = tiny::pipeline();
    let mut environment = Command::new("env");
    environment.arg("ASAN_OPTIONS=detect_leaks=1");
    let said = misuse(&program, folder.path(), pipeline.path(), environment);
    assert!(said.ends_with("0 failures\n"), "{said}");
}

#[test]
fn the_whole_pipeline_from_c_draws_and_learns_as_the_program_does() {
    let (folder, program) = program("whole.c", &[]);
    let pipeline = tiny::pipeline();
    let written = folder.path().join("written");
    fs::create_dir(&written).unwrap();
    let photographs = folder.path().join("photographs");
    fs::create_dir(&photographs).unwrap();
    fs::copy(tiny::source().join("init.png"), photographs.join("a.png")).unwrap();
    fs::copy(tiny::source().join("foundation.png"), photographs.join("b.png")).unwrap();
    let mut command = Command::new(program);
    command.current_dir(root()).arg(pipeline.path()).arg(concept()).arg(&photographs).arg(&written);
    assert_eq!(output_of(&mut command), "done\n");

    let infusion = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_infusion"));
        command.current_dir(&written).env("XDG_CACHE_HOME", folder.path().join("cache"));
        command
    };
    let model = pipeline.path().to_str().unwrap();
    output_of(
        infusion()
            .args(["generate", "a photo of a <ball> in the snow", "--model", model, "--steps", "4", "--seed", "7"])
            .args(["--width", "64", "--height", "64", "--force", "--provider", "cpu", "--no-cache", "-q"])
            .args(["--concept", &format!("ball={}", concept().display()), "-o", "cli.png"])
            .args(["--foundation", "cli-foundation.png"]),
    );
    let pixels = |name: &str| image::open(written.join(name)).unwrap().to_rgb8();
    assert_eq!(pixels("infused.png"), pixels("cli.png"));
    assert_eq!(pixels("foundation.png"), pixels("cli-foundation.png"));
    output_of(infusion().args(["generate", "--from", "infused.png", "--force", "--provider", "cpu", "-q"]).args([
        "--no-cache",
        "-o",
        "again.png",
    ]));
    assert_eq!(pixels("again.png"), pixels("cli.png"), "the settings are in the picture");

    let photographs = photographs.to_str().unwrap();
    output_of(
        infusion()
            .args(["train", "--model", model, "--images", photographs, "--class", "ball", "--steps", "4"])
            .args(["--prompt", "a photo of a <ball> on the grass", "--batch", "2", "--size", "64", "--seed", "3"])
            .args(["--precision", "f32", "--provider", "cpu", "--no-cache", "-q", "-o", "cli.safetensors"]),
    );
    let [own, cli] = ["learned.safetensors", "cli.safetensors"].map(|name| {
        let concept = infusion::concept::Concept::load(written.join(name)).unwrap();
        concept.layers.into_values().flatten().collect::<Vec<f32>>()
    });
    assert!(own.iter().any(|value| *value != 0.0));
    let apart = own.iter().zip(&cli).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    // Adam divides by the gradient's size, so that rounding weighs most where the gradient is next to none.
    assert!(apart < 1e-3 && own.len() == cli.len(), "{apart}");
}

#[test]
fn a_runtime_in_the_process_comes_first() {
    let (folder, program) = program("adopt.c", &[]);
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let own = elsewhere.join("libonnxruntime.so");
    fs::copy(runtime::library(), &own).unwrap();
    let said = output_of(Command::new(program).current_dir(root()).env_remove("ORT_DYLIB_PATH").arg(own));
    assert!(said.starts_with("1."), "{said}");
}

/// The full count is measured by hand: `program UNET CONCEPT 10000 100 8 500`.
#[test]
fn long_runs_and_many_threads_leave_memory_flat() {
    let (_folder, program) = program("soak.c", &[]);
    let pipeline = tiny::pipeline();
    let unet = pipeline.path().join("unet/model.onnx");
    let said =
        output_of(Command::new(program).current_dir(root()).arg(unet).arg(concept()).args(["500", "20", "8", "40"]));
    let grown: Vec<i64> = said
        .lines()
        .filter_map(|line| line.strip_suffix(" kB more after the first tenth")?.rsplit(' ').next()?.parse().ok())
        .collect();
    assert_eq!(grown.len(), 3, "{said}");
    // A leak of one picture's latents a step, or of one session a cycle, would be far above this.
    assert!(grown.iter().all(|kilobytes| *kilobytes < 8192), "{said}");
}

/// Valgrind sees every block that the library loses, whoever asked for it.
#[test]
fn valgrind_finds_no_leak_and_no_stray_access() {
    let found = Command::new("valgrind").arg("--version").output().is_ok();
    if !found {
        eprintln!("\n*** NOT TESTED: valgrind is not installed (apt-get install valgrind) ***\n");
        return;
    }
    let (folder, program) = program("misuse.c", &[]);
    let pipeline = tiny::pipeline();
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
    valgrind.args(["--show-leak-kinds=definite", "--num-callers=30"]);
    valgrind.arg(format!("--suppressions={}", root().join("tests/capi_c/valgrind.supp").display()));
    let said = misuse(&program, folder.path(), pipeline.path(), valgrind);
    assert!(said.ends_with("0 failures\n"), "{said}");
}

#[test]
fn exported_symbols_are_the_functions_of_the_header() {
    let exported = output_of(Command::new("nm").args(["-D", "--defined-only"]).arg(library()));
    let exported: BTreeSet<String> =
        exported.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect();
    let declared: BTreeSet<String> = declarations(&header()).iter().map(|line| name_of(line).to_owned()).collect();
    assert!(declared.len() > 10);
    assert_eq!(exported, declared);
}

#[cfg(target_os = "linux")]
#[test]
fn the_library_is_known_by_its_abi() {
    let dynamic = output_of(Command::new("objdump").arg("-p").arg(library()));
    assert!(dynamic.contains("libinfusion.so.0"), "{dynamic}");
}

/// A program compiled with an older header must go on working, or be told: `INFUSION_ABI_VERSION`.
#[test]
fn signatures_and_layouts_change_only_with_the_abi_version() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("layout.c");
    fs::write(&source, layout_program(&header())).unwrap();
    let layout = output_of(&mut Command::new(compile(&source, folder.path(), false)));
    let found = format!("{layout}{}\n{}\n", callbacks(&header()).join("\n"), declarations(&header()).join("\n"));
    let golden = root().join("tests/capi_abi.golden");
    if std::env::var_os("UPDATE_ABI_GOLDEN").is_some() {
        fs::write(&golden, &found).unwrap();
    }
    let kept = fs::read_to_string(&golden).unwrap();
    assert!(
        found == kept,
        "the ABI is not that of tests/capi_abi.golden. New functions alone: run again with UPDATE_ABI_GOLDEN=1. \
         Where a signature, struct or number changed, first raise INFUSION_ABI_VERSION in infusion.h and \
         ABI_VERSION in src/capi/version.rs.\n--- found\n{found}\n--- kept\n{kept}"
    );
}

/// The header without comments, each run of white space as one space.
fn bare(header: &str) -> String {
    let mut rest = header;
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once("/*") {
        text.push_str(before);
        rest = after.split_once("*/").unwrap().1;
    }
    text.push_str(rest);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every function, one a line, in the header's order.
fn declarations(header: &str) -> Vec<String> {
    let text = bare(header);
    let parts = text.split("INFUSION_API ").skip(1).filter_map(|part| part.split_once(';'));
    parts.map(|(declaration, _)| declaration.to_owned()).filter(|text| text.contains('(')).collect()
}

/// Every type of function, one a line.
fn callbacks(header: &str) -> Vec<String> {
    let text = bare(header);
    let parts = text.split("typedef ").skip(1).filter_map(|part| part.split_once(';'));
    parts.map(|(declaration, _)| declaration.to_owned()).filter(|text| text.contains("(*")).collect()
}

fn name_of(declaration: &str) -> &str {
    let before = declaration.split('(').next().unwrap();
    before.rsplit([' ', '*']).next().unwrap()
}

/// A program that prints the ABI version, every number of every enum, and size and offsets of every struct.
fn layout_program(header: &str) -> String {
    let text = bare(header);
    let mut program = String::from("#include \"infusion.h\"\n#include <stdio.h>\nint main(void) {\n");
    let mut print = |label: &str, value: &str| {
        program.push_str(&format!("  printf(\"%s %ld\\n\", \"{label}\", (long)({value}));\n"));
    };
    print("INFUSION_ABI_VERSION", "INFUSION_ABI_VERSION");
    for (kind, body) in blocks(&text) {
        if let Some(name) = kind.strip_prefix("struct ") {
            print(&format!("sizeof {name}"), &format!("sizeof({name})"));
            for field in body.split(';').map(str::trim).filter(|field| !field.is_empty()) {
                for field in field.split(',') {
                    let field = field.rsplit([' ', '*']).next().unwrap().split('[').next().unwrap();
                    print(&format!("offsetof {name}.{field}"), &format!("offsetof({name}, {field})"));
                }
            }
        } else {
            for number in body.split(',') {
                let number = number.split('=').next().unwrap().trim();
                print(number, number);
            }
        }
    }
    program.push_str("  return 0;\n}\n");
    program
}

/// `struct name` or `enum name`, and what stands between its braces.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let parts = text.split("typedef ").skip(1).filter_map(|part| {
        let (kind, rest) = part.split_once(" {")?;
        (!kind.contains(';')).then_some((kind, rest.split_once('}')?.0))
    });
    parts.collect()
}
