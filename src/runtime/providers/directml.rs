use ort::ep::directml::{DeviceFilter, PerformancePreference};
use ort::ep::{DirectML, ExecutionProvider};

use super::option::{ProviderOption, ValueKind};
use super::{Provider, ProviderKind};

pub(super) static PROVIDER: Provider = Provider {
    kind: ProviderKind::DirectMl,
    name: "directml",
    ep_name: DirectML::NAME,
    about: "any DirectX 12 card on Windows",
    needs: "It needs Windows 10 1903 or later with DirectML.dll, and an ONNX Runtime built with it \
            (`pip install onnxruntime-directml`), named with --onnxruntime.",
    options: &[
        ProviderOption {
            name: "device",
            key: "device_id",
            kind: ValueKind::Int(0),
            help: "index of the card (default: by `prefer` and `filter`)",
        },
        ProviderOption {
            name: "prefer",
            key: "prefer",
            kind: ValueKind::Choice(&[("default", "default"), ("speed", "speed"), ("low-power", "low-power")]),
            help: "which card to prefer where there are several (default default)",
        },
        ProviderOption {
            name: "filter",
            key: "filter",
            kind: ValueKind::Choice(&[("gpu", "gpu"), ("npu", "npu"), ("any", "any")]),
            help: "which devices to consider (default gpu)",
        },
    ],
    build: |options, _| {
        let option = |name: &str| options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let preference = match option("prefer") {
            Some("speed") => PerformancePreference::HighPerformance,
            Some("low-power") => PerformancePreference::MinimumPower,
            _ => PerformancePreference::Default,
        };
        let filter = match option("filter") {
            Some("npu") => DeviceFilter::Npu,
            Some("any") => DeviceFilter::Any,
            _ => DeviceFilter::Gpu,
        };
        let provider = DirectML::default().with_performance_preference(preference).with_device_filter(filter);
        match option("device_id").and_then(|device| device.parse().ok()) {
            Some(device) => provider.with_device_id(device).build(),
            None => provider.build(),
        }
    },
    compiled_in: || DirectML::is_available().unwrap_or(false),
    memory: Some(ort::memory::AllocationDevice::DIRECTML),
    settles_shapes: |_| true,
    keeps_defaults: false,
};
