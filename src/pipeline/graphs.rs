use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::concept::LayerSpec;
use crate::onnx::infer::infer;
use crate::onnx::write::Overwrite;
use crate::onnx::{Model, Transaction, WriteOptions};
use crate::patch::{self, EmitOptions, FindOptions, Manifest, Variant, emit, find};
use crate::runtime::{ProviderKind, SessionOptions, providers};

use super::{Error, Result};

static MAKING: Mutex<()> = Mutex::new(());

/// A graph of the UNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Graph {
    Source,
    F,
    C,
    Dual,
    Shared,
}

impl Graph {
    pub(super) const ALL: [Self; 5] = [Self::Source, Self::F, Self::C, Self::Dual, Self::Shared];

    /// Its name in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::F => "f",
            Self::C => "c",
            Self::Dual => "dual",
            Self::Shared => "shared",
        }
    }
}

/// How the files of graphs without defaults end.
const ENGINE: &str = "engine.onnx";

/// The UNet's graphs on disk, and what a concept has to fit.
#[derive(Clone, Debug)]
pub struct UnetGraphs {
    files: HashMap<Graph, PathBuf>,
    /// The cross-attention layers in order of execution.
    pub layers: Vec<LayerSpec>,
    /// The hash that concepts name their model by; `None` where the weights are quantised or packed.
    pub base_model_hash: Option<String>,
}

impl UnetGraphs {
    /// The file of `graph`, if it could be made of this export.
    pub fn path(&self, graph: Graph) -> Option<&Path> {
        self.files.get(&graph).map(PathBuf::as_path)
    }

