//! Execution providers: where a model runs, with which options.
//!
//! To add a provider: write `<name>.rs` with a `PROVIDER` table (its names, its
//! options and the keys that ONNX Runtime knows them by, how to register it,
//! where its outputs live, whether it prepares sessions for their shapes, what it
//! needs on the machine), add a variant to [`ProviderKind`] and a line to
//! `REGISTRY`. Parsing, help, `auto`, errors and `infusion providers` follow from
//! the table.
//!
//! What each does with the streams' data:
//!
//! | provider | from F to C | inputs that do not change | shapes |
//! |---|---|---|---|
//! | `cpu` | by reference | by reference | free, or settled (`static_shapes`) |
//! | `cuda` | on the card | stay on the card | free; settled where graphs are recorded |
//! | `tensorrt` | on the card | stay on the card | settled, or a profile for a range |
//! | `directml` | on the card | sent at each run | settled |
//! | `coreml` | through the host | sent at each run | free, or settled (`static_shapes`) |
//! | `openvino` | by reference on the processor | sent at each run | settled, or free |
//!
//! The latents come to the host after each step, where scheduler and guidance are: 64 kB a picture.
//! Of these the CPU and OpenVINO on a processor have been run, no others; see README.md.

mod auto;
mod coreml;
mod cpu;
mod cuda;
mod directml;
mod openvino;
mod option;
mod tensorrt;

use std::fmt;
use std::str::FromStr;

use ort::ep::ExecutionProviderDispatch;
use ort::memory::AllocationDevice;
use ort::session::builder::SessionBuilder;

pub use auto::{Choice, available, choose};
pub use option::{ProviderOption, ValueKind};

use super::resident::Placement;
use super::session::SessionOptions;
use super::shapes::ShapeRange;
use super::{Error, Result};

/// The providers that this crate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs)]
pub enum ProviderKind {
    /// The first of CUDA, DirectML, CoreML and CPU that works on this machine.
    Auto,
    #[default]
    Cpu,
    Cuda,
    TensorRt,
    DirectMl,
    CoreMl,
    OpenVino,
}

/// A provider's table.
pub struct Provider {
    /// Which one it is.
    pub kind: ProviderKind,
    /// Its name in `--provider`.
    pub name: &'static str,
    /// Its name in ONNX Runtime.
    pub ep_name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// What it needs on the machine, for errors.
    pub needs: &'static str,
    /// Its options.
    pub options: &'static [ProviderOption],
    /// Makes it, given pairs of ONNX Runtime's keys and values.
    build: fn(&[(String, String)], &Context<'_>) -> ExecutionProviderDispatch,
    /// Whether ONNX Runtime was built with it.
    compiled_in: fn() -> bool,
    /// The memory where its outputs live, if that is not the host's.
    memory: Option<AllocationDevice<'static>>,
    /// Whether it prepares a session for the shapes that it will run with.
    settles_shapes: fn(&ProviderSpec) -> bool,
    /// Whether an input that has a default may be fed: who compiles ahead takes the default for a constant.
    keeps_defaults: bool,
}

/// Options whose keys begin so are this crate's own: ONNX Runtime does not see them.
const OWN: &str = "infusion.";

/// What a provider may want to know of the session that it is registered for.
pub(super) struct Context<'a> {
    /// How the session is made.
    pub options: &'a SessionOptions,
    /// Identifies model, patch, shapes and versions in file names of caches.
    pub cache_key: &'a str,
    /// Inputs with a free axis, and how long it may be.
    pub ranges: &'a [ShapeRange],
    /// Bytes of the model with its weights.
    pub weight_bytes: u64,
}

/// Every provider, in the order of `infusion providers`.
pub static REGISTRY: [&Provider; 6] =
    [&cpu::PROVIDER, &cuda::PROVIDER, &tensorrt::PROVIDER, &directml::PROVIDER, &coreml::PROVIDER, &openvino::PROVIDER];

impl ProviderKind {
    /// The provider's table; `None` for [`ProviderKind::Auto`].
    pub fn provider(self) -> Option<&'static Provider> {
        REGISTRY.into_iter().find(|provider| provider.kind == self)
    }
}

/// A provider and its options, as in `cuda:device=0,arena=same-as-requested`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProviderSpec {
    /// Which provider.
    pub kind: ProviderKind,
    /// The options as given, by this crate's names, checked.
    options: Vec<(String, String)>,
}

