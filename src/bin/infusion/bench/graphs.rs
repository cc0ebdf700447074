//! The graphs that are measured, in a folder of their own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use infusion::onnx::infer::infer;
use infusion::onnx::{Model, Transaction, WriteOptions};
use infusion::patch::{EmitOptions, Error, FindOptions, drop_defaults, emit, find};
use tempfile::TempDir;

use super::mode::{Graph, Mode};

/// The patched graphs of a UNet in a folder that goes with this value.
pub struct Graphs {
    source: PathBuf,
    folder: TempDir,
    made: Vec<Graph>,
}

/// The cache of optimised models of a run, among the graphs.
const CACHE: &str = "cache";

impl Graphs {
    /// Makes the graphs of `modes` beside the source, where links to its weights serve; elsewhere they are copied.
    ///
    /// Without `defaults`, every input must be fed, as for engines.
    pub fn make(source: &Path, modes: &[Mode], fuse: bool, defaults: bool) -> Result<Self> {
        let source = source.canonicalize().with_context(|| source.display().to_string())?;
        let beside = source.parent().unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(".infusion-bench-");
        let folder = builder.tempdir_in(beside).or_else(|_| builder.tempdir())?;
        let model = Model::open(&source)?;
        let survey = find(&model, &infer(&model), &FindOptions::default())?;
        let mut transaction = Transaction::begin(folder.path(), WriteOptions::default())?;
        let mut made: Vec<Graph> = Vec::new();
        for &graph in modes.iter().flat_map(|mode| mode.graphs()) {
            if made.contains(&graph) {
                continue;
            }
            let options = EmitOptions { fuse: fuse || graph.fused_by_default(), memory: graph.memory };
            let mut emitted = match emit(&model, &survey, graph.variant, &options) {
                Err(Error::Variant { .. }) => continue,
                emitted => emitted?,
            };
            if !defaults {
                drop_defaults(&mut emitted);
            }
            transaction.model(&graph.file(), &emitted)?;
            made.push(graph);
        }
        transaction.commit()?;
        Ok(Self { source, folder, made })
    }

    pub fn allow(&self, mode: Mode) -> bool {
        mode.graphs().iter().all(|graph| self.made.contains(graph))
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