    /// The graphs of the UNet at `path`, which may be the export, one of its patched graphs, or their manifest.
    /// Where the export itself is no longer there, its patched graphs do without it.
    ///
    /// # Errors
    /// As [`UnetGraphs::find_or_make`]; the manifest cannot be read.
    pub fn open(path: &Path, elsewhere: Option<&Path>, fuse: bool) -> Result<Self> {
        let Some(manifest_path) = manifest_of(path) else { return Self::find_or_make(path, elsewhere, fuse) };
        let unreadable = |reason: String| Error::folder(&manifest_path, reason);
        let bytes = std::fs::read(&manifest_path).map_err(|error| unreadable(error.to_string()))?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| unreadable(format!("is no manifest of patched graphs: {error}")))?;
        let folder = manifest_path.parent().unwrap_or(Path::new(""));
        let source = folder.join(&manifest.source.file);
        if source.is_file() {
            return Self::find_or_make(&source, elsewhere, fuse);
        }
        let mut graphs = Self::of(&source, folder, &manifest);
        graphs.files.remove(&Graph::Source);
        Ok(graphs)
    }

    /// The hash that concepts name their model by, or words to that effect that no concept has.
    pub(super) fn known_hash(&self) -> &str {
        self.base_model_hash.as_deref().unwrap_or("unknown (its weights are quantised or packed)")
    }

    /// The graphs that there are, by name, in the order of [`Graph::ALL`].
    pub fn files(&self) -> Vec<(&'static str, &Path)> {
        Graph::ALL.into_iter().filter_map(|graph| Some((graph.name(), self.path(graph)?))).collect()
    }

    /// The file of `graph` in a form of which every input must be fed, as it is compiled ahead for fixed
    /// shapes; made beside the graph if need be.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub(super) fn without_defaults(&self, graph: Graph) -> Result<Option<PathBuf>> {
        let Some(path) = self.path(graph) else { return Ok(None) };
        if !matches!(graph, Graph::Dual | Graph::Shared) {
            return Ok(Some(path.to_owned()));
        }
        let target = path.with_extension(ENGINE);
        let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
        if modified(&target).is_some_and(|made| Some(made) >= modified(path)) {
            return Ok(Some(target));
        }
        let mut model = Model::open(path)?;
        if !patch::drop_defaults(&mut model) {
            return Ok(Some(path.to_owned()));
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let overwrite = Overwrite::Named(HashSet::from([name.clone()]));
        let folder = target.parent().unwrap_or(Path::new(""));
        let mut transaction = Transaction::begin(folder, WriteOptions { overwrite, ..Default::default() })?;
        transaction.model(&name, &model)?;
        transaction.commit()?;
        Ok(Some(target))
    }

    /// Finds the patched graphs of the UNet at `source` by their manifest, beside it or under
    /// `elsewhere`, or makes them: beside it, or under `elsewhere` where that cannot be written. With `fuse`,
    /// what is made has fused attention; without, graphs with fused attention do not serve.
    ///
    /// # Errors
    /// The UNet cannot be patched, or the graphs can be written nowhere.
    pub fn find_or_make(source: &Path, elsewhere: Option<&Path>, fuse: bool) -> Result<Self> {
        let beside = source.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let elsewhere = elsewhere.map(|folder| folder.join(key(source)));
        let folders = [Some(beside), elsewhere.as_deref()];
        // Handles that are opened side by side must not write the same files.
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = folders.iter().flatten().find_map(|folder| Self::up_to_date(source, folder, fuse)) {
            return Ok(known);
        }
        match (make(source, beside, fuse), elsewhere) {
            (Ok(manifest), _) => Ok(Self::of(source, beside, &manifest)),
            (Err(Error::Onnx(_)), Some(folder)) => {
                std::fs::create_dir_all(&folder).map_err(|error| Error::folder(&folder, error.to_string()))?;
                Ok(Self::of(source, &folder, &make(source, &folder, fuse)?))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The graphs in `folder`, if their manifest is of this version and newer than the source.
    fn up_to_date(source: &Path, folder: &Path, fused_serves: bool) -> Option<Self> {
        let path = folder.join(Manifest::file_name(&stem(source)));
        let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
        let manifest: Manifest = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        let same = source.file_name().is_some_and(|name| *name == *manifest.source.file);
        let complete = manifest.files.iter().all(|file| folder.join(file).is_file());
        let current = manifest.version == Manifest::VERSION && modified(&path)? >= modified(source)?;
        let serves = fused_serves || !manifest.fused;
        (same && complete && current && serves).then(|| Self::of(source, folder, &manifest))
    }

    fn of(source: &Path, folder: &Path, manifest: &Manifest) -> Self {
        let patched = Graph::ALL.into_iter().filter_map(|graph| {
            let file = manifest.graphs.get(graph.name())?;
            Some((graph, folder.join(file)))
        });
        let layers = manifest.layers.iter();
        let layers = layers.map(|layer| LayerSpec { module_path: layer.module_path.clone(), width: layer.width });
        Self {
            files: patched.chain([(Graph::Source, source.to_owned())]).collect(),
            layers: layers.collect(),
            base_model_hash: manifest.base_model_hash.clone(),
        }
    }
}

/// Whether graphs with fused attention serve sessions that are made so: other providers than the processor's
/// lack the operator, or some of the forms that are written here.
pub(super) fn fused_serves(options: &SessionOptions) -> Result<bool> {
    Ok(providers::choose(&options.provider)?.spec.kind == ProviderKind::Cpu)
}

fn stem(source: &Path) -> String {
    source.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The manifest that `path` is, or that lists it among its graphs.
fn manifest_of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    if name.ends_with(".infusion.json") {
        return Some(path.to_owned());
    }
    let stem = Variant::ALL
        .into_iter()
        .find_map(|variant| name.strip_suffix(&format!(".{variant}.onnx")).map(str::to_owned))?;
    let beside = path.with_file_name(Manifest::file_name(&stem));
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(&beside).ok()?).ok()?;
    manifest.graphs.values().any(|graph| *graph == name).then_some(beside)
}

/// A folder name for the graphs of one source among those of others.
fn key(source: &Path) -> String {
    let path = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    let digest = Sha256::digest(path.to_string_lossy().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Writes every graph that can be made of `source`, and the manifest, into `folder`.
fn make(source: &Path, folder: &Path, fuse: bool) -> Result<Manifest> {
    let model = Model::open(source)?;
    let survey = find(&model, &infer(&model), &FindOptions::default())?;
    let stem = stem(source);
    let mut manifest = Manifest { fused: fuse, ..Manifest::describe(&model, &survey)? };
    let options = EmitOptions { fuse, ..EmitOptions::default() };
    let overwrite = Overwrite::Named(own_files(folder, &stem));
    let mut transaction = Transaction::begin(folder, WriteOptions { overwrite, ..Default::default() })?;
    for variant in Variant::ALL.into_iter().filter(|variant| *variant != Variant::Train) {
        let graph = match emit(&model, &survey, variant, &options) {
            Err(patch::Error::Variant { .. }) if !matches!(variant, Variant::F | Variant::C) => continue,
            graph => graph?,
        };
        let name = Manifest::graph_name(&stem, variant);
        transaction.model(&name, &graph)?;
        manifest.graphs.insert(variant.name().to_owned(), name);
    }
    manifest.files = transaction.file_names().into_iter().collect();
    let text = serde_json::to_string_pretty(&manifest).map_err(|error| Error::folder(folder, error.to_string()))?;
    transaction.file(&Manifest::file_name(&stem), text.as_bytes())?;
    transaction.commit()?;
    Ok(manifest)
}

/// The files that an earlier run lists as its own, which may be replaced.
fn own_files(folder: &Path, stem: &str) -> HashSet<String> {
    let name = Manifest::file_name(stem);
    let earlier = std::fs::read(folder.join(&name)).ok();
    let earlier = earlier.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
    earlier.map(|manifest| manifest.files.into_iter().chain([name]).collect()).unwrap_or_default()
}
