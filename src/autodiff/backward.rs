use std::collections::{HashMap, HashSet};

use super::emit::Emit;
use super::recompute::Recompute;
use super::rules::{is_quantised, rule};
use super::step::Step;
use super::{Error, Result};
use crate::onnx::infer::Shapes;
use crate::onnx::proto::NodeProto;
use crate::onnx::{DataType, Graph, Model, NodeExt, NodeId};

/// What to differentiate.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Tensors to differentiate, each with the tensor that holds the gradient arriving at it.
    pub seeds: Vec<(String, String)>,
    /// Tensors whose gradients are wanted: inputs, or any others of a float type.
    pub wanted: Vec<String>,
    /// Tensors that count as constants, whatever they depend on.
    pub stop: HashSet<String>,
    /// Sets of nodes whose inner tensors are computed again on the way back instead of being kept.
    pub recompute: Vec<HashSet<NodeId>>,
}

/// Appends the gradients of the seeded tensors with respect to the wanted ones, and returns
/// the name of each wanted tensor's gradient. `shapes` must hold what
/// [`infer`](crate::onnx::infer::infer) says about `model`, and learns about what is added.
///
/// # Errors
/// An opset outside of 13 to 23, a node on the way that cannot be differentiated, or a wanted
/// tensor that the seeded ones do not depend on. The model is then partly extended: drop it.
pub fn backward(model: &mut Model, shapes: &mut Shapes, request: &Request) -> Result<HashMap<String, String>> {
    let opset = model.opset("").unwrap_or(0);
    if !(13..=25).contains(&opset) {
        let reason = format!("gradients are written for opsets 13 to 25, and this model has {opset}");
        return Err(Error::Unsupported { place: "model".to_owned(), reason });
    }
    let order = model.graph.topological_order()?;
    let active = active_tensors(model, shapes, request, &order);
    let mut gradients = Gradients::default();
    for (tensor, seed) in &request.seeds {
        gradients.add(tensor, seed.clone());
    }
    let mut recompute = Recompute::new(&model.graph, &order, &request.recompute);
    let mut emit = Emit::new(&mut model.graph, shapes, opset);
    for id in order.into_iter().rev() {
        differentiate(&mut emit, id, &active, &mut gradients, &mut recompute)?;
    }
    let mut found = HashMap::new();
    for tensor in &request.wanted {
        let gradient = gradients.take(&mut emit, tensor)?;
        let gradient = gradient.ok_or_else(|| unreached(emit.graph, &active, tensor))?;
        found.insert(tensor.clone(), gradient);
    }
    Ok(found)
}

fn differentiate(
    emit: &mut Emit<'_>,
    id: NodeId,
    active: &HashSet<String>,
    gradients: &mut Gradients,
    recompute: &mut Recompute,
) -> Result<()> {
    let node = emit.graph.node(id).clone();
    let wanted: Vec<bool> = node.input.iter().map(|input| active.contains(input)).collect();
    if !wanted.contains(&true) {
        return Ok(());
    }
    let arrived: Vec<Option<String>> =
        node.output.iter().map(|output| gradients.take(emit, output)).collect::<Result<_>>()?;
    let Some(first) = arrived.iter().flatten().next().cloned() else { return Ok(()) };
    for (output, gradient) in node.output.iter().zip(&arrived) {
        if let Some(gradient) = gradient {
            gradients.add(output, gradient.clone());
        }
    }
    if is_quantised(&node) {
        return Err(Error::Quantised { place: node.place() });
    }
    let rule = rule(node.domain_name(), node.op_type()).ok_or_else(|| Error::NoRule { place: node.place() })?;
    let read = recompute.instead(emit, &node, &first)?;
    let mut step = Step::new(emit, &read, wanted, arrived);
    rule(&mut step)?;
    for (slot, gradient) in step.into_given() {
        gradients.add(&node.input[slot], gradient);
    }
    Ok(())
}

/// Why no gradient came to `tensor`: most often numbers on the way are quantised, which ends it.
fn unreached(graph: &Graph, active: &HashSet<String>, tensor: &str) -> Error {
    let reads = |node: &&NodeProto| node.input.iter().any(|input| active.contains(input));
    match graph.nodes().map(|(_, node)| node).filter(reads).find(|node| is_quantised(node)) {
        Some(node) => Error::Quantised { place: node.place() },
        None => Error::Unreached { tensor: tensor.to_owned() },
    }
}

/// The float tensors that depend on a wanted one.
fn active_tensors(model: &Model, shapes: &Shapes, request: &Request, order: &[NodeId]) -> HashSet<String> {
    let mut active: HashSet<String> = request.wanted.iter().cloned().collect();
    for id in order {
        let node = model.graph.node(*id);
        if !node.input.iter().any(|input| active.contains(input)) {
            continue;
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            let differentiable = shapes.elem_type(output).is_none_or(is_float);
            if differentiable && !request.stop.contains(output) {
                active.insert(output.clone());
            }
        }
    }
    active
}

fn is_float(elem: DataType) -> bool {
    matches!(elem, DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double)
}

/// What has arrived at each tensor so far.
#[derive(Default)]
struct Gradients(HashMap<String, Vec<String>>);

impl Gradients {
    fn add(&mut self, tensor: &str, gradient: String) {
        self.0.entry(tensor.to_owned()).or_default().push(gradient);
    }

    /// The sum of what arrived, which nothing may be added to afterwards.
    fn take(&mut self, emit: &mut Emit<'_>, tensor: &str) -> Result<Option<String>> {
        let Some(parts) = self.0.remove(tensor) else { return Ok(None) };
        let mut parts = parts.into_iter();
        let Some(mut sum) = parts.next() else { return Ok(None) };
        for part in parts {
            sum = emit.op("Add", &[&sum, &part])?;
        }
        Ok(Some(sum))
    }
}
