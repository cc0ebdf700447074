use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use indexmap::{IndexMap, IndexSet};

use super::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto};
use super::{Error, NodeExt, Result};

/// A node's place in its [`Graph`]; stays valid while other nodes come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    fn slot(self) -> usize {
        self.0 as usize
    }
}

/// A graph whose index of producers and consumers is true after every edit.
///
/// Nodes keep the order of the file; added ones come after it, and
/// [`Graph::to_proto`] sorts them to where their inputs allow.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Option<NodeProto>>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    initializers: IndexMap<String, TensorProto>,
    value_info: IndexMap<String, ValueInfoProto>,
    producers: HashMap<String, NodeId>,
    consumers: HashMap<String, Vec<NodeId>>,
    rest: GraphProto,
    fresh: u32,
}

impl Graph {
    /// Indexes `proto`.
    ///
    /// # Errors
    /// Two producers of one name.
    pub fn from_proto(mut proto: GraphProto) -> Result<Self> {
        let mut graph = Self::default();
        for initializer in std::mem::take(&mut proto.initializer) {
            let name = initializer.name().to_owned();
            if graph.initializers.insert(name.clone(), initializer).is_some() {
                return Err(Error::invalid(format!("initializer '{name}'"), "defined twice"));
            }
        }
        for info in std::mem::take(&mut proto.value_info) {
            graph.value_info.insert(info.name().to_owned(), info);
        }
        graph.inputs = std::mem::take(&mut proto.input);
        graph.outputs = std::mem::take(&mut proto.output);
        let nodes = std::mem::take(&mut proto.node);
        graph.rest = proto;
        let inputs: HashSet<String> = graph.inputs.iter().map(|input| input.name().to_owned()).collect();
        for node in nodes {
            let defined = |name: &str| {
                graph.producers.contains_key(name) || graph.initializers.contains_key(name) || inputs.contains(name)
            };
            if let Some(output) = node.output.iter().find(|name| !name.is_empty() && defined(name)) {
                return Err(already_defined(&node, output));
            }
            graph.index(node);
        }
        Ok(graph)
    }

    /// The graph as protobuf, nodes in topological order.
    ///
    /// # Errors
    /// A cycle, named by one of its nodes.
    pub fn to_proto(&self) -> Result<GraphProto> {
        let mut proto = self.rest.clone();
        proto.node = self.topological_order()?.into_iter().map(|id| self.node(id).clone()).collect();
        proto.initializer = self.initializers.values().cloned().collect();
        proto.value_info = self.value_info.values().cloned().collect();
        proto.input = self.inputs.clone();
        proto.output = self.outputs.clone();
        Ok(proto)
    }

    /// The node under `id`; an empty one if it has been removed.
    pub fn node(&self, id: NodeId) -> &NodeProto {
        static REMOVED: LazyLock<NodeProto> = LazyLock::new(NodeProto::default);
        self.nodes.get(id.slot()).and_then(Option::as_ref).unwrap_or(&REMOVED)
    }

