//! Every rule against torch, and errors that say what and where. See `tools/goldens/autodiff.py`.

use std::collections::BTreeSet;

use ndarray::{ArrayD, IxDyn};
use prost::Message;
use safetensors::{Dtype, SafeTensors};

use super::*;
use crate::onnx::infer::infer;
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::{DataType, Model, NodeBuilder, NodeExt};
use crate::runtime::{Session, SessionOptions, Tensor};

fn golden() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/autodiff.safetensors")).expect("the goldens")
}

fn tensor(file: &SafeTensors<'_>, name: &str) -> Tensor {
    let view = file.tensor(name).expect("a tensor of the case");
    let shape = IxDyn(view.shape());
    match view.dtype() {
        Dtype::F32 => {
            let floats = view.data().as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
            Tensor::F32(ArrayD::from_shape_vec(shape, floats).expect("as many as the shape says"))
        }
        Dtype::I64 => {
            let ints = view.data().as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word)).collect();
            Tensor::I64(ArrayD::from_shape_vec(shape, ints).expect("as many as the shape says"))
        }
        Dtype::BOOL => {
            let truths = view.data().iter().map(|byte| *byte != 0).collect();
            Tensor::Bool(ArrayD::from_shape_vec(shape, truths).expect("as many as the shape says"))
        }
        other => panic!("{name} is {other:?}"),
    }
}

fn floats(tensor: &Tensor) -> &ArrayD<f32> {
    match tensor {
        Tensor::F32(array) => array,
        other => panic!("{} is no float tensor", other.element_type()),
    }
}

