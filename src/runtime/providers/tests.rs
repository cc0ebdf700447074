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
    let settled = ["tensorrt", "directml", "openvino", "cuda:graphs=yes", "cuda:static_shapes=yes"];
    assert!(settled.into_iter().chain(["coreml:static_shapes=yes", "cpu:static_shapes=yes"]).all(settles));
    let free = ["cpu", "cuda", "cuda:graphs=no", "coreml", "openvino:static_shapes=no", "auto"];
    assert!(!free.into_iter().any(settles));
    let keeps = |text: &str| text.parse::<ProviderSpec>().unwrap().keeps_defaults();
    assert!(["cpu", "cuda"].into_iter().all(keeps));
    let compiled = ["tensorrt", "directml", "coreml", "openvino:static_shapes=no", "cuda:graphs=yes"];
    assert!(!compiled.into_iter().any(keeps));
    let cuda: ProviderSpec = "cuda:device=1,graphs=yes".parse().unwrap();
    assert!(cuda.asks_for_graphs() && !cuda.keeps_optimised_models());
    let placement = cuda.placement(true).unwrap();
    assert_eq!((placement.id, placement.pinned, placement.fixed), (1, None, true));
    let pinned = |text: &str| text.parse::<ProviderSpec>().unwrap().placement(false).unwrap().pinned;
    assert_eq!((pinned("cuda"), pinned("cuda:pinned=no")), (Some(AllocationDevice::CUDA_PINNED), None));
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
    assert!(error.contains("libcublasLt.so.13: cannot open shared object file: No such file or directory. It needs"));
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
