mod build;
mod run;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ort::session::builder::GraphOptimizationLevel;

use self::build::{Preparation, builder};
use super::outputs::DeviceTensor;
use super::providers::{self, ProviderSpec};
use super::resident::Resident;
use super::{Assignment, CacheUse, Error, Result, ShapeRange, Tensor, TensorSpec, cache};

/// The option of a run that tells recorded graphs apart, and the value of it with which none is used.
pub(super) const GRAPH: &str = "gpu_graph_id";
const NO_GRAPH: &str = "-1";
/// The most resident bindings of a session: `f` runs for all rows and for some alone, with and without its maps.
const RESIDENTS: usize = 4;

/// How a session is made.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Where the model runs; [`ProviderKind::Cpu`](super::ProviderKind::Cpu) by default.
    pub provider: ProviderSpec,
    /// Folder of the caches: optimised models and engines; `None` caches nothing.
    pub cache: Option<PathBuf>,
    /// Lengths that inputs take, for providers that prepare for them
    /// ([`ProviderSpec::settles_shapes`]): axes of one length are fixed, of others the range is told.
    pub shapes: Vec<ShapeRange>,
    /// Record the session's work as a CUDA graph, where the provider's options ask for graphs:
    /// [`Session::run_resident`] and [`Session::run_again`] then replay it.
    pub record: bool,
    /// Threads of this session's own pool; `None` shares one pool among all sessions, which
    /// therefore never oversubscribe the cores.
    pub threads: Option<usize>,
    /// Spend less memory at the price of speed: no memory arena, no prepacked weights.
    pub low_memory: bool,
}

/// A loaded model that any number of threads may share; runs take turns.
#[derive(Debug)]
pub struct Session {
    model: Arc<Path>,
    inputs: Vec<TensorSpec>,
    optional_inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    provider: ProviderSpec,
    assignment: Option<Assignment>,
    cache: CacheUse,
    /// Whether runs are recorded as CUDA graphs, or could be.
    records: bool,
    inner: Mutex<Inner>,
    /// Held from a recorded run until its outputs on the device were read.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct Inner {
    session: ort::session::Session,
    /// The last one that was used comes first.
    residents: Vec<Resident>,
    /// How many resident bindings there have been.
    bindings: i32,
}

/// What is fed to one input of a run.
#[derive(Clone, Copy, Debug)]
pub enum Feed<'a> {
    /// A tensor in the host's memory.
    Host(&'a Tensor),
    /// Another session's output, where it was computed.
    Device(&'a DeviceTensor),
}

impl<'a> From<&'a Tensor> for Feed<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self::Host(tensor)
    }
}

impl<'a> From<&'a DeviceTensor> for Feed<'a> {
    fn from(tensor: &'a DeviceTensor) -> Self {
        Self::Device(tensor)
    }
}

/// What becomes of one output of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// It comes back in the host's memory.
    Host,
    /// It stays where it was computed.
    Device,
    /// It is not wanted.
    Skip,
}

impl Session {
    /// Loads the model at `path`; loads the library by the default search if none is loaded yet.
    ///
    /// # Errors
    /// No library, a model that ONNX Runtime refuses, a provider that cannot be used.
    pub fn open(path: impl AsRef<Path>, options: &SessionOptions) -> Result<Self> {
        let path = path.as_ref();
        let provider = providers::choose(&options.provider)?.spec;
        let Some(entry) = cache::Entry::of(path, options, &provider)? else {
            return Self::load(path, path, options, provider, GraphOptimizationLevel::All);
        };
        let made = match entry.model() {
            Some(model) => Ok((model, CacheUse::Hit)),
            None => {
                let preparation = Preparation::of(path, options, &provider)?;
                entry.make(path, builder(options, &provider, &preparation)?).map(|model| (model, CacheUse::Made))
            }
        };
        let cached = made.and_then(|(model, use_of_cache)| {
            let session = Self::load(path, &model, options, provider.clone(), GraphOptimizationLevel::Disable)?;
            Ok(Self { cache: use_of_cache, ..session })
        });
        cached.or_else(|error| {
            entry.discard();
            let session = Self::load(path, path, options, provider, GraphOptimizationLevel::All)?;
            Ok(Self { cache: CacheUse::Failed(error.to_string()), ..session })
        })
    }

