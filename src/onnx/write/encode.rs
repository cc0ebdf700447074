use std::io::{self, Write};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, message};

use crate::onnx::proto::{GraphProto, ModelProto};

/// The most bytes that readers of protobuf accept in one message.
pub(super) const LARGEST_MESSAGE: u64 = i32::MAX as u64;

const GRAPH: u32 = 7;
const NODE: u32 = 1;
const INITIALIZER: u32 = 5;

/// Writes `model`, holding the encoding of no more than one node or tensor in memory.
pub(super) fn encode(mut model: ModelProto, out: &mut impl Write) -> io::Result<()> {
    let mut graph = model.graph.take().unwrap_or_default();
    let length = graph_len(&graph);
    let nodes = std::mem::take(&mut graph.node);
    let initializers = std::mem::take(&mut graph.initializer);
    let mut buffer = model.encode_to_vec();
    encode_key(GRAPH, WireType::LengthDelimited, &mut buffer);
    encode_varint(length, &mut buffer);
    graph.encode(&mut buffer).map_err(io::Error::other)?;
    for node in nodes {
        message::encode(NODE, &node, &mut buffer);
        flush_above(1 << 16, &mut buffer, out)?;
    }
    for tensor in initializers {
        message::encode(INITIALIZER, &tensor, &mut buffer);
        flush_above(1 << 16, &mut buffer, out)?;
    }
    flush_above(0, &mut buffer, out)
}

/// How many bytes [`encode`] writes for `model`.
pub(super) fn encoded_len(model: &ModelProto) -> u64 {
    model.encoded_len() as u64
}

fn graph_len(graph: &GraphProto) -> u64 {
    graph.encoded_len() as u64
}

fn flush_above(limit: usize, buffer: &mut Vec<u8>, out: &mut impl Write) -> io::Result<()> {
    if buffer.len() > limit {
        out.write_all(buffer)?;
        buffer.clear();
    }
    Ok(())
}
