use std::collections::{HashMap, HashSet};

use super::Result;
use super::emit::Emit;
use crate::onnx::infer::{Dim, Shapes};
use crate::onnx::proto::NodeProto;
use crate::onnx::{DataType, Graph, NodeBuilder, NodeId};

/// Parts of the forward pass that the way back computes a second time instead of keeping what they made.
///
/// What a part hands to nodes outside of it is kept; what stays inside is computed again from what
/// enters it, once the first gradient has arrived. Copies that read the same tensors would be merged with
/// the originals, and could be scheduled right beside them. So everything that enters passes a gate: a
/// `Reshape` to its own shape plus a zero that is computed from that gradient. It copies nothing, changes
/// no number, and no optimiser can know that it is zero.
pub(super) struct Recompute {
    parts: Vec<Part>,
    /// The part that each tensor stays in.
    inner: HashMap<String, usize>,
}

struct Part {
    /// In topological order.
    nodes: Vec<NodeId>,
    /// Tensor → its second self, once that is written.
    again: Option<HashMap<String, String>>,
}

impl Recompute {
    pub fn new(graph: &Graph, order: &[NodeId], parts: &[HashSet<NodeId>]) -> Self {
        let mut inner = HashMap::new();
        for (index, part) in parts.iter().enumerate() {
            let stays = |tensor: &String| {
                !graph.is_output(tensor) && graph.consumers(tensor).iter().all(|reader| part.contains(reader))
            };
            let made = part.iter().flat_map(|id| &graph.node(*id).output).filter(|tensor| !tensor.is_empty());
            inner.extend(made.filter(|tensor| stays(tensor)).map(|tensor| (tensor.clone(), index)));
        }
        let ordered = |part: &HashSet<NodeId>| order.iter().copied().filter(|id| part.contains(id)).collect();
        Self { parts: parts.iter().map(|part| Part { nodes: ordered(part), again: None }).collect(), inner }
    }

    /// `node` as the way back should read it: with second selves for what was not kept. `gradient` is what
    /// arrived at the node.
    pub fn instead(&mut self, emit: &mut Emit<'_>, node: &NodeProto, gradient: &str) -> Result<NodeProto> {
        let mut node = node.clone();
        for tensor in node.input.iter_mut().chain(&mut node.output) {
            let Some(&index) = self.inner.get(tensor.as_str()) else { continue };
            let part = &mut self.parts[index];
            if part.again.is_none() {
                part.again = Some(write_again(emit, &part.nodes, gradient)?);
            }
            if let Some(second) = part.again.as_ref().and_then(|again| again.get(tensor.as_str())) {
                *tensor = second.clone();
            }
        }
        Ok(node)
    }
}

/// Copies `nodes` behind a gate that opens when `gradient` is there.
fn write_again(emit: &mut Emit<'_>, nodes: &[NodeId], gradient: &str) -> Result<HashMap<String, String>> {
    let zero = zero_of(emit, gradient)?;
    let mut again: HashMap<String, String> = HashMap::new();
    for id in nodes {
        let mut node = emit.graph.node(*id).clone();
        for tensor in &mut node.input {
            if !again.contains_key(tensor.as_str()) && is_data(emit.graph, emit.shapes, tensor) {
                let gated = gate(emit, tensor, &zero)?;
                again.insert(tensor.clone(), gated);
            }
            if let Some(second) = again.get(tensor.as_str()) {
                *tensor = second.clone();
            }
        }
        for output in node.output.iter_mut().filter(|output| !output.is_empty()) {
            let second = emit.graph.fresh_name(&format!("infusion.again/{output}"));
            again.insert(std::mem::replace(output, second.clone()), second);
        }
        node.name = node.output.first().cloned();
        emit.shapes.add_node(&node, emit.opset);
        emit.graph.add(node)?;
    }
    Ok(again)
}

/// Whether the tensor holds floats that are computed or fed.
fn is_data(graph: &Graph, shapes: &Shapes, tensor: &str) -> bool {
    let float = matches!(
        shapes.elem_type(tensor),
        Some(DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double)
    );
    !tensor.is_empty() && float && graph.constant(tensor).is_none()
}

/// An int64 list of one zero, computed from the first element of `gradient`: |g| < 0 holds for no number,
/// and not for what is none.
fn zero_of(emit: &mut Emit<'_>, gradient: &str) -> Result<String> {
    let flat = emit.reshape(gradient, &[-1])?;
    let first = emit.ints(&[0])?;
    let first = emit.op("Gather", &[&flat, &first])?;
    let first = emit.cast(&first, DataType::Float)?;
    let size = emit.op("Abs", &[&first])?;
    let bound = emit.scalar(0.0, DataType::Float)?;
    let never = emit.op("Less", &[&size, &bound])?;
    emit.cast(&never, DataType::Int64)
}

fn gate(emit: &mut Emit<'_>, tensor: &str, zero: &str) -> Result<String> {
    let shape = emit.node(NodeBuilder::new("Shape").input(tensor))?;
    let shape = emit.op("Add", &[&shape, zero])?;
    let gated = emit.op("Reshape", &[tensor, &shape])?;
    let known: Option<Vec<Dim>> = emit.shapes.shape(tensor).map(<[Dim]>::to_vec);
    if let (Some(elem), Some(shape)) = (emit.shapes.elem_type(tensor), known) {
        emit.shapes.state(&gated, elem, shape);
    }
    Ok(gated)
}
