use std::collections::HashSet;

use super::flow::DataFlow;
use crate::onnx::proto::NodeProto;
use crate::onnx::{Graph, NodeExt, NodeId};

/// Operators that pass elements on without mixing positions: views, casts, (de)quantisation, and
/// elementwise arithmetic with something that is no data.
const TRANSPARENT: &[&str] = &[
    "Add",
    "Cast",
    "CastLike",
    "Clip",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "DynamicQuantizeLinear",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Max",
    "Min",
    "Mul",
    "QuantizeLinear",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// Operators that multiply data by weights.
const LINEAR: &[&str] = &[
    "MatMul",
    "Gemm",
    "Conv",
    "FusedMatMul",
    "FusedGemm",
    "FusedConv",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "ConvInteger",
    "QLinearMatMul",
    "QLinearConv",
    "QGemm",
    "MatMulNBits",
    "NhwcConv",
];

/// No attention has more nodes than this between two of its products.
const LONGEST: usize = 64;

/// A graph with its data flow, to walk along.
#[derive(Clone, Copy)]
pub struct Trail<'a> {
    pub graph: &'a Graph,
    pub flow: &'a DataFlow,
}

/// Where a walk ended and what it passed.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The node that the walk looked for.
    pub node: NodeId,
    /// Its input (walking forward) or output (walking back) that the walk came by.
    pub slot: usize,
    /// The nodes on the way, in walking order.
    pub passed: Vec<NodeId>,
}

impl Trail<'_> {
    /// Walks from `tensor` towards the inputs until `stop` says yes to a node.
    pub fn back(&self, tensor: &str, stop: impl Fn(&NodeProto) -> bool) -> Option<Reached> {
        let mut pending = vec![(tensor.to_owned(), Vec::new())];
        let mut seen = HashSet::new();
        while let Some((tensor, passed)) = pending.pop() {
            let Some(id) = self.graph.producer(&tensor) else { continue };
            let node = self.graph.node(id);
            if stop(node) {
                let slot = node.output.iter().position(|output| *output == tensor).unwrap_or(0);
                return Some(Reached { node: id, slot, passed });
            }
            if seen.len() < LONGEST && is_transparent(node) && seen.insert(id) {
                let on = || passed.iter().copied().chain([id]).collect();
                pending.extend(self.flow.data_inputs(node).iter().rev().map(|(_, name)| ((*name).to_owned(), on())));
            }
        }
        None
    }

    /// Walks from `tensor` towards the outputs until `stop` says yes to a node.
    pub fn forward(&self, tensor: &str, stop: impl Fn(&NodeProto) -> bool) -> Option<Reached> {
        let mut pending = vec![(tensor.to_owned(), Vec::new())];
        let mut seen = HashSet::new();
        while let Some((tensor, passed)) = pending.pop() {
            for &id in self.graph.consumers(&tensor) {
                let node = self.graph.node(id);
                let slot = node.input.iter().position(|input| *input == tensor).unwrap_or(0);
                if stop(node) {
                    return Some(Reached { node: id, slot, passed });
                }
                if seen.len() < LONGEST && is_transparent(node) && seen.insert(id) {
                    let on: Vec<NodeId> = passed.iter().copied().chain([id]).collect();
                    pending
                        .extend(node.output.iter().filter(|o| self.flow.is_data(o)).map(|o| (o.clone(), on.clone())));
                }
            }
        }
        None
    }

    /// The linear operator with weights that `tensor` comes from.
    pub fn projection(&self, tensor: &str) -> Option<Reached> {
        self.back(tensor, |node| is_linear(node) && self.flow.data_inputs(node).len() == 1)
    }

    /// The operator types of `nodes`.
    pub fn op_types(&self, nodes: &[NodeId]) -> Vec<String> {
        nodes.iter().map(|id| self.graph.node(*id).op_type().to_owned()).collect()
    }
}

fn is_transparent(node: &NodeProto) -> bool {
    TRANSPARENT.contains(&node.op_type())
}

/// Whether `node` multiplies by something; by weights, if only one of its inputs is data.
pub fn is_linear(node: &NodeProto) -> bool {
    LINEAR.contains(&node.op_type()) && matches!(node.domain_name(), "" | "com.microsoft")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::testing::graph;

    #[test]
    fn walks_pass_views_and_stop_at_products() {
        let graph =
            graph(&["x", "y"], "p = MatMul(x, w); t = Transpose(p); s = MatMul(t, y); m = Mul(s, c); z = Softmax(m)");
        let flow = DataFlow::trace(&graph).unwrap();
        let trail = Trail { graph: &graph, flow: &flow };
        let found = trail.back("m", |node| node.is("MatMul")).unwrap();
        assert_eq!(graph.node(found.node).name(), "s");
        assert_eq!(graph.node(trail.projection("t").unwrap().node).name(), "p");
        assert!(trail.projection("m").is_none());
        assert_eq!(trail.forward("p", |node| node.is("MatMul")).unwrap().slot, 0);
    }
}
