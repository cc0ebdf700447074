//! Execution providers: where a model runs, with which options.
//!
//! To add a provider: write `<name>.rs` with a `PROVIDER` table (its names, its
//! options and the keys that ONNX Runtime knows them by, how to register it,
//! where its outputs live, what it needs on the machine), add a variant to
//! [`ProviderKind`] and a line to `REGISTRY`. Parsing, help, `auto`, errors and
//! `infusion providers` follow from the table.

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

use super::session::{SessionOptions, ShapeRange};
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
}

/// What a provider may want to know of the session that it is registered for.
pub(super) struct Context<'a> {
    /// How the session is made.
    pub options: &'a SessionOptions,
    /// Identifies model, patch, shapes and versions in file names of caches.
    pub cache_key: &'a str,
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
        pairs.collect()
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
        let dispatch = (provider.build)(&self.translated(provider)?, context).error_on_failure();
        builder.with_execution_providers([dispatch]).map_err(|error| provider.not_usable(&error.to_string()))
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
        Error::Provider { provider: self.name.to_owned(), reason: format!("{reason}. {}", self.needs) }
    }
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
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<ProviderSpec>().unwrap_err().to_string()
    }

    #[test]
    fn parses_what_it_prints() {
        for text in [
            "cpu",
            "auto",
            "cuda:device=1,arena=same-as-requested,memory_limit=4GB",
            "tensorrt:fp16=yes,device=0",
            "directml:device=0",
            "coreml:units=cpu-and-gpu",
            "openvino:type=GPU",
        ] {
            assert_eq!(text.parse::<ProviderSpec>().unwrap().to_string(), text);
        }
        assert_eq!(" CUDA : device = 1 ".parse::<ProviderSpec>().unwrap().device_id(), 1);
    }

    #[test]
    fn names_what_is_wrong() {
        assert!(error("gpu").contains("there are auto, cpu, cuda, tensorrt, directml, coreml, openvino"));
        assert!(error("cuda:speed=9").contains("no option 'speed'; it has device, arena"));
        assert!(error("cuda:device").contains("not of the form option=value"));
        assert!(error("cuda:device=x").contains("'x'"));
        assert!(error("cuda:device=0,device=1").contains("given twice"));
        assert!(error("cuda:arena=big").contains("next-power-of-two"));
        assert!(error("auto:device=0").contains("takes no options"));
    }

    #[test]
    fn options_become_the_keys_of_onnx_runtime() {
        let spec: ProviderSpec =
            "cuda:device=1,arena=same-as-requested,memory_limit=2GB,conv_search=heuristic,tf32=no".parse().unwrap();
        let pairs = spec.translated(&cuda::PROVIDER).unwrap();
        let expected = [
            ("device_id", "1"),
            ("arena_extend_strategy", "kSameAsRequested"),
            ("gpu_mem_limit", "2147483648"),
            ("cudnn_conv_algo_search", "HEURISTIC"),
            ("use_tf32", "0"),
        ];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn names_and_option_names_are_unique() {
        for provider in REGISTRY {
            assert_eq!(REGISTRY.iter().filter(|other| other.name == provider.name).count(), 1);
            for option in provider.options {
                assert_eq!(provider.options.iter().filter(|other| other.name == option.name).count(), 1);
            }
        }
    }
}
