use ort::ep::{ArbitrarilyConfigurableExecutionProvider as _, CUDA, ExecutionProvider};
use ort::memory::AllocationDevice;

use super::option::{FLAG, ProviderOption, ValueKind};
use super::{Provider, ProviderKind};

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
    ],
    build: |options, _| {
        let pairs = options.iter();
        pairs.fold(CUDA::default(), |provider, (key, value)| provider.with_arbitrary_config(key, value)).build()
    },
    compiled_in: || CUDA::is_available().unwrap_or(false),
    memory: Some(AllocationDevice::CUDA),
};
