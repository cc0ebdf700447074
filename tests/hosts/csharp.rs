//! The C# binding and a host that uses it, by mono.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::hosts::{complaint_of, files_below, output_of, root, tool};
use crate::studio::{STEPS, Studio, installed, onnxruntime_folder, with_library};
use crate::tiny;

/// The language of netstandard2.0's compilers, as far as mono's knows it.
const LANGUAGE: &str = "-langversion:7.2";

fn binding() -> Vec<PathBuf> {
    let folder = root().join("bindings/csharp/src");
    let files = files_below(&folder).into_iter().map(|file| folder.join(file)).collect::<Vec<_>>();
    assert!(files.len() > 5);
    files
}

/// Compiles sources to `folder/NAME`.
pub fn compile(folder: &Path, name: &str, settings: &[String], sources: &[PathBuf]) -> PathBuf {
    let output = folder.join(name);
    let mut compiler = tool("mcs");
    compiler.args([LANGUAGE, "-warnaserror", &format!("-out:{}", output.display())]).args(settings).args(sources);
    output_of(&mut compiler);
    output
}

/// The binding as an assembly of its own, every public name of it documented.
pub fn assembly(folder: &Path) -> PathBuf {
    let documentation = format!("-doc:{}", folder.join("Infusion.Onnx.xml").display());
    compile(folder, "Infusion.Onnx.dll", &["-target:library".to_owned(), documentation], &binding())
}

pub fn mono(program: &Path) -> Command {
    let mut mono = tool("mono");
    mono.arg(program);
    mono
}

fn checks(folder: &Path) -> PathBuf {
    let mut sources = binding();
    sources.push(root().join("tests/hosts/csharp/Checks.cs"));
    compile(folder, "checks.exe", &[], &sources)
}

#[test]
fn a_csharp_host_draws_what_the_program_draws() {
    let (studio, folder) = (Studio::new(), tempfile::tempdir().unwrap());
    let reference = format!("-r:{}", assembly(folder.path()).display());
    let host = compile(folder.path(), "host.exe", &[reference], &[root().join("examples/hosts/csharp/Host.cs")]);
    let output = studio.path("by-csharp.png");
    let said = output_of(with_library(&mut mono(&host)).args(studio.arguments(tiny::PROMPT)).arg(&output));
    assert!(said.starts_with(&format!("{STEPS} steps on ONNX Runtime 1.")), "{said}");
    assert_eq!(studio.picture("by-csharp.png"), studio.by_infusion("separate"));

    let mut arguments = studio.arguments(tiny::PROMPT);
    arguments[1] = "/nowhere/ball.safetensors".to_owned();
    let complaint = complaint_of(with_library(&mut mono(&host)).args(arguments).arg(&output));
    assert!(complaint.starts_with("error 3: ") && complaint.contains("/nowhere/ball.safetensors"), "{complaint}");
}

#[test]
fn a_csharp_host_draws_the_same_with_its_own_scheduler_on_its_own_onnxruntime() {
    let (studio, folder, runtime) = (Studio::new(), tempfile::tempdir().unwrap(), onnxruntime_folder());
    let sources = root().join("examples/hosts/csharp/loop");
    let sources: Vec<PathBuf> = files_below(&sources).into_iter().map(|file| sources.join(file)).collect();
    let reference = format!("-r:{}", assembly(folder.path()).display());
    let host = compile(folder.path(), "loop.exe", &[reference], &sources);
    let libraries = std::env::join_paths([installed().join("lib"), runtime.path().to_owned()]).unwrap();
    for streams in ["shared", "separate"] {
        let mut host = mono(&host);
        host.args(studio.loop_arguments(streams, "by-csharp.ppm")).env("LD_LIBRARY_PATH", &libraries);
        let said = output_of(host.env_remove("ORT_DYLIB_PATH"));
        assert!(said.starts_with(&format!("{STEPS} steps on the host's ONNX Runtime 1.")), "{said}");
        studio.check_loop(streams, "by-csharp.ppm");
    }
}

#[test]
fn the_csharp_binding_holds_what_it_says() {
    let (studio, folder) = (Studio::new(), tempfile::tempdir().unwrap());
    let mut checks = mono(&checks(folder.path()));
    checks.arg("all").arg(studio.path("model")).arg(studio.path("ball.safetensors")).arg(studio.photographs());
    let said = output_of(with_library(&mut checks));
    assert!(said.ends_with("0 failures\n"), "{said}");
}

/// What C# passes is what C reads.
#[test]
fn the_structs_and_enums_of_csharp_are_those_of_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let printed = output_of(mono(&checks(folder.path())).arg("layout"));
    let golden = fs::read_to_string(root().join("tests/capi_abi.golden")).unwrap();
    let layout = |line: &&str| ["INFUSION_", "sizeof ", "offsetof "].iter().any(|start| line.starts_with(start));
    let expected: BTreeSet<&str> = golden.lines().filter(layout).collect();
    assert!(expected.len() > 50);
    assert_eq!(printed.lines().collect::<BTreeSet<_>>(), expected);

    let source = fs::read_to_string(root().join("bindings/csharp/src/Native.cs")).unwrap();
    let functions = golden.lines().filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next());
    let missing: Vec<&str> = functions.filter(|name| !source.contains(&format!("{name}("))).collect();
    assert!(missing.is_empty(), "Native.cs lacks {missing:?}");
}

#[test]
fn a_library_that_is_not_found_is_named_with_every_place() {
    let folder = tempfile::tempdir().unwrap();
    let checks = checks(folder.path());
    let version = |paths: &Path| {
        let mut mono = mono(&checks);
        mono.arg("version").env("LD_LIBRARY_PATH", paths);
        mono
    };
    let empty = tempfile::tempdir().unwrap();
    let complaint = complaint_of(&mut version(empty.path()));
    let native = folder.path().join("runtimes/linux-x64/native/libinfusion.so");
    for file in [folder.path().join("libinfusion.so"), native, empty.path().join("libinfusion.so")] {
        assert!(complaint.contains(&format!("{}: is not there", file.display())), "{complaint}");
    }
    fs::write(empty.path().join("libinfusion.so"), "no library").unwrap();
    let complaint = complaint_of(&mut version(empty.path()));
    assert!(complaint.contains("is there, but could not be loaded"), "{complaint}");
    assert_eq!(output_of(&mut version(&installed().join("lib"))).trim(), env!("CARGO_PKG_VERSION"));
}

/// Nothing here runs `dotnet`, so what it would read is read: the sources that mono compiled, and one version everywhere.
#[test]
fn the_package_has_the_sources_and_the_version_of_this_crate() {
    let project = fs::read_to_string(root().join("bindings/csharp/Infusion.csproj")).unwrap();
    let element = |name: &str| project.split(&format!("<{name}>")).nth(1).unwrap().split('<').next().unwrap();
    assert_eq!(element("Version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(element("TargetFramework"), "netstandard2.0");
    assert!(
        project.contains(r#"Include="src/*.cs""#) && binding().iter().all(|file| file.extension().unwrap() == "cs")
    );
    let readme = fs::read_to_string(root().join("bindings/csharp/README.md")).unwrap();
    let package = format!("{}.{}.nupkg", element("PackageId"), element("Version"));
    assert!(readme.contains(&package), "{package}");
}
