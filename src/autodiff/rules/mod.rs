//! One file an operator, or a few that are one idea; [`RULES`] is the registry.

use super::Result;
use super::step::Step;
use crate::onnx::NodeExt;
use crate::onnx::proto::NodeProto;

mod abs;
mod add;
mod attention;
mod average_pool;
mod cast;
mod concat;
mod conv;
mod conv_transpose;
mod div;
mod einsum;
mod erf;
mod exp;
mod expand;
mod fused_mat_mul;
mod gather;
mod gelu;
mod gemm;
mod group_normalization;
mod identity;
mod instance_normalization;
mod layer_normalization;
mod log;
mod mat_mul;
mod mul;
mod multi_head_attention;
mod neg;
mod normalised;
mod packed_attention;
mod pad;
mod pow;
mod reduce_extreme;
mod reduce_l1;
mod reduce_log_sum;
mod reduce_mean;
mod reduce_square;
mod reduce_sum;
mod relu;
mod reshape;
mod resize;
mod rms_normalization;
mod scatter;
mod sigmoid;
mod sin;
mod skip_layer_normalization;
mod slice;
mod softmax;
mod split;
mod sqrt;
mod sub;
mod tanh;
mod transpose;
mod where_;

/// Hands to the inputs of a node what arrived at its outputs.
pub(super) type Rule = fn(&mut Step<'_, '_>) -> Result<()>;

/// Every operator that has a rule, by domain (`""` is the standard one) and name.
pub(super) const RULES: &[(&str, &str, Rule)] = &[
    ("", "Abs", abs::rule),
    ("", "Add", add::rule),
    ("", "Attention", attention::rule),
    ("", "AveragePool", average_pool::rule),
    ("", "Cast", cast::rule),
    ("", "CastLike", cast::rule),
    ("", "Concat", concat::rule),
    ("", "Conv", conv::rule),
    ("", "ConvTranspose", conv_transpose::rule),
    ("", "Cos", sin::cos),
    ("", "Div", div::rule),
    ("", "Dropout", identity::rule),
    ("", "Einsum", einsum::rule),
    ("", "Erf", erf::rule),
    ("", "Exp", exp::rule),
    ("", "Expand", expand::rule),
    ("", "Flatten", reshape::rule),
    ("", "Gather", gather::rule),
    ("", "GatherND", scatter::gather_nd),
    ("", "Gelu", gelu::rule),
    ("", "Gemm", gemm::rule),
    ("", "GlobalAveragePool", reduce_mean::global_average_pool),
    ("", "GroupNormalization", group_normalization::rule),
    ("", "Identity", identity::rule),
    ("", "InstanceNormalization", instance_normalization::rule),
    ("", "LayerNormalization", layer_normalization::rule),
    ("", "Log", log::rule),
    ("", "LogSoftmax", softmax::log_softmax),
    ("", "MatMul", mat_mul::rule),
    ("", "Mul", mul::rule),
    ("", "Neg", neg::rule),
    ("", "Pad", pad::rule),
    ("", "Pow", pow::rule),
    ("", "RMSNormalization", rms_normalization::rule),
    ("", "Reciprocal", div::reciprocal),
    ("", "ReduceL1", reduce_l1::rule),
    ("", "ReduceL2", reduce_square::l2),
    ("", "ReduceLogSum", reduce_log_sum::rule),
    ("", "ReduceLogSumExp", reduce_log_sum::exp),
    ("", "ReduceMax", reduce_extreme::rule),
    ("", "ReduceMean", reduce_mean::rule),
    ("", "ReduceMin", reduce_extreme::rule),
    ("", "ReduceSum", reduce_sum::rule),
    ("", "ReduceSumSquare", reduce_square::rule),
    ("", "Relu", relu::rule),
    ("", "Reshape", reshape::rule),
    ("", "Resize", resize::rule),
    ("", "ScatterND", scatter::scatter_nd),
    ("", "Sigmoid", sigmoid::rule),
    ("", "SimplifiedLayerNormalization", rms_normalization::rule),
    ("", "Sin", sin::rule),
    ("", "Slice", slice::rule),
    ("", "Softmax", softmax::rule),
    ("", "Split", split::rule),
    ("", "Sqrt", sqrt::rule),
    ("", "Squeeze", reshape::rule),
    ("", "Sub", sub::rule),
    ("", "Sum", add::rule),
    ("", "Tanh", tanh::rule),
    ("", "Transpose", transpose::rule),
    ("", "Unsqueeze", reshape::rule),
    ("", "Where", where_::rule),
    ("com.microsoft", "Attention", packed_attention::attention),
    ("com.microsoft", "FusedMatMul", fused_mat_mul::rule),
    ("com.microsoft", "Gelu", gelu::rule),
    ("com.microsoft", "MultiHeadAttention", multi_head_attention::rule),
    ("com.microsoft", "QuickGelu", gelu::quick),
    ("com.microsoft", "SkipLayerNormalization", skip_layer_normalization::rule),
];

/// The rule for an operator, if there is one.
pub(super) fn rule(domain: &str, op_type: &str) -> Option<Rule> {
    let known = RULES.iter().find(|(of, name, _)| (*of, *name) == (domain, op_type));
    known.map(|(.., rule)| *rule)
}

/// Whether the node computes with quantised numbers.
pub(super) fn is_quantised(node: &NodeProto) -> bool {
    let op_type = node.op_type();
    let named = ["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeMatMul"];
    named.contains(&op_type)
        || op_type.starts_with("QLinear")
        || op_type.starts_with("QAttention")
        || op_type.contains("Integer")
        || (node.domain_name() == "com.microsoft" && op_type.starts_with("MatMul") && op_type != "MatMul")
}