impl ProviderSpec {
    /// A provider with its default options.
    pub fn new(kind: ProviderKind) -> Self {
        Self { kind, options: Vec::new() }
    }

    /// The text of the option called `name`, if it was given.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The index of the device, where the provider has several; 0 unless given.
    pub fn device_id(&self) -> i32 {
        self.option("device").and_then(|device| device.parse().ok()).unwrap_or(0)
    }

    /// The options by ONNX Runtime's keys and values.
    fn translated(&self, provider: &Provider) -> Result<Vec<(String, String)>> {
        let pairs = self.options.iter().map(|(name, value)| {
            let option = provider.option(name)?;
            Ok((option.key.to_owned(), option.translate(provider.name, value)?))
        });
        pairs.filter(|pair| !pair.as_ref().is_ok_and(|(key, _)| key.starts_with(OWN))).collect()
    }

    /// Whether the option called `name` was given as yes.
    fn says_yes(&self, name: &str) -> Option<bool> {
        let option = self.kind.provider()?.option(name).ok()?;
        Some(option.translate("", self.option(name)?).ok()? == "1")
    }

    /// The least and the most of an option that is a range, such as `512-768`.
    pub fn range(&self, name: &str) -> Option<(usize, usize)> {
        option::range(self.option(name)?)
    }

    /// Whether sessions are prepared for the shapes that they will run with
    /// ([`SessionOptions::shapes`]), so that all inputs had better be fed and of one size.
    pub fn settles_shapes(&self) -> bool {
        self.kind.provider().is_some_and(|provider| (provider.settles_shapes)(self))
    }

    /// Whether inputs may have defaults and be fed all the same. Where not, models are to be without them:
    /// what is fed would have no effect, and nobody would tell.
    pub fn keeps_defaults(&self) -> bool {
        !self.settles_shapes() && self.kind.provider().is_none_or(|provider| provider.keeps_defaults)
    }

    /// Whether the options ask for CUDA graphs.
    pub fn asks_for_graphs(&self) -> bool {
        self.kind == ProviderKind::Cuda && self.says_yes("graphs") == Some(true)
    }

    /// Whether sessions that are made to be recorded keep the addresses of what they read and write. On the CPU
    /// nothing is recorded, but the same is done, for tests.
    pub(super) fn keeps_addresses(&self) -> bool {
        self.asks_for_graphs() || (self.kind == ProviderKind::Cpu && self.says_yes("static_shapes") == Some(true))
    }

    /// Whether an optimised model can be saved and loaded again: not with layouts that only the provider
    /// knows, and not where the recorder wants to see the graph as it was exported.
    pub(super) fn keeps_optimised_models(&self) -> bool {
        match self.kind {
            ProviderKind::Cpu => true,
            ProviderKind::Cuda => !self.asks_for_graphs() && self.says_yes("nhwc") != Some(true),
            _ => false,
        }
    }

    /// Where resident runs keep their inputs and output; `None` where that is the host's memory, or the
    /// provider is not known to serve them. What a CUDA graph reads in place is written without pinned memory.
    pub(super) fn placement(&self, fixed: bool) -> Option<Placement> {
        let (device, id) = match self.kind {
            ProviderKind::Cpu if fixed => (AllocationDevice::CPU, 0),
            _ => self.device_memory().filter(|(device, _)| *device == AllocationDevice::CUDA)?,
        };
        let pinned = (!fixed && self.says_yes("pinned") != Some(false)).then_some(AllocationDevice::CUDA_PINNED);
        Some(Placement { device, id, pinned, fixed })
    }

    /// The error of a model that could not be loaded, with what to do where the options are the reason.
    pub(super) fn advised(&self, error: Error, options: &SessionOptions) -> Error {
        match error {
            Error::Open { model, reason } if options.record && self.asks_for_graphs() => {
                let advice = "CUDA graphs (graphs=yes) need every node on the card and shapes that do not change; \
                              leave graphs=yes out, or export the model anew with plain operators";
                Error::Open { model, reason: format!("{reason}. {advice}") }
            }
            other => other,
        }
    }

    /// Whether it reads inputs and leaves outputs in the host's memory.
    pub fn computes_on_host(&self) -> bool {
        self.device_memory().is_none()
    }