fn float_input(name: &str, shape: &[usize]) -> ValueInfoProto {
    use crate::onnx::proto::tensor_shape_proto::{Dimension, dimension};
    use crate::onnx::proto::{TensorShapeProto, TypeProto, type_proto};
    let dim =
        |&extent: &usize| Dimension { value: Some(dimension::Value::DimValue(extent as i64)), ..Default::default() };
    let shape = TensorShapeProto { dim: shape.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(DataType::Float as i32), shape: Some(shape) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(r#type), ..Default::default() }
}

/// The case's model with the gradients of `wanted` as outputs after y.
fn differentiated(bytes: &[u8], wanted: &[String], seed_shape: &[usize]) -> Result<Vec<u8>> {
    let mut model = Model::from_bytes(bytes.to_vec(), None)?;
    model.graph.inputs_mut().push(float_input("seed", seed_shape));
    let mut shapes = infer(&model);
    let elem = shapes.elem_type("y").expect("a type");
    let shape = shapes.shape("y").expect("a shape").to_vec();
    shapes.state("seed", elem, shape);
    let request =
        Request { seeds: vec![("y".to_owned(), "seed".to_owned())], wanted: wanted.to_vec(), ..Default::default() };
    let gradients = backward(&mut model, &mut shapes, &request)?;
    for (tensor, gradient) in gradients {
        model.graph.add(NodeBuilder::new("Identity").input(gradient).output(format!("grad/{tensor}")).build())?;
        let output = ValueInfoProto { name: Some(format!("grad/{tensor}")), ..Default::default() };
        model.graph.outputs_mut().push(output);
    }
    Ok(model.to_proto()?.encode_to_vec())
}

#[test]
fn every_rule_gives_the_gradient_that_torch_gives() {
    let bytes = golden();
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let names = file.names();
    let cases: BTreeSet<&str> = names.iter().filter_map(|name| name.strip_suffix("/model")).collect();
    assert!(cases.len() > 100);
    let mut wrong = Vec::new();
    for case in cases {
        if let Err(reason) = check(&file, case) {
            wrong.push(format!("{case}: {reason}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_rule_is_without_a_golden() {
    let bytes = golden();
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let models = file.names().into_iter().filter(|name| name.ends_with("/model"));
    let mut shown = BTreeSet::new();
    for name in models {
        let model = Model::from_bytes(file.tensor(name).expect("a model").data().to_vec(), None).expect("a model");
        shown.extend(model.graph.nodes().map(|(_, node)| (node.domain_name().to_owned(), node.op_type().to_owned())));
    }
    let known = rules::RULES.iter().map(|(domain, name, _)| ((*domain).to_owned(), (*name).to_owned()));
    let without: Vec<_> = known.filter(|operator| !shown.contains(operator)).collect();
    assert!(without.is_empty(), "{without:?}");
}

#[test]
fn rules_stand_in_order_and_once() {
    let names: Vec<_> = rules::RULES.iter().map(|(domain, name, _)| (domain, name)).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
}

fn check(file: &SafeTensors<'_>, case: &str) -> std::result::Result<(), String> {
    let part = |kind: &str| -> Vec<(String, Tensor)> {
        let prefix = format!("{case}/{kind}/");
        let own = file.names().into_iter().filter_map(|name| name.strip_prefix(&prefix));
        own.map(|name| (name.to_owned(), tensor(file, &format!("{prefix}{name}")))).collect()
    };
    let gradients = part("grad");
    let wanted: Vec<String> = gradients.iter().map(|(name, _)| name.clone()).collect();
    let model = file.tensor(&format!("{case}/model")).expect("a model").data().to_vec();
    let seed = tensor(file, &format!("{case}/seed"));
    let model = differentiated(&model, &wanted, seed.shape()).map_err(|error| error.to_string())?;
    let session = Session::from_bytes(&model, case, &SessionOptions::default()).map_err(|error| error.to_string())?;
    let mut feeds = part("in");
    feeds.push(("seed".to_owned(), seed));
    let feeds: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut outputs = session.run(&feeds).map_err(|error| error.to_string())?;
    for (name, expected) in &gradients {
        let found = outputs.take(&format!("grad/{name}")).map_err(|error| error.to_string())?;
        let (found, expected) = (floats(&found), floats(expected));
        if found.shape() != expected.shape() {
            return Err(format!("the gradient of {name} has shape {:?}, not {:?}", found.shape(), expected.shape()));
        }
        let largest = expected.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
        let apart = found.iter().zip(expected).fold(0f32, |apart, (a, b)| apart.max((a - b).abs()));
        // Both sum at most a few hundred float32 products, in different orders.
        if apart.is_nan() || apart > 2e-5 * largest {
            return Err(format!("the gradient of {name} is {apart} off where the largest is {largest}"));
        }
    }
    Ok(())
}

fn small(nodes: Vec<NodeBuilder>) -> (Model, crate::onnx::infer::Shapes) {
    let mut model = Model::from_bytes(
        crate::onnx::proto::ModelProto {
            graph: Some(Default::default()),
            opset_import: vec![crate::onnx::proto::OperatorSetIdProto { domain: None, version: Some(17) }],
            ..Default::default()
        }
        .encode_to_vec(),
        None,
    )
    .expect("an empty model");
    for node in nodes {
        model.graph.add(node.build()).expect("distinct names");
    }
    let mut shapes = infer(&model);
    for name in ["x", "y", "z", "seed"] {
        shapes.state(name, DataType::Float, vec![2.into(), 3.into()]);
    }
    shapes.state("map", DataType::Float, vec![]);
    (model, shapes)
}

fn request(seeded: &str) -> Request {
    let seeds = vec![(seeded.to_owned(), "seed".to_owned())];
    Request { seeds, wanted: vec!["x".to_owned()], ..Default::default() }
}

fn refusal(nodes: Vec<NodeBuilder>) -> String {
    let (mut model, mut shapes) = small(nodes);
    backward(&mut model, &mut shapes, &request("y")).expect_err("a refusal").to_string()
}

#[test]
fn refusals_name_the_node_and_the_operator() {
    let named = |op: &str| NodeBuilder::new(op).name("culprit").input("x").output("y");
    let message = refusal(vec![named("Det")]);
    assert!(message.contains("'culprit' (Det)") && message.contains("no gradient rule"), "{message}");
    let message = refusal(vec![named("QuantizeLinear")]);
    assert!(message.contains("'culprit' (QuantizeLinear)") && message.contains("quantised"), "{message}");
    let message = refusal(vec![NodeBuilder::new("Conv").name("culprit").inputs(["z", "x"]).output("y")]);
    assert!(message.contains("'culprit' (Conv)") && message.contains("input 1"), "{message}");
    let message = refusal(vec![NodeBuilder::new("Neg").input("z").output("y")]);
    assert!(message.contains("'x'") && message.contains("do not depend"), "{message}");
}

#[test]
fn what_lies_behind_a_stop_is_constant() {
    let nodes = || {
        vec![NodeBuilder::new("Det").input("x").output("map"), NodeBuilder::new("Mul").inputs(["x", "map"]).output("y")]
    };
    let (mut model, mut shapes) = small(nodes());
    let stopped = Request { stop: ["map".to_owned()].into(), ..request("y") };
    let before = model.graph.node_count();
    backward(&mut model, &mut shapes, &stopped).expect("no way through the map");
    assert_eq!(model.graph.node_count(), before + 1);
    assert!(refusal(nodes()).contains("Det"));
}

#[test]
fn only_what_lies_between_is_differentiated() {
    let (mut model, mut shapes) = small(vec![
        NodeBuilder::new("Det").input("z").output("side"),
        NodeBuilder::new("Neg").input("x").output("y"),
        NodeBuilder::new("Det").input("y").output("beyond"),
    ]);
    let found = backward(&mut model, &mut shapes, &request("y")).expect("a gradient");
    assert_eq!(model.graph.node_count(), 4);
    assert!(model.graph.producer(&found["x"]).is_some());
}

#[test]
fn a_weight_is_read_by_its_own_name_and_never_turned() {
    let (mut model, mut shapes) = small(vec![NodeBuilder::new("MatMul").inputs(["x", "w"]).output("y")]);
    shapes.state("w", DataType::Float, vec![3.into(), 3.into()]);
    backward(&mut model, &mut shapes, &request("y")).expect("a gradient");
    assert_eq!(model.graph.consumers("w").len(), 2);
    assert!(model.graph.nodes().all(|(_, node)| node.op_type() != "Transpose"));
}
