//! The graphs that are measured, in a folder of their own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use infusion::onnx::infer::infer;
use infusion::onnx::{Model, Transaction, WriteOptions};
use infusion::patch::{EmitOptions, Error, FindOptions, Variant, emit, find};
use tempfile::TempDir;

use super::mode::Mode;

/// The patched graphs of a UNet in a folder that goes with this value.
pub struct Graphs {
    source: PathBuf,
    folder: TempDir,
    made: Vec<Variant>,
}

/// The cache of optimised models of a run, among the graphs.
const CACHE: &str = "cache";

impl Graphs {
    /// Patches beside the source, where links to its weights serve; elsewhere they are copied.
    pub fn make(source: &Path, fuse: bool) -> Result<Self> {
        let source = source.canonicalize().with_context(|| source.display().to_string())?;
        let beside = source.parent().unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(".infusion-bench-");
        let folder = builder.tempdir_in(beside).or_else(|_| builder.tempdir())?;
        let model = Model::open(&source)?;
        let survey = find(&model, &infer(&model), &FindOptions::default())?;
        let mut transaction = Transaction::begin(folder.path(), WriteOptions::default())?;
        let mut made = Vec::new();
        for variant in [Variant::F, Variant::C, Variant::Dual, Variant::Shared] {
            match emit(&model, &survey, variant, &EmitOptions { fuse, ..EmitOptions::default() }) {
                Ok(graph) => transaction.model(&file(variant), &graph)?,
                Err(Error::Variant { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            made.push(variant);
        }
        transaction.commit()?;
        Ok(Self { source, folder, made })
    }

    pub fn allow(&self, mode: Mode) -> bool {
        mode.graphs().iter().all(|variant| self.made.contains(variant))
    }

    pub fn source(&self) -> &Path {
        &self.source
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join(CACHE)
    }
}

/// The file of `variant` in the folder.
pub fn file(variant: Variant) -> String {
    format!("{variant}.onnx")
}
