use ort::ep::{ArbitrarilyConfigurableExecutionProvider as _, ExecutionProvider, OpenVINO};

use super::option::{FLAG, ProviderOption, ValueKind};
use super::{Provider, ProviderKind};

pub(super) static PROVIDER: Provider = Provider {
    kind: ProviderKind::OpenVino,
    name: "openvino",
    ep_name: OpenVINO::NAME,
    about: "Intel processors, cards and NPUs",
    needs: "It needs the OpenVINO runtime, and an ONNX Runtime built with it (`pip install onnxruntime-openvino`), \
            named with --onnxruntime.",
    options: &[
        ProviderOption {
            name: "type",
            key: "device_type",
            kind: ValueKind::Text,
            help: "CPU, GPU, GPU.1, NPU, or a combination such as HETERO:GPU.CPU (default CPU)",
        },
        ProviderOption {
            name: "precision",
            key: "precision",
            kind: ValueKind::Choice(&[("fp32", "FP32"), ("fp16", "FP16"), ("accuracy", "ACCURACY")]),
            help: "inner precision (default: that of the device)",
        },
        ProviderOption {
            name: "threads",
            key: "num_of_threads",
            kind: ValueKind::Int(1),
            help: "threads on the processor (default 8)",
        },
        ProviderOption {
            name: "streams",
            key: "num_streams",
            kind: ValueKind::Int(1),
            help: "parallel streams (default 1)",
        },
        ProviderOption {
            name: "static_shapes",
            key: "infusion.static_shapes",
            kind: FLAG,
            help: "compile for the sizes that run, anew for others (default yes; no compiles longer and runs slower)",
        },
        ProviderOption {
            name: "dynamic_shapes",
            key: "disable_dynamic_shapes",
            kind: ValueKind::Flag("false", "true"),
            help: "let the device compile axes that stay free (default: as the device can)",
        },
        ProviderOption {
            name: "cache",
            key: "cache_dir",
            kind: ValueKind::Text,
            help: "folder of compiled models (default: none, compile at every start)",
        },
    ],
    build: |options, _| {
        let pairs = options.iter();
        pairs.fold(OpenVINO::default(), |provider, (key, value)| provider.with_arbitrary_config(key, value)).build()
    },
    compiled_in: || OpenVINO::is_available().unwrap_or(false),
    memory: None,
    settles_shapes: |spec| spec.says_yes("static_shapes") != Some(false),
    keeps_defaults: false,
};
