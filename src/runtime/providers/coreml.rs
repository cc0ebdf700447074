use ort::ep::{ArbitrarilyConfigurableExecutionProvider as _, CoreML, ExecutionProvider};

use super::option::{FLAG, ProviderOption, ValueKind};
use super::{Provider, ProviderKind};

pub(super) static PROVIDER: Provider = Provider {
    kind: ProviderKind::CoreMl,
    name: "coreml",
    ep_name: CoreML::NAME,
    about: "Apple's GPU and Neural Engine",
    needs: "It needs macOS 10.15 or later; the macOS builds of ONNX Runtime have it (`pip install onnxruntime`).",
    options: &[
        ProviderOption {
            name: "units",
            key: "MLComputeUnits",
            kind: ValueKind::Choice(&[
                ("all", "ALL"),
                ("cpu-and-gpu", "CPUAndGPU"),
                ("cpu-and-neural-engine", "CPUAndNeuralEngine"),
                ("cpu-only", "CPUOnly"),
            ]),
            help: "what may compute (default all)",
        },
        ProviderOption {
            name: "format",
            key: "ModelFormat",
            kind: ValueKind::Choice(&[("mlprogram", "MLProgram"), ("neuralnetwork", "NeuralNetwork")]),
            help: "form of the compiled model (default neuralnetwork; mlprogram needs macOS 12)",
        },
        ProviderOption {
            name: "static_shapes",
            key: "RequireStaticInputShapes",
            kind: FLAG,
            help: "take only nodes with fixed shapes (default no)",
        },
        ProviderOption {
            name: "fast",
            key: "SpecializationStrategy",
            kind: ValueKind::Flag("FastPrediction", "Default"),
            help: "compile for speed, at the price of longer starts (default no)",
        },
        ProviderOption {
            name: "cache",
            key: "ModelCacheDirectory",
            kind: ValueKind::Text,
            help: "folder of compiled models (default: none, compile at every start)",
        },
    ],
    build: |options, _| {
        let pairs = options.iter();
        pairs.fold(CoreML::default(), |provider, (key, value)| provider.with_arbitrary_config(key, value)).build()
    },
    compiled_in: || CoreML::is_available().unwrap_or(false),
    memory: None,
    settles_shapes: |spec| spec.says_yes("static_shapes") == Some(true),
    keeps_defaults: false,
};
