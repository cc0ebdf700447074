//! `make install`, and a program that is built against what it installed.
#![cfg(target_os = "linux")]

#[path = "support/hosts.rs"]
mod hosts;

use std::fs;
use std::path::Path;
use std::process::Command;

use hosts::{built, complaint_of, files_below, output_of, root, tool};

/// `make install` or `uninstall` of what cargo built for the tests.
fn make(target: &str, build: &Path, settings: &[String]) -> Command {
    let mut make = tool("make");
    make.current_dir(root()).arg(target).arg(format!("BUILD={}", build.display())).args(settings);
    make
}

fn prefix(folder: &Path) -> Vec<String> {
    vec![format!("PREFIX={}", folder.display())]
}

fn source() -> std::path::PathBuf {
    root().join("tests/hosts/installed")
}

fn by_pkg_config(prefix: &Path, folder: &Path) -> String {
    let mut pkg_config = tool("pkg-config");
    pkg_config.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")).args(["--cflags", "--libs", "infusion >= 0.1"]);
    let flags = output_of(&mut pkg_config);
    let program = folder.join("by-pkg-config");
    let mut compiler = tool("c++");
    compiler.arg("-std=c++17").arg(source().join("main.cpp")).args(flags.split_whitespace()).arg("-o").arg(&program);
    output_of(&mut compiler);
    output_of(Command::new(program).env("LD_LIBRARY_PATH", prefix.join("lib")))
}

fn cmake(prefix: &Path, build: &Path) -> Command {
    let mut cmake = tool("cmake");
    cmake.arg("-S").arg(source()).arg("-B").arg(build).arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()));
    cmake
}

fn by_cmake(prefix: &Path, folder: &Path) -> String {
    let build = folder.join("by-cmake");
    output_of(&mut cmake(prefix, &build));
    output_of(tool("cmake").arg("--build").arg(&build));
    output_of(&mut Command::new(build.join("installed")))
}

#[test]
fn a_program_is_built_against_the_installed_tree() {
    let (built, folder) = (built(), tempfile::tempdir().unwrap());
    let tree = folder.path().join("tree");
    output_of(&mut make("install-built", built.path(), &prefix(&tree)));

    let files = files_below(&tree);
    let version = env!("CARGO_PKG_VERSION");
    let library = format!("lib/libinfusion.so.{version}");
    for file in [
        "bin/infusion",
        "bin/infusion-patch",
        "include/infusion.h",
        "include/infusion.hpp",
        "lib/libinfusion.so",
        "lib/libinfusion.so.0",
        &library,
    ] {
        assert!(files.iter().any(|found| found == file), "{file} is not among {files:?}");
    }
    let pages = files.iter().filter(|file| file.starts_with("share/man/man1/"));
    assert!(pages.clone().any(|page| page.ends_with("/infusion-generate.1")), "{files:?}");
    for page in pages {
        assert!(fs::read_to_string(tree.join(page)).unwrap().contains(".SH SYNOPSIS"), "{page}");
    }
    for shell in [
        "bash-completion/completions/infusion",
        "zsh/site-functions/_infusion",
        "fish/vendor_completions.d/infusion.fish",
    ] {
        assert!(fs::read_to_string(tree.join("share").join(shell)).unwrap().contains("generate"), "{shell}");
    }

    assert_eq!(by_pkg_config(&tree, folder.path()).trim(), version);
    let moved = folder.path().join("moved");
    fs::rename(&tree, &moved).unwrap();
    assert_eq!(by_cmake(&moved, folder.path()).trim(), version, "a tree may be moved");
    let refused = complaint_of(cmake(&moved, &folder.path().join("later")).arg("-DWANTED=0.2"));
    assert!(refused.contains("0.2") && refused.contains(version), "{refused}");
    fs::remove_file(moved.join(&library)).unwrap();
    let refused = complaint_of(&mut cmake(&moved, &folder.path().join("broken")));
    assert!(refused.contains("libinfusion.so.0 is missing"), "{refused}");
}

#[test]
fn a_staged_tree_names_its_final_place_and_is_removed_whole() {
    let (built, stage) = (built(), tempfile::tempdir().unwrap());
    let settings = [
        format!("DESTDIR={}", stage.path().display()),
        "PREFIX=/usr".to_owned(),
        "LIBDIR=/usr/lib/x86_64-linux-gnu".to_owned(),
    ];
    output_of(&mut make("install-built", built.path(), &settings));
    let libraries = stage.path().join("usr/lib/x86_64-linux-gnu");
    let text = fs::read_to_string(libraries.join("pkgconfig/infusion.pc")).unwrap();
    assert!(text.contains("prefix=/usr\nlibdir=/usr/lib/x86_64-linux-gnu\n"), "{text}");
    let text = fs::read_to_string(libraries.join("cmake/Infusion/InfusionConfig.cmake")).unwrap();
    assert!(text.contains("/../../../../include\""), "{text}");
    assert!(!text.contains('@'), "{text}");
    output_of(&mut make("uninstall", built.path(), &settings));
    assert_eq!(files_below(stage.path()), Vec::<String>::new());
}

#[test]
fn nothing_is_installed_where_it_could_not_be_found() {
    let (built, folder) = (built(), tempfile::tempdir().unwrap());
    let refused = complaint_of(&mut make("install-built", built.path(), &["PREFIX=relative".to_owned()]));
    assert!(refused.contains("not absolute"), "{refused}");
    let refused = complaint_of(&mut make("install-built", folder.path(), &prefix(&folder.path().join("tree"))));
    assert!(refused.contains("make build"), "{refused}");
    assert_eq!(files_below(folder.path()), Vec::<String>::new());
}
