use std::collections::HashMap;

use crate::onnx::proto::NodeProto;
use crate::onnx::{Graph, NodeExt, Result};

/// A set of graph inputs; those past the 64th count as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources(u64);

impl Sources {
    fn input(position: usize) -> Self {
        Self(1 << position.min(63))
    }

    const ALL: Self = Self(u64::MAX);

    /// Those in either set.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a tensor's elements are computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Weights and literals only.
    Constant,
    /// Sizes of other tensors, but none of their elements.
    Arithmetic,
    /// Elements of these graph inputs.
    Data(Sources),
}

impl Flow {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Data(a), Self::Data(b)) => Self::Data(a.union(b)),
            (Self::Data(a), _) | (_, Self::Data(a)) => Self::Data(a),
            (Self::Arithmetic, _) | (_, Self::Arithmetic) => Self::Arithmetic,
            (Self::Constant, Self::Constant) => Self::Constant,
        }
    }
}

/// The [`Flow`] of every tensor of a graph.
#[derive(Clone, Debug, Default)]
pub struct DataFlow {
    flows: HashMap<String, Flow>,
    inputs: Vec<String>,
}

impl DataFlow {
    /// Follows all inputs through the graph.
    ///
    /// # Errors
    /// The graph has a cycle.
    pub fn trace(graph: &Graph) -> Result<Self> {
        let mut flows = HashMap::with_capacity(graph.node_count() * 2);
        let inputs = graph.inputs().iter().map(|input| input.name().to_owned());
        let inputs: Vec<String> = inputs.filter(|name| !graph.initializers().contains_key(name)).collect();
        for (position, name) in inputs.iter().enumerate() {
            flows.insert(name.clone(), Flow::Data(Sources::input(position)));
        }
        let mut found = Self { flows, inputs };
        for id in graph.topological_order()? {
            let node = graph.node(id);
            let flow = found.through(node);
            for (slot, output) in node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                found.flows.insert(output.clone(), if is_figure(node, slot) { Flow::Arithmetic } else { flow });
            }
        }
        Ok(found)
    }

    /// What `tensor` is computed from; tensors that nothing makes are constants.
    pub fn of(&self, tensor: &str) -> Flow {
        self.flows.get(tensor).copied().unwrap_or(Flow::Constant)
    }

    /// The graph inputs whose elements reach `tensor`, if any do.
    pub fn sources(&self, tensor: &str) -> Option<Sources> {
        match self.of(tensor) {
            Flow::Data(sources) => Some(sources),
            _ => None,
        }
    }

    /// Whether elements of some graph input reach `tensor`.
    pub fn is_data(&self, tensor: &str) -> bool {
        self.sources(tensor).is_some()
    }

    /// The graph input that `sources` consists of, if it is one.
    pub fn only_input(&self, sources: Sources) -> Option<&str> {
        let mut positions = (0..self.inputs.len().min(63)).filter(|&position| sources == Sources::input(position));
        positions.next().map(|position| self.inputs[position].as_str())
    }

    /// The inputs of `node` that carry data, with their slots.
    pub fn data_inputs<'n>(&self, node: &'n NodeProto) -> Vec<(usize, &'n str)> {
        let named = node.input.iter().enumerate().map(|(slot, name)| (slot, name.as_str()));
        named.filter(|(_, name)| self.is_data(name)).collect()
    }

    fn through(&self, node: &NodeProto) -> Flow {
        if node.is("Shape") || node.is("Size") {
            let of_constant = node.input_name(0).is_some_and(|name| self.of(name) == Flow::Constant);
            return if of_constant { Flow::Constant } else { Flow::Arithmetic };
        }
        if node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty()) {
            return Flow::Data(Sources::ALL);
        }
        node.input.iter().map(|name| self.of(name)).fold(Flow::Constant, Flow::join)
    }
}

/// Scale and zero point of a dynamic quantisation say how elements are stored, not what they are.
fn is_figure(node: &NodeProto, slot: usize) -> bool {
    node.is("DynamicQuantizeLinear") && slot > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::testing::graph;

    #[test]
    fn sizes_are_not_data() {
        let graph = graph(&["x", "y"], "s = Shape(x); n = Cast(s); z = Mul(y, n); q = Add(x, z); c = Constant()");
        let flow = DataFlow::trace(&graph).unwrap();
        assert_eq!(flow.of("n"), Flow::Arithmetic);
        assert_eq!(flow.of("c"), Flow::Constant);
        assert_eq!(flow.sources("z"), flow.sources("y"));
        let both = flow.sources("x").unwrap().union(flow.sources("y").unwrap());
        assert_eq!(flow.sources("q"), Some(both));
        assert_eq!(flow.only_input(both), None);
        assert_eq!(flow.only_input(flow.sources("z").unwrap()), Some("y"));
    }
}
