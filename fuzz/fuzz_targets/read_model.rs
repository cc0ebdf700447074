//! Everything that opening, inspecting and writing a model does with bytes from a stranger.
#![no_main]

use infusion::onnx::Model;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut model) = Model::from_bytes(bytes.to_vec(), None) else { return };
    for tensor in model.graph.initializers().values() {
        let _ = (model.tensor_bytes(tensor), model.tensor_f32s(tensor), model.tensor_ints(tensor));
    }
    let _ = infusion::onnx::infer::infer(&model);
    model.graph.remove_dead();
    let _ = model.to_proto();
});