    /// The memory that outputs kept on the device live in; `None` for the host's.
    pub(super) fn device_memory(&self) -> Option<(AllocationDevice<'static>, i32)> {
        let memory = self.kind.provider()?.memory.clone()?;
        Some((memory, self.device_id()))
    }

    /// Registers the provider; nothing falls back to the CPU unsaid.
    pub(super) fn register(&self, builder: SessionBuilder, context: &Context<'_>) -> Result<SessionBuilder> {
        let Some(provider) = self.kind.provider() else { return Ok(builder) };
        if !(provider.compiled_in)() {
            return Err(provider.not_compiled_in());
        }
        let builder = match self.kind {
            ProviderKind::DirectMl => builder.with_memory_pattern(false)?.with_parallel_execution(false)?,
            _ => builder,
        };
        let mut dispatches = vec![(provider.build)(&self.translated(provider)?, context).error_on_failure()];
        if self.kind == ProviderKind::TensorRt {
            // What TensorRT does not take stays on the card.
            let device = ("device_id".to_owned(), self.device_id().to_string());
            dispatches.push((cuda::PROVIDER.build)(&[device], context).error_on_failure());
        }
        builder.with_execution_providers(dispatches).map_err(|error| provider.not_usable(&error.to_string()))
    }
}

impl Provider {
    fn option(&self, name: &str) -> Result<&'static ProviderOption> {
        self.options.iter().find(|option| option.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.options.iter().map(|option| option.name).collect();
            let known =
                if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
            Error::InvalidOption {
                option: format!("provider {}", self.name),
                reason: format!("there is no option '{name}'; {known}"),
            }
        })
    }

    fn not_compiled_in(&self) -> Error {
        let library = super::library::loaded();
        let place = library
            .and_then(|info| info.path.as_ref())
            .map_or("the host's library".into(), |path| path.to_string_lossy());
        let version = library.map_or("?", |info| info.version.as_str());
        let present: Vec<&str> =
            REGISTRY.iter().filter(|other| (other.compiled_in)()).map(|other| other.name).collect();
        Error::Provider {
            provider: self.name.to_owned(),
            reason: format!(
                "{place} (ONNX Runtime {version}) was built without {}; it has {}. {}",
                self.ep_name,
                present.join(", "),
                self.needs
            ),
        }
    }

    fn not_usable(&self, reason: &str) -> Error {
        Error::Provider { provider: self.name.to_owned(), reason: format!("{}. {}", plain(reason), self.needs) }
    }
}

/// What ONNX Runtime says, without the place in its source and the code before it.
fn plain(reason: &str) -> &str {
    let said = reason.split_once("[ONNXRuntimeError] : ").and_then(|(_, rest)| rest.splitn(3, " : ").nth(2));
    said.unwrap_or(reason).trim()
}

impl FromStr for ProviderSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason: String| Error::InvalidOption { option: format!("provider '{text}'"), reason };
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let name = name.trim().to_ascii_lowercase();
        let pairs = rest.split(',').filter(|pair| !pair.trim().is_empty());
        if name == "auto" {
            return match pairs.count() {
                0 => Ok(Self::new(ProviderKind::Auto)),
                _ => Err(wrong("auto takes no options; name the provider they are for".to_owned())),
            };
        }
        let provider = REGISTRY.into_iter().find(|provider| provider.name == name).ok_or_else(|| {
            let names: Vec<&str> = REGISTRY.iter().map(|provider| provider.name).collect();
            wrong(format!("there is no such provider; there are auto, {}", names.join(", ")))
        })?;
        let mut spec = Self::new(provider.kind);
        for pair in pairs {
            let (option, value) =
                pair.split_once('=').ok_or_else(|| wrong(format!("'{pair}' is not of the form option=value")))?;
            let (option, value) = (option.trim(), value.trim());
            provider.option(option)?.translate(provider.name, value)?;
            if spec.option(option).is_some() {
                return Err(wrong(format!("option '{option}' is given twice")));
            }
            spec.options.push((option.to_owned(), value.to_owned()));
        }
        Ok(spec)
    }
}

impl fmt::Display for ProviderSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind.provider().map_or("auto", |provider| provider.name))?;
        for (index, (name, value)) in self.options.iter().enumerate() {
            write!(formatter, "{}{name}={value}", if index == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
