//! Hosts that tests build: compilers, the library and the programs as cargo built them.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that must be there: `make test-tools` installs it, and CI has run that.
pub fn tool(name: &str) -> Command {
    let found = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|folder| folder.join(name).is_file()));
    assert!(
        found,
        "'{name}' is not installed; 'make test-tools' (as root) installs what the tests of the bindings need"
    );
    Command::new(name)
}

/// Runs it and gives what it printed.
pub fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Runs it to its failure and gives what it complained of.
pub fn complaint_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(!output.status.success(), "{command:?} should have failed");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The shared library, which cargo builds beside the tests.
pub fn library() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let name = format!("{}infusion{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = deps.join(name);
    assert!(library.is_file(), "{} is missing", library.display());
    library
}

/// A folder with links to the library and both programs, as `target/release` has them after `make build`.
pub fn built() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = [library(), env!("CARGO_BIN_EXE_infusion").into(), PathBuf::from(env!("CARGO_BIN_EXE_infusion-patch"))];
    for file in files {
        std::os::unix::fs::symlink(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    folder
}

/// The files below `folder`, relative to it, sorted.
pub fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path().strip_prefix(folder).unwrap().to_string_lossy().into_owned()),
            }
        }
    }
    files.sort();
    files
}
