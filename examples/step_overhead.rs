//! What the step level of the C ABI costs beyond ONNX Runtime's own work:
//! `cargo run --release --example step_overhead -- UNET CONCEPT [SIZE [STEPS]]`.
//!
//! A guided step of two rows, the second with the concept, is called as a host calls it. The runtime's function
//! table is watched, so that the time outside of `Run` is known however busy the machine is.

#[path = "../tests/support/capi.rs"]
mod capi;
#[path = "../tests/support/runtime.rs"]
mod runtime;

use std::ffi::{c_char, c_void};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use capi::{CONDITIONAL, Host, OwnedRow, SEPARATE, SHARED, UNCONDITIONAL, Unet, unet_options};
use infusion::noise::TorchGenerator;
use ndarray::{Array3, Array4};

#[repr(C)]
struct InitOptions {
    struct_size: u32,
    ort_api_base: *const c_void,
    onnxruntime_path: *const c_char,
}

/// F goes nowhere: only the call counts.
unsafe extern "C" fn stay(_: *mut c_void, foundation: *const capi::Foundation) -> i32 {
    // SAFETY: the library passes a live struct.
    unsafe {
        let given = &*foundation;
        let count = (given.channels * given.height * given.width) as usize;
        std::ptr::copy_nonoverlapping(given.sample, given.next, count);
    }
    0
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [unet, concept, rest @ ..] = arguments.as_slice() else {
        eprintln!("step_overhead UNET CONCEPT [SIZE [STEPS]]");
        std::process::exit(2);
    };
    let number = |index: usize, usual: usize| rest.get(index).map_or(usual, |text| text.parse().expect("a number"));
    let (size, steps) = (number(0, 64), number(1, 50));
    let options = InitOptions {
        struct_size: size_of::<InitOptions>() as u32,
        ort_api_base: runtime::watched().cast(),
        onnxruntime_path: std::ptr::null(),
    };
    // SAFETY: the struct lives during the call, and the base is that of a loaded library.
    capi::checked(unsafe { capi::infusion_init((&raw const options).cast()) }).expect("a runtime");
    for (name, mode, graphs) in [
        ("shared", SHARED, capi::ONE_GRAPH),
        ("separate, f and c", SEPARATE, capi::TWO_GRAPHS),
        ("separate, dual", SEPARATE, capi::ONE_GRAPH),
    ] {
        let options = capi::UnetOptions { mode, graphs, scheduler: Some(stay), ..unet_options() };
        let unet = Unet::open(Path::new(unet), &options);
        unet.set("concept", Path::new(concept), 1.0);
        measure(name, &unet, size, steps);
    }
}

fn measure(name: &str, unet: &Unet, size: usize, steps: usize) {
    // SAFETY: the output lives during the call.
    let described = capi::json(|out| unsafe { capi::infusion_unet_describe(unet.0, out) });
    let inputs = described["inputs"].as_array().expect("inputs");
    let width = inputs.iter().find_map(|input| input["dims"].as_array().filter(|dims| dims.len() == 3)?[2].as_u64());
    let mut generator = TorchGenerator::new(1);
    let sample: Array4<f32> = generator.randn((2, 4, size, size));
    let context: Array3<f32> = generator.randn((2, 77, width.expect("a fixed width") as usize));
    let (sample, context, timestep) = (Host::of(&sample), Host::of(&context), Host::new(vec![501_i64], &[1]));
    let rows = [OwnedRow::new(UNCONDITIONAL, 0), OwnedRow::new(CONDITIONAL, 0).marked("concept", &[5], 1.0)];
    let rows = rows.each_ref().map(OwnedRow::row);
    let mut out = Host::of(&Array4::<f32>::zeros((2, 4, size, size)));
    let mut written = out.tensor_mut();
    let mut all = 0.0;
    for index in 0..=steps as u32 {
        if index == 1 {
            runtime::RUN_NANOSECONDS.store(0, Relaxed);
        }
        let started = Instant::now();
        let step = capi::step(index, &rows);
        unet.run(&step, &sample.tensor(), &timestep.tensor(), &context.tensor(), &mut written).expect("a step");
        all += if index == 0 { 0.0 } else { started.elapsed().as_secs_f64() };
    }
    let inside = runtime::RUN_NANOSECONDS.load(Relaxed) as f64 / 1e9;
    let per_step = |seconds: f64| seconds / steps as f64 * 1e3;
    println!(
        "{name}: {:.2} ms a step, {:.3} ms of it outside of ONNX Runtime's Run ({:.2} %)",
        per_step(all),
        per_step(all - inside),
        (all - inside) / inside * 100.0
    );
}
