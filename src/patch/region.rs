//! Which nodes belong to which stream.

use std::collections::HashSet;

use super::survey::{Attention, Survey};
use super::trail::Trail;
use crate::onnx::{Graph, NodeExt, NodeId};

/// Nodes that carry data, by what they compute.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    /// What depends on the context alone: projections of K and V.
    pub context: HashSet<NodeId>,
    /// Cross-attention from the projection of Q to where the layer is left.
    pub cores: HashSet<NodeId>,
    /// Everything else that depends on what some cross-attention made.
    pub downstream: HashSet<NodeId>,
    /// Everything else.
    pub common: HashSet<NodeId>,
}

impl Regions {
    /// Tells the regions of `graph`, which must be the graph that `survey` is about.
    pub fn of(graph: &Graph, survey: &Survey) -> Self {
        let context = survey.flow.sources(&survey.context_input);
        let carries_data = |id: &NodeId| graph.node(*id).output.iter().any(|output| survey.flow.is_data(output));
        let of_context = |id: &NodeId| graph.node(*id).output.iter().all(|name| survey.flow.sources(name) == context);
        let mut regions = Self::default();
        let data: HashSet<NodeId> = graph.nodes().map(|(id, _)| id).filter(carries_data).collect();
        regions.context = data.iter().copied().filter(of_context).collect();
        for layer in &survey.layers {
            regions.cores.extend(core(graph, survey, &layer.attention, &regions.context));
        }
        let exits = survey.layers.iter().map(|layer| layer.attention.exit.tensor.clone());
        let below = readers_of_data(graph, survey, exits.collect());
        regions.downstream = below.difference(&regions.cores).copied().collect();
        let placed =
            |id: &NodeId| [&regions.context, &regions.cores, &regions.downstream].iter().any(|r| r.contains(id));
        regions.common = data.iter().copied().filter(|id| !placed(id)).collect();
        regions
    }
}

/// The nodes between the projection of Q and the layer's exit.
fn core(graph: &Graph, survey: &Survey, attention: &Attention, context: &HashSet<NodeId>) -> HashSet<NodeId> {
    let entries = entries(graph, survey, attention);
    let mut core = HashSet::new();
    let mut pending: Vec<NodeId> = graph.producer(&attention.exit.tensor).into_iter().collect();
    while let Some(id) = pending.pop() {
        if !context.contains(&id) && core.insert(id) && !entries.contains(&id) {
            let inputs = survey.flow.data_inputs(graph.node(id));
            pending.extend(inputs.iter().filter_map(|(_, name)| graph.producer(name)));
        }
    }
    core
}

/// Where the hidden states enter a layer: the projections of Q, or what reads Q if it has none.
fn entries(graph: &Graph, survey: &Survey, attention: &Attention) -> HashSet<NodeId> {
    let trail = Trail { graph, flow: &survey.flow };
    let entry = |part: &super::Part| match trail.projection(&part.query.tensor) {
        Some(projection) => quantised_before(graph, survey, projection.node),
        None => graph.consumers(&part.query.tensor).first().copied().unwrap_or(part.output),
    };
    attention.parts.iter().map(entry).collect()
}

/// The dynamic quantisation of what `projection` reads, if it serves nothing else.
fn quantised_before(graph: &Graph, survey: &Survey, projection: NodeId) -> NodeId {
    let inputs = survey.flow.data_inputs(graph.node(projection));
    let quantiser = inputs.first().and_then(|(_, name)| graph.producer(name).map(|id| (id, *name)));
    match quantiser {
        Some((id, output)) if graph.node(id).is("DynamicQuantizeLinear") && graph.consumers(output).len() == 1 => id,
        _ => projection,
    }
}

/// All nodes that elements of `tensors` reach.
fn readers_of_data(graph: &Graph, survey: &Survey, tensors: Vec<String>) -> HashSet<NodeId> {
    let mut found = HashSet::new();
    let mut pending = tensors;
    while let Some(tensor) = pending.pop() {
        for &id in graph.consumers(&tensor) {
            let made = || graph.node(id).output.iter().filter(|output| survey.flow.is_data(output)).cloned();
            if made().next().is_some() && found.insert(id) {
                pending.extend(made());
            }
        }
    }
    found
}
