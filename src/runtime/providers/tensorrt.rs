use ort::ep::{ArbitrarilyConfigurableExecutionProvider as _, ExecutionProvider, TensorRT};
use ort::memory::AllocationDevice;

use super::option::{FLAG, ProviderOption, ValueKind};
use super::{Context, Provider, ProviderKind, ShapeRange};

pub(super) static PROVIDER: Provider = Provider {
    kind: ProviderKind::TensorRt,
    name: "tensorrt",
    ep_name: TensorRT::NAME,
    about: "NVIDIA cards through TensorRT; builds an engine on the first run (minutes), then starts from its cache",
    needs: "It needs what cuda needs and TensorRT 10 (libnvinfer.so.10), and an ONNX Runtime with its \
            libonnxruntime_providers_tensorrt (`pip install onnxruntime-gpu`), named with --onnxruntime.",
    options: &[
        ProviderOption {
            name: "device",
            key: "device_id",
            kind: ValueKind::Int(0),
            help: "index of the card (default 0)",
        },
        ProviderOption {
            name: "fp16",
            key: "trt_fp16_enable",
            kind: FLAG,
            help: "compute in half precision (default no)",
        },
        ProviderOption {
            name: "layer_norm_fp32",
            key: "trt_layer_norm_fp32_fallback",
            kind: FLAG,
            help: "keep layer norms in fp32, where fp16 overflows (default yes)",
        },
        ProviderOption {
            name: "workspace",
            key: "trt_max_workspace_size",
            kind: ValueKind::Bytes,
            help: "most scratch memory, e.g. 2GB (default: all of the card)",
        },
        ProviderOption {
            name: "level",
            key: "trt_builder_optimization_level",
            kind: ValueKind::Int(0),
            help: "how long to look for fast kernels, 0 to 5 (default 3)",
        },
        ProviderOption {
            name: "streams",
            key: "trt_auxiliary_streams",
            kind: ValueKind::Int(-1),
            help: "auxiliary streams, -1 for TensorRT's own choice (default -1)",
        },
        ProviderOption {
            name: "cache",
            key: "trt_engine_cache_path",
            kind: ValueKind::Text,
            help: "folder of engines and timings (default: `tensorrt` in the session cache)",
        },
    ],
    build: |options, context| {
        let mut pairs = defaults(context);
        pairs.extend(options.iter().cloned());
        let provider = TensorRT::default();
        pairs.iter().fold(provider, |provider, (key, value)| provider.with_arbitrary_config(key, value)).build()
    },
    compiled_in: || TensorRT::is_available().unwrap_or(false),
    // Its outputs are those of the CUDA device.
    memory: Some(AllocationDevice::CUDA),
};

/// What holds unless the user says otherwise: caches keyed by the weights, which TensorRT's own
/// key ignores, and a profile for every dynamic input.
fn defaults(context: &Context<'_>) -> Vec<(String, String)> {
    let mut pairs = vec![("trt_layer_norm_fp32_fallback".to_owned(), "1".to_owned())];
    if let Some(cache) = &context.options.cache {
        let folder = cache.join("tensorrt").to_string_lossy().into_owned();
        for (key, value) in [
            ("trt_engine_cache_enable", "1"),
            ("trt_engine_cache_path", folder.as_str()),
            ("trt_engine_cache_prefix", context.cache_key),
            ("trt_timing_cache_enable", "1"),
            ("trt_timing_cache_path", folder.as_str()),
        ] {
            pairs.push((key.to_owned(), value.to_owned()));
        }
    }
    if !context.options.shapes.is_empty() {
        let shapes = &context.options.shapes;
        pairs.push(("trt_profile_min_shapes".to_owned(), profile(shapes, |range| &range.min)));
        pairs.push(("trt_profile_opt_shapes".to_owned(), profile(shapes, |range| &range.usual)));
        pairs.push(("trt_profile_max_shapes".to_owned(), profile(shapes, |range| &range.max)));
    }
    pairs
}

/// `sample:2x4x64x64,encoder_hidden_states:2x77x768`
fn profile(shapes: &[ShapeRange], side: impl Fn(&ShapeRange) -> &[usize]) -> String {
    let inputs = shapes.iter().map(|range| {
        let lengths: Vec<String> = side(range).iter().map(usize::to_string).collect();
        format!("{}:{}", range.input, lengths.join("x"))
    });
    inputs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::SessionOptions;

    #[test]
    fn profiles_and_caches_follow_the_session() {
        let range = |input: &str, min: &[usize], max: &[usize]| ShapeRange {
            input: input.to_owned(),
            min: min.to_owned(),
            usual: max.to_owned(),
            max: max.to_owned(),
        };
        let shapes = vec![range("sample", &[1, 4, 8, 8], &[2, 4, 64, 64]), range("t", &[1], &[1])];
        let options = SessionOptions { shapes, cache: Some("/cache".into()), ..Default::default() };
        let pairs = defaults(&Context { options: &options, cache_key: "abc" });
        let value = |key: &str| pairs.iter().find(|(known, _)| known == key).unwrap().1.clone();
        assert_eq!(value("trt_profile_min_shapes"), "sample:1x4x8x8,t:1");
        assert_eq!(value("trt_profile_opt_shapes"), "sample:2x4x64x64,t:1");
        assert_eq!(value("trt_profile_max_shapes"), "sample:2x4x64x64,t:1");
        assert_eq!(value("trt_engine_cache_prefix"), "abc");
        assert!(value("trt_engine_cache_path").ends_with("tensorrt"));
    }
}
