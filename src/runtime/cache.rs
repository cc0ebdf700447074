//! Optimised models kept on disk, so that later starts skip optimisation and weight packing.
//!
//! An entry is a folder named by everything that decides its contents: the
//! identity of the model's file and of each file of its weights, ONNX Runtime's
//! build, the provider and its options, and the processor. It appears by one
//! rename, so a broken-off build leaves nothing behind that could be taken for
//! an entry; a changed model has another name, so an entry is never stale.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ort::session::builder::SessionBuilder;
use sha2::{Digest, Sha256};

use super::{Error, ProviderSpec, Result, SessionOptions};
use crate::onnx::Model;

/// Change when the way entries are made changes.
const FORMAT: &str = "infusion session cache 1";
const MODEL: &str = "model.onnx";
const WEIGHTS: &str = "model.onnx.data";
const SOURCE: &str = "source";

/// What the cache did for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheUse {
    /// No cache was asked for, or the provider's compiled models cannot be kept.
    Off,
    /// The session was loaded from an entry.
    Hit,
    /// An entry was made, and the session loaded from it.
    Made,
    /// An entry could not be made or read, so the session was loaded without; this is why.
    Failed(String),
}

/// A place in the cache for one model under one set of options.
pub(super) struct Entry {
    folder: PathBuf,
    source: String,
}

impl Entry {
    /// The entry for the model at `path`, or `None` where the provider's graphs cannot be saved.
    pub fn of(path: &Path, options: &SessionOptions, provider: &ProviderSpec) -> Result<Option<Self>> {
        let Some(cache) = &options.cache else { return Ok(None) };
        if !provider.keeps_optimised_models() {
            return Ok(None);
        }
        let shapes = if provider.settles_shapes() { options.shapes.as_slice() } else { &[] };
        let variant = format!("{provider} low_memory={} {shapes:?}", options.low_memory);
        let source = format!("{}\n{variant}", absolute(path).display());
        Ok(Some(Self { folder: cache.join("sessions").join(key(path, &variant)?), source }))
    }

    /// Where the optimised model is, if the entry exists.
    pub fn model(&self) -> Option<PathBuf> {
        let model = self.folder.join(MODEL);
        model.is_file().then_some(model)
    }

    /// Makes the entry by loading the model once with `builder`.
    pub fn make(&self, path: &Path, builder: SessionBuilder) -> Result<PathBuf> {
        let home = self.folder.parent().unwrap_or(Path::new("."));
        let failed = |source: std::io::Error| Error::Cache { path: home.to_owned(), source };
        std::fs::create_dir_all(home).map_err(failed)?;
        let fresh = tempfile::Builder::new().prefix(".new-").tempdir_in(home).map_err(failed)?;
        let refused = |error: ort::Error| Error::Open { model: path.to_owned(), reason: error.to_string() };
        let mut builder = builder
            .with_optimized_model_path(fresh.path().join(MODEL))?
            .with_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)?
            .with_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")?
            .with_config_entry("session.save_external_prepacked_constant_initializers", "1")?;
        drop(builder.commit_from_file(path).map_err(refused)?);
        std::fs::write(fresh.path().join(SOURCE), &self.source).map_err(failed)?;
        let fresh = fresh.keep();
        if let Err(error) = std::fs::rename(&fresh, &self.folder) {
            // Another process may have made the same entry meanwhile.
            let _ = std::fs::remove_dir_all(&fresh);
            self.model().ok_or_else(|| failed(error))?;
        }
        self.remove_outdated(home);
        Ok(self.folder.join(MODEL))
    }

    /// Removes an entry that could not be loaded.
    pub fn discard(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    /// Entries of the same model under the same options, but of an earlier state of its files.
    fn remove_outdated(&self, home: &Path) {
        let entries = std::fs::read_dir(home).into_iter().flatten().filter_map(std::result::Result::ok);
        for entry in entries.map(|entry| entry.path()).filter(|path| *path != self.folder) {
            if std::fs::read_to_string(entry.join(SOURCE)).is_ok_and(|source| source == self.source) {
                let _ = std::fs::remove_dir_all(entry);
            }
        }
    }
}

/// A name for everything that decides what an optimised model holds.
pub(super) fn key(path: &Path, variant: &str) -> Result<String> {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    add(FORMAT);
    add(ort::info());
    add(super::library::loaded().map_or("", |info| info.version.as_str()));
    add(variant);
    add(&processor());
    for file in files_of(path)? {
        add(&identity(&file)?);
    }
    let digest: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok(digest)
}

/// Bytes of the model's file and of the files of its weights.
pub(super) fn weight_bytes(path: &Path) -> Result<u64> {
    let size = |file: &PathBuf| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    Ok(files_of(path)?.iter().map(size).sum())
}

/// The model's file and every file that holds weights of it.
fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error: crate::onnx::Error| Error::Open { model: path.to_owned(), reason: error.to_string() };
    let model = Model::open(path).map_err(unreadable)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let locations = model.graph.initializers().values().flat_map(|tensor| &tensor.external_data);
    let mut files: Vec<PathBuf> =
        locations.filter(|entry| entry.key() == "location").map(|entry| folder.join(entry.value())).collect();
    files.push(path.to_owned());
    files.sort();
    files.dedup();
    Ok(files)
}

/// Path, length, times and, where the system has them, inode and change time, which no program
/// can set back: together they change whenever the contents do.
fn identity(file: &Path) -> Result<String> {
    let failed = |source: std::io::Error| Error::Cache { path: file.to_owned(), source };
    let metadata = std::fs::metadata(file).map_err(failed)?;
    let modified = metadata.modified().map_err(failed)?;
    let modified = modified.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let path = absolute(file);
    Ok(format!("{} {} {modified} {}", path.display(), metadata.len(), inode(&metadata)))
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt as _;
    format!("{} {} {} {}", metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> String {
    String::new()
}

fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The instruction sets that ONNX Runtime packs weights for.
fn processor() -> String {
    let mut features = vec![std::env::consts::ARCH, std::env::consts::OS];
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! detect {
            ($($name:tt)*) => { $(if std::is_x86_feature_detected!($name) { features.push($name); })* };
        }
        detect!("sse4.1" "avx" "avx2" "fma" "f16c" "avx512f" "avx512bw" "avx512vl" "avx512vnni" "avxvnni");
    }
    #[cfg(target_arch = "aarch64")]
    {
        macro_rules! detect {
            ($($name:tt)*) => { $(if std::arch::is_aarch64_feature_detected!($name) { features.push($name); })* };
        }
        detect!("dotprod" "fp16" "i8mm" "bf16" "sve" "sme");
    }
    format!("{} {}", features.join(" "), flags_of_linux())
}

/// The flags that Linux lists, among them those that Rust cannot ask for yet (AMX).
fn flags_of_linux() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines().find(|line| line.starts_with("flags") || line.starts_with("Features")).unwrap_or("").to_owned()
}
