//! Graphs for unit tests, written as `out = Op(in, in); …`.

use crate::onnx::proto::ValueInfoProto;
use crate::onnx::{Graph, NodeBuilder};

/// The graph of `inputs` and `nodes`; the last tensor is its output.
pub fn graph(inputs: &[&str], nodes: &str) -> Graph {
    let mut graph = Graph::default();
    graph.inputs_mut().extend(inputs.iter().copied().map(value));
    for statement in nodes.split(';') {
        let (output, call) = statement.split_once('=').unwrap();
        let (op, operands) = call.trim().trim_end_matches(')').split_once('(').unwrap();
        let operands = operands.split(',').map(str::trim).filter(|name| !name.is_empty());
        let node = NodeBuilder::new(op).name(output.trim()).inputs(operands).output(output.trim()).build();
        graph.add(node).unwrap();
        *graph.outputs_mut() = vec![value(output.trim())];
    }
    graph
}

fn value(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.to_owned()), ..Default::default() }
}
