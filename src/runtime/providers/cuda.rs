use ort::ep::{ArbitrarilyConfigurableExecutionProvider as _, CUDA, ExecutionProvider};
use ort::memory::AllocationDevice;

use super::option::{FLAG, ProviderOption, ValueKind};
use super::{Provider, ProviderKind};

/// Only sessions that are made for it may record: ONNX Runtime refuses models with nodes elsewhere.
const GRAPHS: &str = "enable_cuda_graph";

pub(super) static PROVIDER: Provider = Provider {
    kind: ProviderKind::Cuda,
    name: "cuda",
    ep_name: CUDA::NAME,
    about: "NVIDIA cards through CUDA and cuDNN",
    needs: "It needs an NVIDIA driver, CUDA and cuDNN, and an ONNX Runtime with its libonnxruntime_providers_cuda \
            (`pip install onnxruntime-gpu`; 1.31 is for CUDA 13 and cuDNN 9, 1.24 for CUDA 12), named with --onnxruntime.",
    options: &[
        ProviderOption {
            name: "device",
            key: "device_id",
            kind: ValueKind::Int(0),
            help: "index of the card (default 0)",
        },
        ProviderOption {
            name: "arena",
            key: "arena_extend_strategy",
            kind: ValueKind::Choice(&[
                ("next-power-of-two", "kNextPowerOfTwo"),
                ("same-as-requested", "kSameAsRequested"),
            ]),
            help: "how the memory arena grows (default next-power-of-two; same-as-requested uses less memory)",
        },
        ProviderOption {
            name: "memory_limit",
            key: "gpu_mem_limit",
            kind: ValueKind::Bytes,
            help: "most memory of the arena, e.g. 6GB (default: all of the card)",
        },
        ProviderOption {
            name: "conv_search",
            key: "cudnn_conv_algo_search",
            kind: ValueKind::Choice(&[
                ("exhaustive", "EXHAUSTIVE"),
                ("heuristic", "HEURISTIC"),
                ("default", "DEFAULT"),
            ]),
            help: "how convolution algorithms are found (default exhaustive: a slower first step, then the fastest)",
        },
        ProviderOption {
            name: "conv_workspace",
            key: "cudnn_conv_use_max_workspace",
            kind: FLAG,
            help: "let convolutions use as much scratch memory as they like (default yes)",
        },
        ProviderOption {
            name: "tf32",
            key: "use_tf32",
            kind: FLAG,
            help: "round fp32 operands to TF32 on Ampere and later (default yes)",
        },
        ProviderOption {
            name: "nhwc",
            key: "prefer_nhwc",
            kind: FLAG,
            help: "run convolutions channels-last (default no)",
        },
        ProviderOption {
            name: "fuse_conv_bias",
            key: "fuse_conv_bias",
            kind: FLAG,
            help: "run convolution, bias and activation as one (default no; the first step takes longer)",
        },
        ProviderOption {
            name: "graphs",
            key: GRAPHS,
            kind: FLAG,
            help: "record a step as a CUDA graph and replay it, for shapes that do not change (default no)",
        },
        ProviderOption {
            name: "static_shapes",
            key: "infusion.static_shapes",
            kind: FLAG,
            help: "prepare a session for the sizes of a run, and again when they change: its steps launch less \
                   (default no, but for CUDA graphs)",
        },
        ProviderOption {
            name: "pinned",
            key: "infusion.pinned",
            kind: FLAG,
            help: "send through pinned memory of the host, but for CUDA graphs (default yes)",
        },
    ],
    build: |options, context| {
        let pairs = options.iter().filter(|(key, _)| key != GRAPHS || context.options.record);
        pairs.fold(CUDA::default(), |provider, (key, value)| provider.with_arbitrary_config(key, value)).build()
    },
    compiled_in: || CUDA::is_available().unwrap_or(false),
    memory: Some(AllocationDevice::CUDA),
    settles_shapes: |spec| spec.asks_for_graphs() || spec.says_yes("static_shapes") == Some(true),
    keeps_defaults: true,
};
