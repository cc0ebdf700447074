use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use super::Result;
use crate::onnx::{Graph, NodeExt, NodeId};

/// What the train graph keeps of C's forward pass for the way back, and what it computes twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Memory {
    /// The inputs of every block; all within is computed again: least memory, about a fifth more time.
    Low,
    /// Everything but the probabilities of self-attention.
    #[default]
    Balanced,
    /// Everything.
    Fast,
}

impl Memory {
    /// All of them, from the least memory to the least time.
    pub const ALL: [Self; 3] = [Self::Low, Self::Balanced, Self::Fast];

    /// The name in options: `low`, `balanced` or `fast`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Balanced => "balanced",
            Self::Fast => "fast",
        }
    }

    /// The parts of C to compute again. `nodes` are C's in topological order, `entries` what leaves each
    /// cross-attention in C, in order of execution.
    pub(super) fn parts(self, graph: &Graph, nodes: &[NodeId], entries: &[String]) -> Vec<HashSet<NodeId>> {
        match self {
            Self::Low => blocks(graph, nodes, entries),
            Self::Balanced => attentions(graph, nodes),
            Self::Fast => Vec::new(),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|memory| memory.name() == name);
        known.ok_or_else(|| format!("unknown memory '{name}': use low, balanced or fast"))
    }
}

/// What lies between one cross-attention and the next: few tensors pass from one such stretch to another.
fn blocks(graph: &Graph, nodes: &[NodeId], entries: &[String]) -> Vec<HashSet<NodeId>> {
    let place: HashMap<NodeId, usize> = nodes.iter().copied().zip(0..).collect();
    let first_reader = |entry: &String| graph.consumers(entry).iter().filter_map(|id| place.get(id)).min().copied();
    let mut borders: Vec<usize> = entries.iter().filter_map(first_reader).collect();
    borders.push(nodes.len());
    borders.sort_unstable();
    borders.windows(2).map(|ends| nodes[ends[0]..ends[1]].iter().copied().collect()).collect()
}

/// From the product that makes the scores, over their Softmax, to the product with the values.
fn attentions(graph: &Graph, nodes: &[NodeId]) -> Vec<HashSet<NodeId>> {
    let own: HashSet<NodeId> = nodes.iter().copied().collect();
    let around = |softmax: &NodeId| {
        let before = |id: NodeId| graph.producer(graph.node(id).input.first()?);
        let after = |id: NodeId| match graph.consumers(graph.node(id).output.first()?) {
            [only] => Some(*only),
            _ => None,
        };
        let back = chain(graph, &own, *softmax, before)?;
        let forth = chain(graph, &own, *softmax, after)?;
        Some(back.into_iter().chain(forth).collect())
    };
    nodes.iter().filter(|id| graph.node(**id).is("Softmax")).filter_map(around).collect()
}

/// The nodes from `start` to the nearest product, all of them among `own`; `None` if there is none.
fn chain(
    graph: &Graph,
    own: &HashSet<NodeId>,
    start: NodeId,
    next: impl Fn(NodeId) -> Option<NodeId>,
) -> Option<Vec<NodeId>> {
    let mut nodes = vec![start];
    loop {
        let id = next(*nodes.last()?).filter(|id| own.contains(id))?;
        nodes.push(id);
        if ["MatMul", "FusedMatMul", "Einsum"].contains(&graph.node(id).op_type()) {
            return Some(nodes);
        }
    }
}
