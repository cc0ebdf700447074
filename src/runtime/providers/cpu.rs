use ort::ep::{CPU, ExecutionProvider};

use super::option::{FLAG, ProviderOption};
use super::{Provider, ProviderKind};

pub(super) static PROVIDER: Provider = Provider {
    kind: ProviderKind::Cpu,
    name: "cpu",
    ep_name: CPU::NAME,
    about: "the processor; in every build of ONNX Runtime",
    needs: "",
    options: &[
        ProviderOption {
            name: "arena",
            key: "arena",
            kind: FLAG,
            help: "keep freed memory for the next run (default yes; --low-memory turns it off)",
        },
        ProviderOption {
            name: "static_shapes",
            key: "infusion.static_shapes",
            kind: FLAG,
            help: "prepare models for the sizes that they run with, as for TensorRT and CUDA graphs (default no)",
        },
    ],
    build: |options, context| {
        let arena =
            options.iter().find(|(key, _)| key == "arena").map_or(!context.options.low_memory, |(_, on)| on == "1");
        CPU::default().with_arena_allocator(arena).build()
    },
    compiled_in: || true,
    memory: None,
    settles_shapes: |spec| spec.says_yes("static_shapes") == Some(true),
    keeps_defaults: true,
};
