//! The graph level of the C ABI: graphs from a file or from memory, run by a session of the host's own.

#[path = "support/capi.rs"]
mod capi;
#[path = "support/tiny.rs"]
mod tiny;

use std::path::Path;
use std::ptr;

use capi::{CONDITIONAL, Host, OwnedRow, SaveOptions, Unet, unet_options};
use infusion::noise::TorchGenerator;
use infusion::runtime::{Session, SessionOptions, Tensor};
use ndarray::{Array1, Array2, Array3, Array4, ArrayD};

const SHARED: i32 = 3;

/// An `infusion_model`.
struct Model(usize);

impl Model {
    fn open(path: &Path) -> Self {
        let mut model = 0;
        // SAFETY: text and output live during the call.
        capi::checked(unsafe { capi::infusion_model_open(capi::c_text(path).as_ptr(), &mut model) }).unwrap();
        Self(model)
    }

    fn from_memory(bytes: &[u8]) -> Self {
        let mut model = 0;
        // SAFETY: bytes and output live during the call.
        let status =
            unsafe { capi::infusion_model_open_memory(bytes.as_ptr().cast(), bytes.len(), ptr::null(), &mut model) };
        capi::checked(status).unwrap();
        Self(model)
    }

    fn graph(&self, variant: i32) -> Vec<u8> {
        // SAFETY: the output lives during the call.
        capi::bytes(|out| unsafe { capi::infusion_model_graph(self.0, variant, out) })
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: any handle may be freed.
        unsafe { capi::infusion_model_free(self.0) };
    }
}

/// What a host feeds its UNet.
struct Fed {
    sample: Array4<f32>,
    context: Array3<f32>,
}

impl Fed {
    fn new() -> Self {
        let mut generator = TorchGenerator::new(1);
        Self { sample: generator.randn((1, 4, 8, 8)), context: generator.randn((1, 77, 32)) }
    }

    fn run(&self, session: &Session, further: &[(&str, Tensor)]) -> ArrayD<f32> {
        let own = [
            ("sample", Tensor::from(self.sample.clone())),
            ("timestep", Tensor::from(Array1::from(vec![501_i64]))),
            ("encoder_hidden_states", Tensor::from(self.context.clone())),
        ];
        let feeds: Vec<(&str, &Tensor)> = own.iter().chain(further).map(|(name, tensor)| (*name, tensor)).collect();
        let first = session.outputs()[0].name.clone();
        session.run(&feeds).unwrap().take(&first).unwrap().into_f32()
    }
}

#[test]
fn a_graph_in_memory_takes_the_place_of_the_unet() {
    let source = tiny::source().join("unet/model.onnx");
    let from_file = Model::open(&source);
    let from_memory = Model::from_memory(&std::fs::read(&source).unwrap());
    let shared = from_file.graph(SHARED);
    assert_eq!(shared, from_memory.graph(SHARED), "a file's graph and that of its bytes are one");

    let options = SessionOptions::default();
    let session = Session::from_bytes(&shared, "shared", &options).unwrap();
    let fed = Fed::new();
    let original = fed.run(&Session::open(&source, &options).unwrap(), &[]);
    let unfed = fed.run(&session, &[]);
    let apart = |one: &ArrayD<f32>, other: &ArrayD<f32>| {
        one.iter().zip(other).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()))
    };
    assert!(apart(&unfed, &original) < 1e-5, "fed alike it is the original");

    let concept = capi::Concept::load(&tiny::source().join("striped.safetensors"));
    let (mut delta, mut count, mut dims) = (Vec::new(), 0, [0_i64; 2]);
    // SAFETY: the second time, there is room for the numbers that the first counted.
    unsafe {
        let mut ask = |delta| capi::infusion_model_delta(from_file.0, concept.0, delta, &mut count, dims.as_mut_ptr());
        capi::checked(ask(ptr::null_mut())).unwrap();
        delta.resize(count, 0.0);
        let mut ask = |delta| capi::infusion_model_delta(from_file.0, concept.0, delta, &mut count, dims.as_mut_ptr());
        capi::checked(ask(delta.as_mut_ptr())).unwrap();
    }
    let delta = Array2::from_shape_vec((dims[0] as usize, dims[1] as usize), delta).unwrap();
    let mut mask = Array3::<f32>::zeros((1, 77, 1));
    mask[[0, 5, 0]] = 1.0;
    let drawn = fed.run(&session, &[("infusion.mask", Tensor::from(mask)), ("infusion.delta", Tensor::from(delta))]);
    assert!(apart(&drawn, &original) > 1e-3);

    let folder = tiny::pipeline();
    let unet = Unet::open(&folder.path().join("unet/model.onnx"), &unet_options());
    unet.set("ball", &tiny::source().join("striped.safetensors"), 1.0);
    let row = OwnedRow::new(CONDITIONAL, 0).marked("ball", &[5], 1.0);
    let rows = [row.row()];
    let (sample, context, timestep) = (Host::of(&fed.sample), Host::of(&fed.context), Host::new(vec![501_i64], &[1]));
    let mut out = Host::of(&Array4::<f32>::zeros((1, 4, 8, 8)));
    let mut written = out.tensor_mut();
    unet.run(&capi::step(0, &rows), &sample.tensor(), &timestep.tensor(), &context.tensor(), &mut written).unwrap();
    let stepped = ArrayD::from_shape_vec(vec![1, 4, 8, 8], out.values().to_vec()).unwrap();
    assert!(apart(&stepped, &drawn) < 1e-5, "the step level draws the same");
}

