//! Fused operators of the `com.microsoft` domain, as ONNX Runtime's optimizer and Olive write them.

use super::{attention, convolution, elementwise, matrix};
use crate::onnx::infer::Dim;
use crate::onnx::infer::site::{Fact, Rule, Site};
use crate::onnx::{DataType, NodeExt};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "MultiHeadAttention" | "DecoderMaskedMultiHeadAttention" => attention::multi_head,
        "Attention" | "QAttention" => attention::packed_weights,
        "PackedMultiHeadAttention" => attention::packed_rows,
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => skip_layer_normalization,
        "SkipGroupNorm" => skip_group_norm,
        "GroupNorm"
        | "BiasGelu"
        | "FastGelu"
        | "QuickGelu"
        | "Gelu"
        | "BiasAdd"
        | "BiasSoftmax"
        | "BiasDropout"
        | "LayerNormalization"
        | "SimplifiedLayerNormalization"
        | "RotaryEmbedding"
        | "GemmFastGelu" => same,
        "BiasSplitGelu" => split_gelu,
        "NhwcConv" => nhwc_conv,
        "NhwcFusedConv" => nhwc_conv,
        "FusedConv" => convolution::conv,
        "FusedGemm" => matrix::gemm,
        "FusedMatMul" | "TransposeMatMul" => fused_mat_mul,
        "DynamicQuantizeMatMul" => matrix::mat_mul,
        "MatMulIntegerToFloat" => |site| vec![Fact::new(site.elem(2), matrix::product(site, 0, 1))],
        "MatMulNBits" | "MatMulBnb4" | "MatMulFpQ4" => mat_mul_n_bits,
        "GridSample" => return None,
        _ => return None,
    })
}

fn same(site: &Site<'_>) -> Vec<Fact> {
    elementwise::same(site)
}

fn skip_layer_normalization(site: &Site<'_>) -> Vec<Fact> {
    let shape = site.shape(0).map(<[Dim]>::to_vec);
    let statistics = shape.clone().map(|mut shape| {
        if let Some(last) = shape.last_mut() {
            *last = Dim::Known(1);
        }
        shape
    });
    let whole = Fact::new(site.elem(0), shape);
    let statistics = Fact::new(Some(DataType::Float), statistics);
    vec![whole.clone(), statistics.clone(), statistics, whole]
}

fn skip_group_norm(site: &Site<'_>) -> Vec<Fact> {
    let whole = Fact::new(site.elem(0), site.shape(0).map(<[Dim]>::to_vec));
    vec![whole.clone(), whole]
}

fn split_gelu(site: &Site<'_>) -> Vec<Fact> {
    let halved = |shape: &[Dim]| {
        let (last, rest) = shape.split_last()?;
        Some([rest, &[last.over(&Dim::Known(2))]].concat())
    };
    site.like(0, site.shape(0).and_then(halved))
}

/// Data `[N,H,W,C]`, weights `[M,kH,kW,C/g]`.
fn nhwc_conv(site: &Site<'_>) -> Vec<Fact> {
    let shape = || {
        let axes = site.rank(0)?.checked_sub(2)?;
        let mut shape = vec![site.dim(0, 0)];
        for (axis, window) in convolution::windows(site, axes, |axis| site.dim(1, axis as i64 + 1)).iter().enumerate() {
            shape.push(convolution::moved(site, &site.dim(0, axis as i64 + 1), window));
        }
        shape.push(site.dim(1, 0));
        Some(shape)
    };
    site.like(0, shape())
}

fn fused_mat_mul(site: &Site<'_>) -> Vec<Fact> {
    let operand = |slot: usize, transposed: &str, batch: &str| {
        let mut shape = site.shape(slot)?.to_vec();
        let rank = shape.len();
        if site.int_attr(batch, 0) != 0 && rank >= 3 {
            shape[..rank - 1].rotate_left(1);
        }
        if site.int_attr(transposed, 0) != 0 && rank >= 2 {
            shape.swap(rank - 1, rank - 2);
        }
        Some(shape)
    };
    let product = operand(0, "transA", "transBatchA").zip(operand(1, "transB", "transBatchB"));
    site.like(0, product.and_then(|(a, b)| matrix::product_of(&a, &b)))
}

fn mat_mul_n_bits(site: &Site<'_>) -> Vec<Fact> {
    let columns = site.node.attr_int("N").map_or(Dim::Unknown, Dim::Known);
    let widened = |shape: &[Dim]| Some([shape.split_last()?.1, std::slice::from_ref(&columns)].concat());
    site.like(0, site.shape(0).and_then(widened))
}
