//! A small model with one of everything the reader and writer must carry through.

use super::proto::tensor_proto::DataLocation;
use super::proto::type_proto::{Tensor, Value};
use super::proto::{
    FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto, tensor_shape_proto,
};
use super::{DataType, NodeBuilder};

/// `y = (x · w + typed) · 2`, the last step in an `If` that captures the sum; `w` is [32,32].
pub(super) fn model() -> ModelProto {
    let mut choose = NodeBuilder::new("If").name("choose").input("always").output("y").build();
    for (name, op) in [("then_branch", "Add"), ("else_branch", "Mul")] {
        let node = NodeBuilder::new(op).name(name).input("sum").input("sum").output(format!("{name}.y")).build();
        let graph = GraphProto { node: vec![node], output: vec![info(&format!("{name}.y"), &[])], ..named(name) };
        let mut attribute =
            super::proto::AttributeProto { name: Some(name.to_owned()), g: Some(graph), ..Default::default() };
        attribute.set_type(attribute_proto::AttributeType::Graph);
        choose.attribute.push(attribute);
    }
    let graph = GraphProto {
        node: vec![
            NodeBuilder::new("MatMul").name("project").input("x").input("w").output("xw").build(),
            NodeBuilder::new("Add").name("shift").input("xw").input("typed").output("sum").build(),
            choose,
        ],
        initializer: vec![
            raw("w", &[32, 32], (0..32 * 32).map(|i| (i % 7) as f32 - 3.0)),
            TensorProto { float_data: vec![0.5; 32], ..tensor("typed", &[32], DataType::Float) },
            TensorProto { raw_data: Some(vec![1].into()), ..tensor("always", &[], DataType::Bool) },
        ],
        input: vec![info("x", &[1, 32])],
        output: vec![info("y", &[1, 32])],
        value_info: vec![info("xw", &[1, 32])],
        ..named("small")
    };
    let unused = FunctionProto {
        name: Some("Twice".to_owned()),
        domain: Some("local".to_owned()),
        input: vec!["a".to_owned()],
        output: vec!["b".to_owned()],
        node: vec![NodeBuilder::new("Add").name("twice").input("a").input("a").output("b").build()],
        opset_import: vec![opset("", 17)],
        ..Default::default()
    };
    ModelProto {
        ir_version: Some(8),
        producer_name: Some("test".to_owned()),
        opset_import: vec![opset("", 17), opset("local", 1)],
        graph: Some(graph),
        functions: vec![unused],
        metadata_props: vec![entry("key", "value")],
        ..Default::default()
    }
}

/// A model of `nodes` from input `x` to output `y`.
pub(super) fn chain(nodes: Vec<NodeProto>) -> ModelProto {
    let graph =
        GraphProto { node: nodes, input: vec![info("x", &[1])], output: vec![info("y", &[1])], ..named("chain") };
    ModelProto { ir_version: Some(8), opset_import: vec![opset("", 17)], graph: Some(graph), ..Default::default() }
}

pub(super) fn raw(name: &str, dims: &[i64], values: impl IntoIterator<Item = f32>) -> TensorProto {
    let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
    TensorProto { raw_data: Some(bytes.into()), ..tensor(name, dims, DataType::Float) }
}

pub(super) fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> TensorProto {
    TensorProto {
        data_location: Some(DataLocation::External as i32),
        external_data: entries.iter().map(|(key, value)| entry(key, value)).collect(),
        ..tensor(name, dims, DataType::Float)
    }
}

pub(super) fn tensor(name: &str, dims: &[i64], element: DataType) -> TensorProto {
    let (name, data_type) = (Some(name.to_owned()), Some(element as i32));
    TensorProto { name, dims: dims.to_vec(), data_type, ..Default::default() }
}

pub(super) fn info(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |&dim| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(dim)),
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = Tensor { elem_type: Some(DataType::Float as i32), shape: (!dims.is_empty()).then_some(shape) };
    let r#type = TypeProto { value: Some(Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(r#type), ..Default::default() }
}

pub(super) fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.to_owned()), value: Some(value.to_owned()) }
}

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) }
}

fn named(name: &str) -> GraphProto {
    GraphProto { name: Some(name.to_owned()), ..Default::default() }
}
