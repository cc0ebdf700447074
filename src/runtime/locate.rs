use std::path::{Path, PathBuf};

/// A file that may be an ONNX Runtime library, and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub path: PathBuf,
    pub place: &'static str,
}

/// One place of the search: its name, and the files found there.
pub(super) struct Place {
    pub name: &'static str,
    pub looked_at: String,
    pub files: Vec<PathBuf>,
}

/// Where to look when the user names no library, in order.
pub(super) fn places() -> Vec<Place> {
    vec![loaded_by_host(), beside_program(), fetched_by_setup(), system_loader(), python_packages()]
}

/// Whether a file's name is that of the library itself, not of a provider or binding.
fn is_library(name: &str) -> bool {
    let stem = match name.split_once("onnxruntime") {
        Some(("lib" | "", rest)) => rest,
        _ => return false,
    };
    stem == ".dll" || stem == ".dylib" || (stem.starts_with('.') && stem.ends_with(".dylib")) || stem.starts_with(".so")
}

/// The libraries in `folder`, newest version first by name.
pub(super) fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(is_library))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.reverse();
    found
}

fn listed(folders: &[PathBuf]) -> String {
    match folders {
        [] => "nothing to look at".to_owned(),
        _ => folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}

fn in_folders(name: &'static str, folders: Vec<PathBuf>) -> Place {
    let files = folders.iter().flat_map(|folder| libraries_in(folder)).collect();
    Place { name, looked_at: listed(&folders), files }
}

/// The libraries that the process has loaded, where Linux lists them.
pub(super) fn in_process() -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut files: Vec<PathBuf> = maps
        .lines()
        .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_library))
        .map(Path::to_owned)
        .collect();
    files.dedup();
    files
}

/// A library that the host has loaded; two copies in one process do not work together.
fn loaded_by_host() -> Place {
    let looked_at = "libraries of this process".to_owned();
    Place { name: "already in the process", looked_at, files: in_process() }
}

fn program_folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.canonicalize().unwrap_or(program).parent().map(Path::to_owned)
}

fn beside_program() -> Place {
    let folder = program_folder();
    let folders = folder.into_iter().flat_map(|folder| [folder.clone(), folder.join("lib"), folder.join("../lib")]);
    in_folders("beside the program", folders.collect())
}

/// The folders that contain the program and the working directory, innermost first.
fn surroundings() -> Vec<PathBuf> {
    let starts = [program_folder(), std::env::current_dir().ok()];
    let mut all: Vec<PathBuf> = Vec::new();
    for folder in starts.iter().flatten().flat_map(|start| start.ancestors()) {
        if !all.iter().any(|known| known == folder) {
            all.push(folder.to_owned());
        }
    }
    all
}

/// `make setup` unpacks a wheel into `target/onnxruntime`.
fn fetched_by_setup() -> Place {
    let homes = surroundings().into_iter().map(|folder| folder.join("target/onnxruntime"));
    let homes: Vec<PathBuf> = homes.filter(|home| home.is_dir()).collect();
    let folders = homes.iter().flat_map(|home| [home.clone(), home.join("onnxruntime/capi"), home.join("lib")]);
    let mut place = in_folders("fetched by `make setup`", folders.collect());
    if homes.is_empty() {
        place.looked_at = "target/onnxruntime of the program's or working folder or above: absent".to_owned();
    }
    place
}

/// Bare names: the system's loader knows where they are, if anywhere.
fn system_loader() -> Place {
    let names: &[&str] = if cfg!(target_os = "windows") {
        &["onnxruntime.dll"]
    } else if cfg!(target_os = "macos") {
        &["libonnxruntime.dylib", "libonnxruntime.1.dylib"]
    } else {
        &["libonnxruntime.so.1", "libonnxruntime.so"]
    };
    Place { name: "the system's loader", looked_at: names.join(", "), files: names.iter().map(PathBuf::from).collect() }
}

fn python_packages() -> Place {
    let folders = site_packages().into_iter().map(|site| site.join("onnxruntime/capi"));
    let folders: Vec<PathBuf> = folders.filter(|folder| folder.is_dir()).collect();
    let mut place = in_folders("an installed Python package", folders);
    if place.files.is_empty() && place.looked_at == "nothing to look at" {
        place.looked_at =
            "package `onnxruntime` of VIRTUAL_ENV, CONDA_PREFIX, python3 on PATH, .venv and venv here or above: absent"
                .to_owned();
    }
    place
}

fn site_packages() -> Vec<PathBuf> {
    let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(std::env::var_os).map(PathBuf::from);
    let nearby = surroundings().into_iter().flat_map(|folder| [folder.join(".venv"), folder.join("venv")]);
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let with_python = on_path.filter(|folder| folder.join("python3").exists() || folder.join("python.exe").exists());
    let prefixes = with_python.filter_map(|bin| bin.parent().map(Path::to_owned));
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local"));
    let mut sites: Vec<PathBuf> = Vec::new();
    for prefix in environments.chain(nearby).chain(prefixes).chain(home) {
        sites.extend(sites_of(&prefix));
    }
    sites.push(PathBuf::from("/usr/lib/python3/dist-packages"));
    sites
}

/// `lib/python3.*/{site,dist}-packages` (`Lib/site-packages` on Windows) under `prefix`.
fn sites_of(prefix: &Path) -> Vec<PathBuf> {
    let versions = std::fs::read_dir(prefix.join("lib")).into_iter().flatten().filter_map(Result::ok);
    let versions = versions.filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"));
    let mut sites: Vec<PathBuf> =
        versions.flat_map(|entry| [entry.path().join("site-packages"), entry.path().join("dist-packages")]).collect();
    sites.push(prefix.join("Lib/site-packages"));
    sites.push(prefix.join("site-packages"));
    sites
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_library_from_its_companions() {
        for name in ["libonnxruntime.so", "libonnxruntime.so.1.32.0", "onnxruntime.dll", "libonnxruntime.1.20.dylib"] {
            assert!(is_library(name), "{name}");
        }
        for name in ["libonnxruntime_providers_shared.so", "onnxruntime_pybind11_state.so", "libfoo.so", "onnxruntime"]
        {
            assert!(!is_library(name), "{name}");
        }
    }

    #[test]
    fn finds_a_wheel_unpacked_into_a_prefix() {
        let prefix = tempfile::tempdir().unwrap();
        let capi = prefix.path().join("lib/python3.11/site-packages/onnxruntime/capi");
        std::fs::create_dir_all(&capi).unwrap();
        std::fs::write(capi.join("libonnxruntime.so.1.32.0"), b"").unwrap();
        std::fs::write(capi.join("libonnxruntime_providers_shared.so"), b"").unwrap();
        let found: Vec<_> =
            sites_of(prefix.path()).iter().flat_map(|site| libraries_in(&site.join("onnxruntime/capi"))).collect();
        assert_eq!(found, [capi.join("libonnxruntime.so.1.32.0")]);
    }

    #[test]
    fn every_place_says_where_it_looked() {
        assert!(places().iter().all(|place| !place.looked_at.is_empty()));
    }
}
