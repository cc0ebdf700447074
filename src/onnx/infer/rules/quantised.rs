//! Quantised operators of both domains.

use super::{convolution, matrix};
use crate::onnx::infer::Dim;
use crate::onnx::infer::site::{Fact, Rule, Site, broadcast};
use crate::onnx::{DataType, NodeExt};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "QuantizeLinear" => quantize,
        "DequantizeLinear" => dequantize,
        "DynamicQuantizeLinear" => dynamic_quantize,
        "MatMulInteger" => |site| vec![Fact::new(Some(DataType::Int32), matrix::product(site, 0, 1))],
        "QLinearMatMul" => |site| vec![Fact::new(site.elem(7), matrix::product(site, 0, 3))],
        "ConvInteger" => |site| vec![Fact::new(Some(DataType::Int32), convolution::conv_shape(site, 0, 1))],
        "QLinearConv" => |site| vec![Fact::new(site.elem(7), convolution::conv_shape(site, 0, 3))],
        "QLinearAdd" | "QLinearMul" => binary,
        "QLinearSigmoid" | "QLinearLeakyRelu" | "QLinearSoftmax" => super::elementwise::same,
        _ => return None,
    })
}

fn shape(site: &Site<'_>) -> Option<Vec<Dim>> {
    site.shape(0).map(<[Dim]>::to_vec)
}

fn quantize(site: &Site<'_>) -> Vec<Fact> {
    let stated = site.node.attr_int("output_dtype").filter(|&ty| ty != 0);
    let elem = match stated {
        Some(ty) => DataType::try_from(ty as i32).ok(),
        None if site.has(2) => site.elem(2),
        None => Some(DataType::Uint8),
    };
    vec![Fact::new(elem, shape(site))]
}

fn dequantize(site: &Site<'_>) -> Vec<Fact> {
    vec![Fact::new(site.elem(1), shape(site))]
}

fn dynamic_quantize(site: &Site<'_>) -> Vec<Fact> {
    vec![
        Fact::new(Some(DataType::Uint8), shape(site)),
        Fact::new(Some(DataType::Float), Some(Vec::new())),
        Fact::new(Some(DataType::Uint8), Some(Vec::new())),
    ]
}

fn binary(site: &Site<'_>) -> Vec<Fact> {
    let shape = site.shape(0).zip(site.shape(3)).map(|(a, b)| broadcast(&[a, b]));
    site.like(0, shape)
}
