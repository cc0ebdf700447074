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
    /// provider is not known to serve them.
    pub(super) fn placement(&self, fixed: bool) -> Option<Placement> {
        let (device, id) = self.device_memory().filter(|(device, _)| *device == AllocationDevice::CUDA)?;
        let pinned = (self.says_yes("pinned") != Some(false)).then_some(AllocationDevice::CUDA_PINNED);
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

    fn pairs(text: &str) -> Vec<(String, String)> {
        let spec: ProviderSpec = text.parse().unwrap();
        spec.translated(spec.kind.provider().unwrap()).unwrap()
    }

    #[test]
    fn every_provider_understands_its_options() {
        let known = [
            ("cuda:nhwc=yes,fuse_conv_bias=on,graphs=1", "prefer_nhwc=1 fuse_conv_bias=1 enable_cuda_graph=1"),
            ("cuda:pinned=no", ""),
            ("directml:device=2,prefer=speed,filter=any", "device_id=2 prefer=speed filter=any"),
            (
                "coreml:units=cpu-and-gpu,format=mlprogram,static_shapes=yes,cache=/tmp/c,fast=yes",
                "MLComputeUnits=CPUAndGPU ModelFormat=MLProgram RequireStaticInputShapes=1 \
                 ModelCacheDirectory=/tmp/c SpecializationStrategy=FastPrediction",
            ),
            (
                "openvino:type=HETERO:GPU.CPU,precision=fp16,threads=4,streams=2,cache=/tmp/o,dynamic_shapes=no",
                "device_type=HETERO:GPU.CPU precision=FP16 num_of_threads=4 num_streams=2 cache_dir=/tmp/o \
                 disable_dynamic_shapes=true",
            ),
            (
                "tensorrt:bf16=yes,level=5,streams=-1,workspace=1GB,tokens=77-231",
                "trt_bf16_enable=1 trt_builder_optimization_level=5 trt_auxiliary_streams=-1 \
              trt_max_workspace_size=1073741824",
            ),
        ];
        for (text, expected) in known {
            let found: Vec<String> = pairs(text).iter().map(|(key, value)| format!("{key}={value}")).collect();
            assert_eq!(found.join(" "), expected, "{text}");
        }
        for text in ["coreml:units=npu", "openvino:threads=0", "directml:filter=tpu", "tensorrt:pixels=768-512"] {
            assert!(text.parse::<ProviderSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn shapes_are_settled_where_that_makes_the_provider_faster_or_possible() {
        let settles = |text: &str| text.parse::<ProviderSpec>().unwrap().settles_shapes();
        assert!(
            [
                "tensorrt",
                "directml",
                "openvino",
                "cuda:graphs=yes",
                "coreml:static_shapes=yes",
                "cpu:static_shapes=yes"
            ]
            .into_iter()
            .all(settles)
        );
        let free = ["cpu", "cuda", "cuda:graphs=no", "coreml", "openvino:static_shapes=no", "auto"];
        assert!(!free.into_iter().any(settles));
        let keeps = |text: &str| text.parse::<ProviderSpec>().unwrap().keeps_defaults();
        assert!(["cpu", "cuda"].into_iter().all(keeps));
        let compiled = ["tensorrt", "directml", "coreml", "openvino:static_shapes=no", "cuda:graphs=yes"];
        assert!(!compiled.into_iter().any(keeps));
        let cuda: ProviderSpec = "cuda:device=1,graphs=yes,pinned=no".parse().unwrap();
        assert!(cuda.asks_for_graphs() && !cuda.keeps_optimised_models());
        let placement = cuda.placement(true).unwrap();
        assert_eq!((placement.id, placement.pinned, placement.fixed), (1, None, true));
        assert!(ProviderSpec::new(ProviderKind::Cpu).placement(false).is_none());
        let range = "tensorrt:pixels=512-768".parse::<ProviderSpec>().unwrap().range("pixels");
        assert_eq!(range, Some((512, 768)));
    }

    #[test]
    fn a_library_that_cannot_be_loaded_is_named_without_places_in_others_sources() {
        let said = "/src/provider_bridge_ort.cc:2043 onnxruntime::Provider& Get() [ONNXRuntimeError] : 1 : FAIL : Failed \
                    to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open \
                    shared object file: No such file or directory\n";
        let error = cuda::PROVIDER.not_usable(said).to_string();
        assert!(error.starts_with("provider 'cuda': Failed to load library"), "{error}");
        assert!(
            error.contains("libcublasLt.so.13: cannot open shared object file: No such file or directory. It needs")
        );
        assert_eq!(plain("no device "), "no device");
    }

    #[test]
    fn only_sessions_made_for_it_record_graphs() {
        let spec: ProviderSpec = "cuda:graphs=yes".parse().unwrap();
        let refused = || Error::Open { model: "m.onnx".into(), reason: "nodes elsewhere".to_owned() };
        let recording = SessionOptions { record: true, ..Default::default() };
        assert!(spec.advised(refused(), &recording).to_string().contains("leave graphs=yes out"));
        assert!(!spec.advised(refused(), &SessionOptions::default()).to_string().contains("graphs=yes"));
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
