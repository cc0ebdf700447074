//! `infusion generate` on UNets as other tools export them: eight bits, half precision, baked sizes, LCM.

#[path = "support/dialects.rs"]
mod dialects;
#[path = "support/tiny.rs"]
mod tiny;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use dialects::Dialect;
use infusion::concept::{Concept, Existing, Precision};
use infusion::onnx::proto::type_proto;
use infusion::onnx::{DataType, Model, NodeBuilder, proto::TensorProto};
use prost::Message;
use serde_json::Value;

/// How wide the context of the dialects' UNets is; the tiny text encoder's is twice that.
const CONTEXT: i64 = 16;

/// The tiny pipeline with the UNet of `dialect`, and a concept for it.
fn pipeline(dialect: &Dialect) -> tempfile::TempDir {
    let folder = tiny::pipeline();
    let unet = folder.path().join("unet");
    fs::remove_dir_all(&unet).unwrap();
    fs::create_dir(&unet).unwrap();
    for file in fs::read_dir(dialect.model().parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()) {
        fs::copy(&file, unet.join(file.file_name().unwrap())).unwrap();
    }
    narrow(&folder.path().join("text_encoder/model.onnx"));
    let mut concept = Concept::new("ball", "ball");
    let wave = |column: usize| if column.is_multiple_of(2) { 0.7 } else { -0.4 };
    let layers = dialect.modules.iter().zip(&dialect.value_widths);
    let layer =
        |(module, &d): (&String, &usize)| (module.clone(), ndarray::Array2::from_shape_fn((1, d), |at| wave(at.1)));
    concept.layers = layers.map(layer).collect();
    concept.save(folder.path().join("wave.safetensors"), Precision::F32, Existing::Keep).unwrap();
    folder
}

/// Cuts the hidden states of the text encoder down to the first `CONTEXT` numbers.
fn narrow(path: &Path) {
    let mut model = Model::open(path).unwrap();
    let graph = &mut model.graph;
    let states = graph.outputs()[0].name().to_owned();
    let producer = graph.producer(&states).unwrap();
    graph.edit(producer, |node| node.output[0] = "wide".to_owned()).unwrap();
    for (name, value) in [("from", 0), ("to", CONTEXT), ("axis", 2)] {
        let tensor = TensorProto {
            name: Some(name.to_owned()),
            data_type: Some(DataType::Int64 as i32),
            dims: vec![1],
            int64_data: vec![value],
            ..Default::default()
        };
        graph.add_initializer(tensor).unwrap();
    }
    graph.add(NodeBuilder::new("Slice").inputs(["wide", "from", "to", "axis"]).output(&states).build()).unwrap();
    let typed = graph.outputs_mut()[0].r#type.as_mut().and_then(|typed| typed.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = typed {
        tensor.shape = None;
    }
    let bytes = model.to_proto().unwrap().encode_to_vec();
    fs::write(path, bytes).unwrap();
}

fn generate(folder: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::cargo_bin("infusion").unwrap();
    command.current_dir(folder).args(["generate", "-m", ".", "--steps", "2", "--width", "64", "--height", "64"]);
    command.args(["--seed", "7", "--no-cache", "--threads", "1", "--provider", "cpu", "--json"]).args(arguments);
    serde_json::from_slice(&command.assert().success().get_output().stdout).unwrap()
}

fn pixels(path: &Path) -> image::RgbImage {
    image::open(path).unwrap().to_rgb8()
}

/// The largest difference of two pictures' bytes.
fn apart(a: &image::RgbImage, b: &image::RgbImage) -> u8 {
    a.iter().zip(b.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

fn draws(name: &str, most_apart: u8) {
    let dialect = dialects::named(name);
    let pipeline = pipeline(&dialect);
    let folder = pipeline.path();
    generate(folder, &["a photo of a ball", "-o", "plain.png"]);
    let concept = ["a photo of a <ball>", "--concept", "ball=wave.safetensors", "--force"];
    for streams in ["separate", "shared"] {
        let (picture, foundation) = (format!("{streams}.png"), format!("{streams}-f.png"));
        let more = ["--streams", streams, "-o", &picture, "--foundation", &foundation];
        let report = generate(folder, &[&concept[..], &more].concat());
        let expected = if dialect.dynamic_batch() { ["dual", "shared"] } else { ["f+c", "f+c"] };
        assert!(expected.contains(&report["graphs"].as_str().unwrap()), "{name} {streams}: {report}");
        let [picture, foundation, plain] = [&picture, &foundation, "plain.png"].map(|file| pixels(&folder.join(file)));
        let moved = apart(&foundation, &plain);
        assert!(moved <= most_apart, "{name} {streams}: F is {moved}/255 from the picture without a concept");
        assert!(apart(&picture, &foundation) > 8, "{name} {streams}: the concept does nothing");
    }
}

#[test]
fn dynamic_int8_goes_the_whole_way() {
    draws("dynamic-int8", 16); // one scale serves both streams' rows
}

#[test]
fn qdq_int8_goes_the_whole_way() {
    draws("qdq-int8", 64); // integer kernels are fused around other nodes than in the source
}

#[test]
fn half_precision_goes_the_whole_way() {
    draws("fp16-upcast-17", 4);
}

#[test]
fn baked_sizes_and_timesteps_of_every_form_are_fed() {
    for name in ["sdpa-17-static", "baddbmm-11", "baddbmm-14", "lcm-17"] {
        draws(name, 2);
    }
}
