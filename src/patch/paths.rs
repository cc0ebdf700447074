use std::collections::HashSet;

use super::survey::Attention;
use crate::onnx::proto::NodeProto;
use crate::onnx::{Graph, Model, NodeId};

/// The cross-attention modules of SD-1.x and 2.x in execution order.
const STABLE_DIFFUSION: [&str; 16] = [
    "down_blocks.0.attentions.0",
    "down_blocks.0.attentions.1",
    "down_blocks.1.attentions.0",
    "down_blocks.1.attentions.1",
    "down_blocks.2.attentions.0",
    "down_blocks.2.attentions.1",
    "mid_block.attentions.0",
    "up_blocks.1.attentions.0",
    "up_blocks.1.attentions.1",
    "up_blocks.1.attentions.2",
    "up_blocks.2.attentions.0",
    "up_blocks.2.attentions.1",
    "up_blocks.2.attentions.2",
    "up_blocks.3.attentions.0",
    "up_blocks.3.attentions.1",
    "up_blocks.3.attentions.2",
];

/// How far around an attention names are read.
const NEIGHBOURHOOD: usize = 12;

/// The module path of each layer: as names, scopes or weights state it; where they do not agree on
/// distinct ones, by the order of SD-1.x; else `layer.0`, `layer.1`, ….
pub fn name(model: &Model, layers: &[Attention]) -> Vec<String> {
    let stated: Option<Vec<String>> = layers.iter().map(|layer| stated(&model.graph, layer)).collect();
    let distinct = |paths: &Vec<String>| paths.iter().collect::<HashSet<_>>().len() == paths.len();
    stated.filter(distinct).unwrap_or_else(|| match layers.len() {
        16 => STABLE_DIFFUSION.iter().map(|block| format!("{block}.transformer_blocks.0.attn2")).collect(),
        count => (0..count).map(|index| format!("layer.{index}")).collect(),
    })
}

fn stated(graph: &Graph, layer: &Attention) -> Option<String> {
    let part = layer.parts.first()?;
    let around = [&part.query.tensor, &part.key.tensor, &part.value.tensor].map(|tensor| upstream(graph, tensor));
    let own = [vec![part.anchor, part.output], downstream(graph, &layer.exit.tensor)];
    let nodes = own.into_iter().chain(around).flatten();
    nodes.flat_map(|id| names(graph.node(id))).find_map(|name| module_in(&name))
}

/// All text of a node that may say where in the model it belongs, the most telling first.
fn names(node: &NodeProto) -> Vec<String> {
    let metadata = node.metadata_props.iter().map(|entry| entry.value().to_owned());
    let tensors = node.output.iter().chain(&node.input).cloned();
    std::iter::once(node.name().to_owned()).chain(metadata).chain(tensors).collect()
}

/// The module path inside `text`, e.g. in `/down_blocks.0/attentions.1/transformer_blocks.0/attn2/Softmax`.
fn module_in(text: &str) -> Option<String> {
    let dotted = text.replace('/', ".");
    let end = dotted.find(".attn2")? + ".attn2".len();
    let head = &dotted[..end];
    let start = ["down_blocks.", "mid_block.", "up_blocks."].iter().filter_map(|block| head.rfind(block)).max()?;
    Some(head[start..].to_owned())
}

fn upstream(graph: &Graph, tensor: &str) -> Vec<NodeId> {
    let mut found: Vec<NodeId> = graph.producer(tensor).into_iter().collect();
    let mut next = 0;
    while next < found.len() && found.len() < NEIGHBOURHOOD {
        let inputs = graph.node(found[next]).input.iter();
        let new: Vec<NodeId> =
            inputs.filter_map(|name| graph.producer(name)).filter(|id| !found.contains(id)).collect();
        found.extend(new);
        next += 1;
    }
    found
}

fn downstream(graph: &Graph, tensor: &str) -> Vec<NodeId> {
    let mut found = graph.consumers(tensor).to_vec();
    for next in 0..3 {
        let Some(&id) = found.get(next) else { break };
        found.extend(graph.node(id).output.iter().flat_map(|output| graph.consumers(output)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_names_scopes_and_weights() {
        let path = "up_blocks.1.attentions.2.transformer_blocks.0.attn2";
        for text in [
            "/up_blocks.1/attentions.2/transformer_blocks.0/attn2/Softmax",
            "/unet/up_blocks.1/attentions.2/transformer_blocks.0/attn2/to_k/MatMul_output_0",
            "['', 'up_blocks.1', 'up_blocks.1.attentions.2.transformer_blocks.0.attn2', 'softmax']",
            "up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_out.0.bias",
        ] {
            assert_eq!(module_in(text).as_deref(), Some(path), "{text}");
        }
        assert_eq!(module_in("Softmax_17"), None);
        assert_eq!(module_in("/up_blocks.1/attentions.2/transformer_blocks.0/attn1/Softmax"), None);
    }
}
