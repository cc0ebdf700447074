//! The C ABI in a host that has an ONNX Runtime of its own. One test: a process has one runtime.

#[path = "support/capi.rs"]
mod capi;
#[path = "support/runtime.rs"]
mod runtime;
#[path = "support/tiny.rs"]
mod tiny;

use std::ffi::c_void;
use std::sync::atomic::Ordering::Relaxed;

use capi::{CONDITIONAL, Host, OwnedRow, Unet, unet_options};
use infusion::noise::TorchGenerator;
use ndarray::{Array3, Array4};

#[repr(C)]
struct InitOptions {
    struct_size: u32,
    ort_api_base: *const c_void,
    onnxruntime_path: *const std::ffi::c_char,
}

#[test]
fn the_runtime_of_a_host_is_used_as_it_is() {
    let base = runtime::watched();
    let own = runtime::environment();
    let options = InitOptions {
        struct_size: size_of::<InitOptions>() as u32,
        ort_api_base: base.cast(),
        onnxruntime_path: std::ptr::null(),
    };
    // SAFETY: the struct lives during the call, and the base is that of a loaded library.
    capi::checked(unsafe { capi::infusion_init((&raw const options).cast()) }).unwrap();
    assert_eq!(runtime::THEIRS.load(Relaxed), own, "one environment, which is the host's");

    let folder = tiny::pipeline();
    let unet = Unet::open(&folder.path().join("unet/model.onnx"), &unet_options());
    unet.set("ball", &tiny::source().join("striped.safetensors"), 1.0);
    let row = OwnedRow::new(CONDITIONAL, 0).marked("ball", &[5], 1.0);
    let rows = [row.row()];
    let mut generator = TorchGenerator::new(1);
    let sample: Array4<f32> = generator.randn((1, 4, 8, 8));
    let context: Array3<f32> = generator.randn((1, 77, 32));
    let (sample, context, timestep) = (Host::of(&sample), Host::of(&context), Host::new(vec![501_i64], &[1]));
    let mut out = Host::of(&Array4::<f32>::zeros((1, 4, 8, 8)));
    let mut written = out.tensor_mut();
    unet.run(&capi::step(0, &rows), &sample.tensor(), &timestep.tensor(), &context.tensor(), &mut written).unwrap();
    assert!(out.values().iter().any(|value| *value != 0.0));
    assert_eq!(runtime::RUNS.load(Relaxed), 1, "the host's runtime ran it");
    assert_eq!(runtime::GLOBAL_CHANGES.load(Relaxed), 0, "telemetry, log level and thread pools are the host's");
    assert_eq!(runtime::MESSAGES.load(Relaxed), 0, "the host's log holds nothing of ours");
}
