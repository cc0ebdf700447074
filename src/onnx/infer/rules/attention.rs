//! The standard `Attention` (opset 23) and its relatives of `com.microsoft`.

use crate::onnx::NodeExt;
use crate::onnx::infer::Dim;
use crate::onnx::infer::site::{Fact, Site};

/// Query, key and value of rank 4 `[B,H,N,e]`, or of rank 3 `[B,N,H·e]` with the head counts as attributes.
pub(super) fn attention(site: &Site<'_>) -> Vec<Fact> {
    let elem = site.elem(0);
    let past = if site.has(4) { site.dim(4, 2) } else { Dim::Known(0) };
    let cached = |keys: usize, heads: Dim, length: &Dim, width: Dim| {
        Fact::new(site.elem(keys), Some(vec![site.dim(keys, 0), heads, length.clone(), width]))
    };
    match site.rank(0) {
        Some(4) => {
            let (batch, heads, rows) = (site.dim(0, 0), site.dim(0, 1), site.dim(0, 2));
            let columns = past.plus(&site.dim(1, 2));
            let output = vec![batch.clone(), heads.clone(), rows.clone(), site.dim(2, 3)];
            vec![
                Fact::new(elem, Some(output)),
                cached(1, site.dim(1, 1), &columns, site.dim(1, 3)),
                cached(2, site.dim(2, 1), &columns, site.dim(2, 3)),
                Fact::new(elem, Some(vec![batch, heads, rows, columns])),
            ]
        }
        Some(3) => {
            let attribute = |name: &str| site.node.attr_int(name).map_or(Dim::Unknown, Dim::Known);
            let (heads, key_heads) = (attribute("q_num_heads"), attribute("kv_num_heads"));
            let (batch, rows) = (site.dim(0, 0), site.dim(0, 1));
            let columns = past.plus(&site.dim(1, 1));
            let key_width = site.dim(1, 2).over(&key_heads);
            let value_width = site.dim(2, 2).over(&key_heads);
            let output = vec![batch.clone(), rows.clone(), heads.times(&value_width)];
            vec![
                Fact::new(elem, Some(output)),
                cached(1, key_heads.clone(), &columns, key_width),
                cached(2, key_heads, &columns, value_width),
                Fact::new(elem, Some(vec![batch, heads, rows, columns])),
            ]
        }
        _ => vec![Fact::new(elem, None)],
    }
}

/// `com.microsoft.MultiHeadAttention`: query `[B,N,D]` or packed `[B,N,H,3,e]`, key and value of
/// rank 3, packed `[B,L,H,2,e]`, or of rank 4 `[B,H,L,e]`.
pub(super) fn multi_head(site: &Site<'_>) -> Vec<Fact> {
    let elem = site.elem(0);
    let heads = site.node.attr_int("num_heads").map_or(Dim::Unknown, Dim::Known);
    let (batch, rows) = (site.dim(0, 0), site.dim(0, 1));
    let (width, length) = match (site.rank(0), site.rank(1)) {
        (Some(5), _) => (site.dim(0, 2).times(&site.dim(0, 4)), rows.clone()),
        (_, Some(5)) => (site.dim(1, 2).times(&site.dim(1, 4)), site.dim(1, 1)),
        (_, Some(4)) => (heads.times(&site.dim(2, 3)), site.dim(2, 2)),
        _ => (site.dim(2, 2), site.dim(2, 1)),
    };
    let past = if site.has(6) { site.dim(6, 2) } else { Dim::Known(0) };
    let length = past.plus(&length);
    let present = || Fact::new(elem, Some(vec![batch.clone(), heads.clone(), length.clone(), width.over(&heads)]));
    let output = Fact::new(elem, Some(vec![batch.clone(), rows.clone(), width.clone()]));
    let scores = Fact::new(elem, Some(vec![batch.clone(), heads.clone(), rows, length.clone()]));
    vec![output, present(), present(), scores]
}

/// `com.microsoft.Attention` and `QAttention`: input `[B,N,C]`, weights `[C, Dq+Dk+Dv]`.
pub(super) fn packed_weights(site: &Site<'_>) -> Vec<Fact> {
    let width = match site.node.attr_ints("qkv_hidden_sizes") {
        Some([_, _, value]) => Dim::Known(*value),
        _ => site.dim(1, 1).over(&Dim::Known(3)),
    };
    let elem = if site.node.op_type() == "QAttention" { site.elem(3) } else { site.elem(0) };
    vec![Fact::new(elem, Some(vec![site.dim(0, 0), site.dim(0, 1), width]))]
}

/// `com.microsoft.PackedMultiHeadAttention`: rows without padding `[T,D]` or `[T,H,3,e]`.
pub(super) fn packed_rows(site: &Site<'_>) -> Vec<Fact> {
    let width = match site.rank(0) {
        Some(4) => site.dim(0, 1).times(&site.dim(0, 3)),
        _ => site.dim(2, 1),
    };
    site.like(0, Some(vec![site.dim(0, 0), width]))
}
