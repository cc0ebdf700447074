use std::collections::HashMap;

use super::rules::rule;
use super::site::{Fact, Site};
use super::{Dim, Shapes};
use crate::onnx::proto::tensor_shape_proto::dimension::Value;
use crate::onnx::proto::type_proto::Value as TypeValue;
use crate::onnx::proto::{FunctionProto, NodeProto, OperatorSetIdProto, ValueInfoProto};
use crate::onnx::{DataType, Model, NodeExt};

/// Local functions nest at most this deep.
const DEEPEST_CALL: usize = 16;

/// Infers the shapes of all tensors of the model's main graph.
///
/// Named extents of the inputs become symbols of that name; an unnamed one of input
/// `x` along axis 2 is called `x.2`.
#[must_use]
pub fn infer(model: &Model) -> Shapes {
    let graph = &model.graph;
    let mut facts = HashMap::with_capacity(graph.node_count() * 2);
    for (name, tensor) in graph.initializers() {
        let mut fact = Fact::of_tensor(tensor);
        if graph.is_input(name) {
            fact = Fact::new(fact.elem, None);
        }
        facts.insert(name.clone(), fact);
    }
    for input in graph.inputs() {
        facts.insert(input.name().to_owned(), stated(input, true));
    }
    let hints: HashMap<&str, Fact> =
        graph.value_info().values().chain(graph.outputs()).map(|info| (info.name(), stated(info, false))).collect();
    let Ok(order) = graph.topological_order() else { return Shapes { facts } };
    let engine =
        Engine { functions: &model.header().functions, opsets: &model.header().opset_import, hints: &hints, depth: 0 };
    engine.walk(order.into_iter().map(|id| graph.node(id)), &mut facts);
    Shapes { facts }
}

struct Engine<'a> {
    functions: &'a [FunctionProto],
    opsets: &'a [OperatorSetIdProto],
    hints: &'a HashMap<&'a str, Fact>,
    depth: usize,
}

impl Engine<'_> {
    fn walk<'n>(&self, nodes: impl Iterator<Item = &'n NodeProto>, facts: &mut HashMap<String, Fact>) {
        for node in nodes {
            let outputs = self.node(node, facts);
            let mut outputs = outputs.into_iter();
            for name in &node.output {
                let fact = outputs.next().unwrap_or_default();
                if !name.is_empty() {
                    let fact = match self.hints.get(name.as_str()) {
                        Some(hint) => completed(fact, hint),
                        None => fact,
                    };
                    facts.insert(name.clone(), fact);
                }
            }
        }
    }

    fn node(&self, node: &NodeProto, facts: &HashMap<String, Fact>) -> Vec<Fact> {
        if let Some(function) = self.function(node) {
            return self.call(function, node, facts);
        }
        outputs_of(node, self.opset(node.domain_name()), facts)
    }

    fn opset(&self, domain: &str) -> i64 {
        let same = |import: &&OperatorSetIdProto| match import.domain() {
            "ai.onnx" => domain.is_empty(),
            other => other == domain,
        };
        self.opsets.iter().find(same).map_or(1, |import| import.version())
    }

    fn function(&self, node: &NodeProto) -> Option<&FunctionProto> {
        let same = |function: &&FunctionProto| {
            function.name() == node.op_type()
                && function.domain() == node.domain()
                && function.overload() == node.overload()
        };
        self.functions.iter().find(same).filter(|_| self.depth < DEEPEST_CALL)
    }

    fn call(&self, function: &FunctionProto, node: &NodeProto, facts: &HashMap<String, Fact>) -> Vec<Fact> {
        let mut inner = HashMap::new();
        for (parameter, argument) in function.input.iter().zip(&node.input) {
            if let Some(fact) = facts.get(argument) {
                inner.insert(parameter.clone(), fact.clone());
            }
        }
        let body: Vec<NodeProto> = function.node.iter().map(|inner| bound(inner, function, node)).collect();
        let engine = Engine {
            functions: self.functions,
            opsets: &function.opset_import,
            hints: &HashMap::new(),
            depth: self.depth + 1,
        };
        engine.walk(body.iter(), &mut inner);
        function.output.iter().map(|name| inner.remove(name).unwrap_or_default()).collect()
    }
}

/// What the rule for `node` says about its outputs.
pub(super) fn outputs_of(node: &NodeProto, opset: i64, facts: &HashMap<String, Fact>) -> Vec<Fact> {
    let Some(rule) = rule(node.domain_name(), node.op_type()) else { return Vec::new() };
    let inputs = node.input.iter().map(|name| facts.get(name)).collect();
    rule(&Site { node, opset, inputs })
}

/// A function's node with its references to the caller's attributes filled in.
fn bound(inner: &NodeProto, function: &FunctionProto, caller: &NodeProto) -> NodeProto {
    let mut node = inner.clone();
    for attribute in &mut node.attribute {
        let Some(wanted) = attribute.ref_attr_name.take().filter(|name| !name.is_empty()) else { continue };
        let default = || function.attribute_proto.iter().find(|default| default.name() == wanted);
        if let Some(value) = caller.attr(&wanted).or_else(default) {
            let name = attribute.name.take();
            *attribute = value.clone();
            attribute.name = name;
        }
    }
    node
}

/// What the file states about a tensor; inputs get symbols for what it leaves open.
fn stated(info: &ValueInfoProto, input: bool) -> Fact {
    let Some(TypeValue::TensorType(tensor)) = info.r#type.as_ref().and_then(|ty| ty.value.as_ref()) else {
        return Fact::default();
    };
    let elem = DataType::try_from(tensor.elem_type()).ok().filter(|&elem| elem != DataType::Undefined);
    let shape = tensor.shape.as_ref().map(|shape| {
        let dim = |(axis, dim): (usize, &crate::onnx::proto::tensor_shape_proto::Dimension)| match &dim.value {
            Some(Value::DimValue(value)) if *value >= 0 => Dim::Known(*value),
            Some(Value::DimParam(name)) if !name.is_empty() => Dim::symbol(name),
            _ if input => Dim::symbol(&format!("{}.{axis}", info.name())),
            _ => Dim::Unknown,
        };
        shape.dim.iter().enumerate().map(dim).collect()
    });
    Fact::new(elem, shape)
}

/// `fact` with its gaps filled from `hint`.
fn completed(mut fact: Fact, hint: &Fact) -> Fact {
    fact.elem = fact.elem.or(hint.elem);
    match (&mut fact.shape, &hint.shape) {
        (Some(shape), Some(hint)) if shape.len() == hint.len() => {
            for (dim, hint) in shape.iter_mut().zip(hint) {
                if *dim == Dim::Unknown {
                    *dim = hint.clone();
                }
            }
        }
        (shape @ None, hint) => *shape = hint.clone(),
        _ => {}
    }
    fact
}
