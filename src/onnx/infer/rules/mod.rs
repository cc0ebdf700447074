//! One file a family of operators; [`rule`] is the registry.
//!
//! A rule says what it can and leaves the rest out: fewer facts than outputs, or
//! unknown extents, are always allowed.

mod attention;
mod constant;
mod convolution;
mod elementwise;
mod matrix;
mod microsoft;
mod quantised;
mod reduce;
mod resize;
mod select;
mod view;

use super::site::Rule;

/// The rule for an operator of `domain` (`""` is the standard one), if there is one.
pub(super) fn rule(domain: &str, op_type: &str) -> Option<Rule> {
    match domain {
        "" => standard(op_type).or_else(|| quantised::rule(op_type)),
        "com.microsoft" => microsoft::rule(op_type).or_else(|| quantised::rule(op_type)),
        _ => None,
    }
}

fn standard(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Constant" => constant::constant,
        "ConstantOfShape" => constant::constant_of_shape,
        "Range" => constant::range,
        "RandomNormal" | "RandomUniform" => constant::random,
        "Shape" => view::shape,
        "Size" => view::size,
        "Reshape" => view::reshape,
        "Flatten" => view::flatten,
        "Transpose" => view::transpose,
        "Squeeze" => view::squeeze,
        "Unsqueeze" => view::unsqueeze,
        "Expand" => view::expand,
        "Tile" => view::tile,
        "Pad" => view::pad,
        "DepthToSpace" => view::depth_to_space,
        "SpaceToDepth" => view::space_to_depth,
        "Concat" => select::concat,
        "Split" => select::split,
        "Slice" => select::slice,
        "Gather" => select::gather,
        "GatherElements" => select::gather_elements,
        "GatherND" => select::gather_nd,
        "ScatterND" | "ScatterElements" | "Scatter" | "TensorScatter" => elementwise::same,
        "Trilu" | "CumSum" | "RandomNormalLike" | "RandomUniformLike" => elementwise::same,
        "OneHot" => select::one_hot,
        "NonZero" => select::non_zero,
        "TopK" => select::top_k,
        "Cast" => elementwise::cast,
        "CastLike" => elementwise::cast_like,
        "Identity" => elementwise::identity,
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Pow" | "PRelu" | "BitShift" => elementwise::binary,
        "Min" | "Max" | "Sum" | "Mean" => elementwise::variadic,
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" => elementwise::compare,
        "Not" | "IsNaN" | "IsInf" => elementwise::not,
        "Where" => elementwise::select,
        "Neg" | "Abs" | "Floor" | "Ceil" | "Round" => elementwise::unary,
        "Sqrt"
        | "Exp"
        | "Log"
        | "Erf"
        | "Reciprocal"
        | "Sign"
        | "Sin"
        | "Cos"
        | "Tan"
        | "Tanh"
        | "Sigmoid"
        | "Relu"
        | "LeakyRelu"
        | "Elu"
        | "Selu"
        | "Celu"
        | "Gelu"
        | "Mish"
        | "Swish"
        | "Softplus"
        | "Softsign"
        | "HardSigmoid"
        | "HardSwish"
        | "ThresholdedRelu"
        | "Clip"
        | "Softmax"
        | "LogSoftmax"
        | "Hardmax"
        | "LpNormalization"
        | "LRN"
        | "InstanceNormalization"
        | "GroupNormalization"
        | "RMSNormalization"
        | "SimplifiedLayerNormalization"
        | "MeanVarianceNormalization"
        | "RotaryEmbedding"
        | "Asin"
        | "Acos"
        | "Atan"
        | "Sinh"
        | "Cosh" => elementwise::same,
        "LayerNormalization" => reduce::layer_normalization,
        "BatchNormalization" | "Dropout" => elementwise::same,
        "MatMul" => matrix::mat_mul,
        "Gemm" => matrix::gemm,
        "Einsum" => matrix::einsum,
        "Conv" => convolution::conv,
        "ConvTranspose" => convolution::conv_transpose,
        "AveragePool" | "MaxPool" | "LpPool" => convolution::pool,
        "GlobalAveragePool" | "GlobalMaxPool" => convolution::global_pool,
        "Resize" | "Upsample" => resize::resize,
        "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2"
        | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceSumSquare" => reduce::reduce,
        "ArgMax" | "ArgMin" => reduce::arg,
        "Attention" => attention::attention,
        _ => return None,
    })
}