    /// All nodes in file order, added ones last.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeId, &NodeProto)> {
        self.nodes.iter().enumerate().filter_map(|(slot, node)| Some((NodeId(slot as u32), node.as_ref()?)))
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.iter().flatten().count()
    }

    /// The node that makes `tensor`; none for inputs and initializers.
    pub fn producer(&self, tensor: &str) -> Option<NodeId> {
        self.producers.get(tensor).copied()
    }

    /// The nodes that read `tensor`, also from inside a subgraph of theirs.
    pub fn consumers(&self, tensor: &str) -> &[NodeId] {
        self.consumers.get(tensor).map_or(&[], Vec::as_slice)
    }

    /// The constant named `tensor`, if it is one and no graph input overrides it.
    pub fn constant(&self, tensor: &str) -> Option<&TensorProto> {
        if let Some(initializer) = self.initializers.get(tensor) {
            return (!self.is_input(tensor)).then_some(initializer);
        }
        let node = self.node(self.producer(tensor)?);
        if node.is("Constant") { node.attr("value")?.t.as_ref() } else { None }
    }

    /// The initializers in file order, also those that are defaults of inputs.
    pub fn initializers(&self) -> &IndexMap<String, TensorProto> {
        &self.initializers
    }

    /// Mutable access to the initializers; names must stay their keys.
    pub fn initializers_mut(&mut self) -> &mut IndexMap<String, TensorProto> {
        &mut self.initializers
    }

    /// The graph's inputs, including those with an initializer as default.
    pub fn inputs(&self) -> &[ValueInfoProto] {
        &self.inputs
    }

    /// Mutable access to the inputs.
    pub fn inputs_mut(&mut self) -> &mut Vec<ValueInfoProto> {
        &mut self.inputs
    }

    /// The graph's outputs.
    pub fn outputs(&self) -> &[ValueInfoProto] {
        &self.outputs
    }

    /// Mutable access to the outputs.
    pub fn outputs_mut(&mut self) -> &mut Vec<ValueInfoProto> {
        &mut self.outputs
    }

    /// Types and shapes that the file states for inner tensors.
    pub fn value_info(&self) -> &IndexMap<String, ValueInfoProto> {
        &self.value_info
    }

    /// Mutable access to the stated types and shapes.
    pub fn value_info_mut(&mut self) -> &mut IndexMap<String, ValueInfoProto> {
        &mut self.value_info
    }

    /// Whether `tensor` is a graph input.
    pub fn is_input(&self, tensor: &str) -> bool {
        self.inputs.iter().any(|input| input.name() == tensor)
    }

    /// Whether `tensor` is a graph output.
    pub fn is_output(&self, tensor: &str) -> bool {
        self.outputs.iter().any(|output| output.name() == tensor)
    }

    /// Whether any input, initializer or node of the graph is called `tensor`.
    pub fn defines(&self, tensor: &str) -> bool {
        self.producers.contains_key(tensor)
            || self.initializers.contains_key(tensor)
            || self.is_input(tensor)
            || sparse_names(&self.rest).any(|name| name == tensor)
    }

    /// Adds a node.
    ///
    /// # Errors
    /// An output that something else in the graph already makes.
    pub fn add(&mut self, node: NodeProto) -> Result<NodeId> {
        if let Some(output) = node.output.iter().find(|name| !name.is_empty() && self.defines(name)) {
            return Err(already_defined(&node, output));
        }
        Ok(self.index(node))
    }

    fn index(&mut self, node: NodeProto) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            self.producers.insert(output.clone(), id);
        }
        for name in reads(&node) {
            self.consumers.entry(name).or_default().push(id);
        }
        self.nodes.push(Some(node));
        id
    }

    /// Removes a node and returns it; tensors it made are then undefined.
    pub fn remove(&mut self, id: NodeId) -> Option<NodeProto> {
        let node = self.nodes.get_mut(id.slot())?.take()?;
        for output in &node.output {
            self.producers.remove(output);
        }
        for name in reads(&node) {
            self.forget_consumer(&name, id);
        }
        Some(node)
    }

    /// Replaces the node under `id` by the result of `edit`.
    ///
    /// # Errors
    /// As [`Graph::add`]; the graph is then as before.
    pub fn edit(&mut self, id: NodeId, edit: impl FnOnce(&mut NodeProto)) -> Result<()> {
        let Some(before) = self.remove(id) else {
            return Err(Error::invalid("graph", "the node to edit has been removed"));
        };
        let mut after = before.clone();
        edit(&mut after);
        let conflict = after.output.iter().find(|name| !name.is_empty() && self.defines(name)).cloned();
        let kept = if conflict.is_some() { before } else { after };
        for output in kept.output.iter().filter(|name| !name.is_empty()) {
            self.producers.insert(output.clone(), id);
        }
        for name in reads(&kept) {
            self.consumers.entry(name).or_default().push(id);
        }
        let result = conflict.map_or(Ok(()), |output| Err(already_defined(&kept, &output)));
        if let Some(slot) = self.nodes.get_mut(id.slot()) {
            *slot = Some(kept);
        }
        result
    }

    /// Makes node `id` read `tensor` at input `slot`.
    ///
    /// # Errors
    /// The node has no such input.
    pub fn set_input(&mut self, id: NodeId, slot: usize, tensor: &str) -> Result<()> {
        if slot >= self.node(id).input.len() {
            return Err(Error::invalid(self.node(id).place(), format!("has no input {slot}")));
        }
        self.edit(id, |node| node.input[slot] = tensor.to_owned())
    }

    /// Makes every reader of `old` read `new` (also subgraphs), except those `keep` says yes to.
    /// Graph outputs keep their name.
    ///
    /// # Errors
    /// None in a graph that is consistent.
    pub fn replace_uses(&mut self, old: &str, new: &str, keep: impl Fn(NodeId) -> bool) -> Result<()> {
        for id in self.consumers(old).to_vec() {
            if !keep(id) {
                self.edit(id, |node| rename_reads(node, old, new))?;
            }
        }
        Ok(())
    }

    /// Adds a constant and returns its name.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add_initializer(&mut self, tensor: TensorProto) -> Result<String> {
        let name = tensor.name().to_owned();
        if self.producers.contains_key(&name) || self.initializers.contains_key(&name) {
            return Err(Error::invalid(format!("initializer '{name}'"), "this name is already defined"));
        }
        self.initializers.insert(name.clone(), tensor);
        Ok(name)
    }

    /// A name that nothing in the graph uses: `stem`, or `stem` with a number.
    pub fn fresh_name(&mut self, stem: &str) -> String {
        let mut name = stem.to_owned();
        while self.defines(&name) || self.consumers.contains_key(&name) {
            self.fresh += 1;
            name = format!("{stem}.{}", self.fresh);
        }
        name
    }

    /// Removes nodes that no graph output needs, then initializers and stated
    /// shapes of tensors that are gone. Inputs of the graph stay. Returns how many
    /// nodes went.
    pub fn remove_dead(&mut self) -> usize {
        let live = self.ancestors(self.outputs.iter().map(|output| output.name().to_owned()));
        let dead: Vec<NodeId> = self.nodes().map(|(id, _)| id).filter(|id| !live.contains(id)).collect();
        for id in &dead {
            self.remove(*id);
        }
        self.forget_unused_tensors();
        dead.len()
    }

    /// The nodes that `tensors` depend on.
    pub fn ancestors(&self, tensors: impl IntoIterator<Item = String>) -> HashSet<NodeId> {
        let mut pending: Vec<NodeId> = tensors.into_iter().filter_map(|name| self.producer(&name)).collect();
        let mut found = HashSet::new();
        while let Some(id) = pending.pop() {
            if found.insert(id) {
                pending.extend(reads(self.node(id)).iter().filter_map(|name| self.producer(name)));
            }
        }
        found
    }

    /// The nodes that depend on `tensors`.
    pub fn descendants(&self, tensors: impl IntoIterator<Item = String>) -> HashSet<NodeId> {
        let mut pending: Vec<NodeId> = tensors.into_iter().flat_map(|name| self.consumers(&name).to_vec()).collect();
        let mut found = HashSet::new();
        while let Some(id) = pending.pop() {
            if found.insert(id) {
                pending.extend(self.node(id).output.iter().flat_map(|name| self.consumers(name)));
            }
        }
        found
    }

    /// All nodes so that each comes after those it reads from; ties in file order.
    ///
    /// # Errors
    /// A cycle, named by one of its nodes.
    pub fn topological_order(&self) -> Result<Vec<NodeId>> {
        let mut waiting: HashMap<NodeId, usize> = HashMap::new();
        let mut ready = std::collections::BTreeSet::new();
        for (id, node) in self.nodes() {
            match reads(node).iter().filter(|name| self.producer(name).is_some()).count() {
                0 => drop(ready.insert(id)),
                inputs => drop(waiting.insert(id, inputs)),
            }
        }
        let mut order = Vec::with_capacity(self.node_count());
        while let Some(id) = ready.pop_first() {
            order.push(id);
            for consumer in self.node(id).output.iter().flat_map(|name| self.consumers(name)) {
                if let Some(inputs) = waiting.get_mut(consumer) {
                    *inputs -= 1;
                    if *inputs == 0 {
                        waiting.remove(consumer);
                        ready.insert(*consumer);
                    }
                }
            }
        }
        match waiting.keys().min() {
            Some(id) => Err(Error::invalid(self.node(*id).place(), "is part of a cycle")),
            None => Ok(order),
        }
    }

    fn forget_unused_tensors(&mut self) {
        let (consumers, producers) = (&self.consumers, &self.producers);
        let ends: HashSet<&str> = self.inputs.iter().chain(&self.outputs).map(|end| end.name()).collect();
        self.initializers.retain(|name, _| consumers.contains_key(name) || ends.contains(name.as_str()));
        self.value_info.retain(|name, _| producers.contains_key(name));
    }

    fn forget_consumer(&mut self, tensor: &str, id: NodeId) {
        if let Some(consumers) = self.consumers.get_mut(tensor) {
            consumers.retain(|consumer| *consumer != id);
            if consumers.is_empty() {
                self.consumers.remove(tensor);
            }
        }
    }
}