#[test]
fn graphs_are_described_with_what_they_are_fed() {
    let model = Model::open(&tiny::source().join("unet/model.onnx"));
    // SAFETY: the output lives during the call.
    let described = capi::json(|out| unsafe { capi::infusion_model_describe(model.0, out) });
    assert_eq!(described["refused"], serde_json::json!({}));
    let inputs = described["graphs"]["shared"]["inputs"].as_array().unwrap();
    let names: Vec<&str> = inputs.iter().map(|input| input["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["sample", "timestep", "encoder_hidden_states", "infusion.mask", "infusion.delta", "infusion.rows"]
    );
    let optional = |input: &serde_json::Value| input["optional"].as_bool().unwrap();
    assert_eq!(inputs.iter().map(optional).collect::<Vec<_>>(), [false, false, false, true, true, true]);
    assert_eq!(inputs[0]["type"], "float32");
    assert_eq!(inputs[0]["dims"][1], 4);
    assert_eq!(inputs[5]["type"], "int64");
    assert!(!described["layers"].as_array().unwrap().is_empty());
    assert_eq!(described["graphs"].as_object().unwrap().len(), 5);
}

#[test]
fn saved_graphs_run_alone_and_open_as_a_unet() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::open(&tiny::source().join("unet/model.onnx"));
    let target = capi::c_text(folder.path());
    let options = SaveOptions {
        struct_size: size_of::<SaveOptions>() as u32,
        variants: ptr::null(),
        self_contained: 1,
        overwrite: 0,
    };
    // SAFETY: text, struct and output live during the call.
    let manifest = capi::json(|out| unsafe { capi::infusion_model_save(model.0, target.as_ptr(), &options, out) });
    assert_eq!(manifest["graphs"]["dual"], "model.dual.onnx");
    assert!(!folder.path().join("model.onnx").exists(), "the source is not needed beside them");
    for name in ["model.shared.onnx", "model.infusion.json"] {
        let unet = Unet::open(&folder.path().join(name), &unet_options());
        unet.set("ball", &tiny::source().join("striped.safetensors"), 1.0);
        for (row, graph) in
            [(OwnedRow::new(CONDITIONAL, 0).marked("ball", &[5], 1.0), "shared"), (OwnedRow::new(CONDITIONAL, 0), "f")]
        {
            let fed = Fed::new();
            let rows = [row.row()];
            let (sample, context) = (Host::of(&fed.sample), Host::of(&fed.context));
            let timestep = Host::new(vec![501_i64], &[1]);
            let mut out = Host::of(&Array4::<f32>::zeros((1, 4, 8, 8)));
            let mut written = out.tensor_mut();
            let step = capi::step(0, &rows);
            unet.run(&step, &sample.tensor(), &timestep.tensor(), &context.tensor(), &mut written).unwrap();
            // SAFETY: the output lives during the call.
            let described = capi::json(|out| unsafe { capi::infusion_unet_describe(unet.0, out) });
            let loaded = described["loaded"].as_array().unwrap().iter().any(|it| it["graph"] == graph);
            assert!(loaded, "{described}");
        }
    }
}
