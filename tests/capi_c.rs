//! The C ABI from C: misuse, the exported symbols, and the layout that programs were compiled with.

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
    let program = folder.join("program");
    let mut command = Command::new("cc");
    command.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-overlength-strings", "-I"]);
    command.arg(root().join("bindings/c")).arg(source).arg("-o").arg(&program);
    if linked {
        for name in ["libinfusion.so", "libinfusion.so.0"] {
            fs::copy(library(), folder.join(name)).unwrap();
        }
        command.arg("-L").arg(folder).arg("-linfusion").arg(format!("-Wl,-rpath,{}", folder.display()));
    }
    output_of(&mut command);
    program
}

#[test]
fn a_careless_c_host_gets_errors_and_never_crashes() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(&root().join("tests/capi_c/misuse.c"), folder.path(), true);
    let no_library = folder.path().join("libonnxruntime.so");
    fs::write(&no_library, "no library").unwrap();
    let tiny = root().join("tests/tiny");
    let said = output_of(
        Command::new(program)
            .current_dir(root())
            .arg(root().join("tests/goldens/tokenizer"))
            .arg(tiny.join("unet/model.onnx"))
            .arg(tiny.join("striped.safetensors"))
            .arg(no_library),
    );
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
    let found = format!("{layout}{}\n", declarations(&header()).join("\n"));
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
                let field = field.rsplit([' ', '*']).next().unwrap();
                print(&format!("offsetof {name}.{field}"), &format!("offsetof({name}, {field})"));
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