fn sparse_names(graph: &GraphProto) -> impl Iterator<Item = &str> {
    graph.sparse_initializer.iter().filter_map(|sparse| Some(sparse.values.as_ref()?.name()))
}

fn already_defined(node: &NodeProto, output: &str) -> Error {
    Error::invalid(node.place(), format!("its output '{output}' is already defined"))
}

/// The tensors of the enclosing graph that `node` reads, each once.
fn reads(node: &NodeProto) -> Vec<String> {
    let inputs = node.input.iter().filter(|name| !name.is_empty()).cloned();
    let inner = node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)).flat_map(captured);
    inputs.chain(inner).collect::<IndexSet<String>>().into_iter().collect()
}

/// The names that a subgraph takes from the graph around it.
fn captured(graph: &GraphProto) -> Vec<String> {
    let own: HashSet<&str> = graph
        .node
        .iter()
        .flat_map(|node| node.output.iter().map(String::as_str))
        .chain(graph.input.iter().map(|input| input.name()))
        .chain(graph.initializer.iter().map(|tensor| tensor.name()))
        .chain(sparse_names(graph))
        .collect();
    let read = graph.node.iter().flat_map(reads).chain(graph.output.iter().map(|o| o.name().to_owned()));
    read.filter(|name| !own.contains(name.as_str())).collect()
}

fn rename_reads(node: &mut NodeProto, old: &str, new: &str) {
    for name in node.input.iter_mut().filter(|name| *name == old) {
        *name = new.to_owned();
    }
    for attribute in &mut node.attribute {
        for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            if captured(graph).iter().any(|name| name == old) {
                graph.node.iter_mut().for_each(|node| rename_reads(node, old, new));
            }
        }
    }
}