    /// Loads `file` as the model known as `path`.
    fn load(
        path: &Path,
        file: &Path,
        options: &SessionOptions,
        provider: ProviderSpec,
        level: GraphOptimizationLevel,
    ) -> Result<Self> {
        let refused = |error: ort::Error| Error::Open { model: path.to_owned(), reason: error.to_string() };
        let preparation = Preparation::of(path, options, &provider)?;
        let mut builder = builder(options, &provider, &preparation)?.with_optimization_level(level)?;
        let session =
            builder.commit_from_file(file).map_err(refused).map_err(|error| provider.advised(error, options))?;
        Self::new(path, session, provider, options)
    }

    /// Loads a model from memory; `name` stands for its file in messages.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn from_bytes(bytes: &[u8], name: impl AsRef<Path>, options: &SessionOptions) -> Result<Self> {
        let name = name.as_ref();
        let refused = |error: ort::Error| Error::Open { model: name.to_owned(), reason: error.to_string() };
        let provider = providers::choose(&options.provider)?.spec;
        let mut builder = builder(options, &provider, &Preparation::default())?;
        let session = builder.commit_from_memory(bytes).map_err(refused)?;
        Self::new(name, session, provider, options)
    }

    fn new(
        path: &Path,
        session: ort::session::Session,
        provider: ProviderSpec,
        options: &SessionOptions,
    ) -> Result<Self> {
        let model: Arc<Path> = path.into();
        let spec = |name: &str, dtype: &ort::value::ValueType, optional: bool| {
            TensorSpec::from_ort(name, dtype, optional).map_err(|reason| Error::Tensor {
                model: model.to_path_buf(),
                tensor: name.to_owned(),
                reason,
            })
        };
        let inputs: Vec<_> =
            session.inputs().iter().map(|outlet| spec(outlet.name(), outlet.dtype(), false)).collect::<Result<_>>()?;
        let outputs =
            session.outputs().iter().map(|outlet| spec(outlet.name(), outlet.dtype(), false)).collect::<Result<_>>()?;
        // Old files list every weight as an input; types that tensors here cannot hold are none of ours.
        let defaults = session.overridable_initializers();
        let optional_inputs =
            defaults.iter().filter_map(|input| TensorSpec::from_ort(input.name(), input.dtype(), true).ok()).collect();
        let assignment = Assignment::of(&session);
        Ok(Self {
            model,
            inputs,
            optional_inputs,
            outputs,
            records: options.record && provider.keeps_addresses(),
            provider,
            assignment,
            cache: CacheUse::Off,
            inner: Mutex::new(Inner { session, residents: Vec::new(), bindings: 0 }),
            turn: Mutex::new(()),
        })
    }

    /// The model's file.
    pub fn model(&self) -> &Path {
        &self.model
    }

    /// The inputs that must be fed, in the model's order.
    pub fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    /// The inputs that have a default.
    pub fn optional_inputs(&self) -> &[TensorSpec] {
        &self.optional_inputs
    }

    /// The outputs, in the model's order.
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    /// The provider in use, never `auto`.
    pub fn provider(&self) -> &ProviderSpec {
        &self.provider
    }

    /// Whether runs are recorded as CUDA graphs, so that their inputs and outputs keep their addresses.
    pub fn records(&self) -> bool {
        self.records
    }

    /// Keeps other threads that ask for it from rewriting what [`Session::run_again`] leaves on the device, as
    /// long as the guard lives; `None` where nothing is rewritten.
    pub fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        self.records.then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many nodes each provider runs; `None` before ONNX Runtime 1.24, which does not tell.
    pub fn assignment(&self) -> Option<&Assignment> {
        self.assignment.as_ref()
    }

    /// What the cache of [`SessionOptions::cache`] did for this session.
    pub fn cache_use(&self) -> &CacheUse {
        &self.cache
    }

    /// The required or optional input called `name`.
    pub fn input(&self, name: &str) -> Option<&TensorSpec> {
        self.inputs.iter().chain(&self.optional_inputs).find(|spec| spec.name == name)
    }

    /// The output called `name`.
    pub fn output(&self, name: &str) -> Option<&TensorSpec> {
        self.outputs.iter().find(|spec| spec.name == name)
    }
}

#[cfg(test)]
mod tests;
