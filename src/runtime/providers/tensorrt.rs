use ort::ep::{ArbitrarilyConfigurableExecutionProvider as _, ExecutionProvider, TensorRT};
use ort::memory::AllocationDevice;

use super::option::{FLAG, ProviderOption, ValueKind};
use super::{Context, Provider, ProviderKind, ShapeRange};
use crate::runtime::library;

const CACHE: &str = "trt_engine_cache_path";

/// Protobuf's limit, and with it TensorRT's on a model that is handed over as one message.
const LARGEST_MESSAGE: u64 = 2 << 30;
/// The minor version of ONNX Runtime that began to hand weights to TensorRT beside the message.
const WEIGHTS_APART: u32 = 23;

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
            name: "bf16",
            key: "trt_bf16_enable",
            kind: FLAG,
            help: "compute in bfloat16, on Ampere and later (default no)",
        },
        ProviderOption {
            name: "layer_norm_fp32",
            key: "trt_layer_norm_fp32_fallback",
            kind: FLAG,
            help: "keep layer norms in fp32, where fp16 overflows (default yes)",
        },
        ProviderOption {
            name: "pixels",
            key: "infusion.pixels",
            kind: ValueKind::Range,
            help: "one engine for pictures of all widths and heights in this range, e.g. 512-768 (default: an engine \
                   for each size, which is faster)",
        },
        ProviderOption {
            name: "pictures",
            key: "infusion.pictures",
            kind: ValueKind::Range,
            help: "one engine for all batches in this range, e.g. 1-4 (default: an engine for each)",
        },
        ProviderOption {
            name: "tokens",
            key: "infusion.tokens",
            kind: ValueKind::Range,
            help: "one engine for prompts of this many tokens, e.g. 77-231 (default: an engine for each length)",
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
            key: CACHE,
            kind: ValueKind::Text,
            help: "folder of engines and timings (default: `tensorrt` in the session cache)",
        },
    ],
    build: |options, context| {
        let pairs = all_options(options, context);
        if let Some((_, folder)) = pairs.iter().find(|(key, _)| key == CACHE) {
            // TensorRT says itself what it cannot write to.
            let _ = std::fs::create_dir_all(folder);
        }
        let provider = TensorRT::default();
        pairs.iter().fold(provider, |provider, (key, value)| provider.with_arbitrary_config(key, value)).build()
    },
    compiled_in: || TensorRT::is_available().unwrap_or(false),
    // Its outputs are those of the CUDA device.
    memory: Some(AllocationDevice::CUDA),
    settles_shapes: |_| true,
    keeps_defaults: false,
};

/// What the user says, and what holds otherwise: caches keyed by the weights, which TensorRT's own key
/// ignores, a profile for every input with a free axis, and weights beside the model's message where they
/// do not fit into it.
fn all_options(given: &[(String, String)], context: &Context<'_>) -> Vec<(String, String)> {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut pairs = vec![pair("trt_layer_norm_fp32_fallback", "1")];
    let own_folder = given.iter().find(|(key, _)| key == CACHE).map(|(_, folder)| folder.clone());
    let usual = || Some(context.options.cache.as_ref()?.join("tensorrt").to_string_lossy().into_owned());
    if let Some(folder) = own_folder.or_else(usual) {
        pairs.extend([
            pair("trt_engine_cache_enable", "1"),
            pair(CACHE, &folder),
            pair("trt_engine_cache_prefix", context.cache_key),
            pair("trt_timing_cache_enable", "1"),
            pair("trt_timing_cache_path", &folder),
        ]);
    }
    if !context.ranges.is_empty() {
        pairs.extend([
            pair("trt_profile_min_shapes", &profile(context.ranges, |range| &range.min)),
            pair("trt_profile_opt_shapes", &profile(context.ranges, |range| &range.usual)),
            pair("trt_profile_max_shapes", &profile(context.ranges, |range| &range.max)),
        ]);
    }
    let knows_how = library::loaded().is_some_and(|info| info.minor_version() >= WEIGHTS_APART);
    if context.weight_bytes >= LARGEST_MESSAGE && knows_how {
        pairs.push(pair("trt_load_user_initializer", "1"));
    }
    pairs.extend(given.iter().filter(|(key, _)| key != CACHE).cloned());
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
    use crate::runtime::{ProviderSpec, SessionOptions};

    fn options_of(
        text: &str,
        options: &SessionOptions,
        ranges: &[ShapeRange],
        weight_bytes: u64,
    ) -> Vec<(String, String)> {
        let spec: ProviderSpec = text.parse().unwrap();
        let context = Context { options, cache_key: "abc", ranges, weight_bytes };
        all_options(&spec.translated(&PROVIDER).unwrap(), &context)
    }

    fn value<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
        pairs.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    #[test]
    fn profiles_and_caches_follow_the_session() {
        let range = |input: &str, min: &[usize], max: &[usize]| ShapeRange {
            input: input.to_owned(),
            min: min.to_owned(),
            usual: max.to_owned(),
            max: max.to_owned(),
        };
        let ranges = [range("sample", &[1, 4, 8, 8], &[2, 4, 64, 64]), range("t", &[1], &[1])];
        let options = SessionOptions { cache: Some("/cache".into()), ..Default::default() };
        let pairs = options_of("tensorrt:fp16=yes,pixels=64-512", &options, &ranges, 10);
        assert_eq!(value(&pairs, "trt_profile_min_shapes"), Some("sample:1x4x8x8,t:1"));
        assert_eq!(value(&pairs, "trt_profile_opt_shapes"), Some("sample:2x4x64x64,t:1"));
        assert_eq!(value(&pairs, "trt_profile_max_shapes"), Some("sample:2x4x64x64,t:1"));
        assert_eq!(value(&pairs, "trt_engine_cache_prefix"), Some("abc"));
        assert_eq!(value(&pairs, "trt_fp16_enable"), Some("1"));
        assert_eq!(value(&pairs, "trt_layer_norm_fp32_fallback"), Some("1"));
        assert!(value(&pairs, CACHE).unwrap().ends_with("tensorrt"));
        assert_eq!(value(&pairs, "trt_load_user_initializer"), None);
        assert!(!pairs.iter().any(|(key, _)| key.starts_with("infusion.")), "{pairs:?}");
    }

    #[test]
    fn without_a_free_axis_there_is_no_profile_and_without_a_folder_no_cache() {
        let pairs = options_of("tensorrt:layer_norm_fp32=no", &SessionOptions::default(), &[], 10);
        assert!(!pairs.iter().any(|(key, _)| key.contains("profile") || key.contains("cache")), "{pairs:?}");
        assert_eq!(value(&pairs, "trt_layer_norm_fp32_fallback"), Some("0"));
    }

    #[test]
    fn a_folder_of_ones_own_is_a_cache_without_the_session_cache() {
        let pairs = options_of("tensorrt:cache=/engines", &SessionOptions::default(), &[], 10);
        assert_eq!(value(&pairs, CACHE), Some("/engines"));
        assert_eq!(value(&pairs, "trt_timing_cache_path"), Some("/engines"));
        assert_eq!(value(&pairs, "trt_engine_cache_enable"), Some("1"));
    }

    #[test]
    fn weights_that_no_message_holds_are_handed_over_beside_it() {
        let loaded = library::load(&Default::default()).unwrap();
        let pairs = options_of("tensorrt", &SessionOptions::default(), &[], 3 << 30);
        let expected = (loaded.minor_version() >= WEIGHTS_APART).then_some("1");
        assert_eq!(value(&pairs, "trt_load_user_initializer"), expected);
    }
}
