use half::f16;
use ndarray::{Array2, Axis as Along, concatenate, s};
use sha2::{Digest, Sha256};

use super::anchor::Part;
use super::manifest::prefixed;
use super::trail::Trail;
use super::{Axis, CrossAttention, Result, Survey};
use crate::onnx::{Model, NodeExt, NodeId};

/// `sha256:` over the weights W_V of all layers in order, each as `[in,out]` in row-major IEEE-754
/// half precision, little-endian; so the fp32 and fp16 exports of one model agree in every dialect.
/// `None` where some layer's weights cannot be read from the graph.
///
/// # Errors
/// External weights that cannot be read.
pub fn base_model_hash(model: &Model, survey: &Survey) -> Result<Option<String>> {
    let Some(weights) = value_weights(model, survey)? else { return Ok(None) };
    let mut hash = Sha256::new();
    for weight in weights {
        let bytes: Vec<u8> = weight.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
        hash.update(bytes);
    }
    Ok(Some(prefixed(&hash.finalize())))
}

/// W_V `[in, out]` of every layer in order; `None` where some layer's cannot be read from the graph.
///
/// # Errors
/// External weights that cannot be read.
pub fn value_weights(model: &Model, survey: &Survey) -> Result<Option<Vec<Array2<f32>>>> {
    survey.layers.iter().map(|layer| value_weight(model, survey, layer)).collect()
}

/// W_V of `layer`, `[in,out]`.
fn value_weight(model: &Model, survey: &Survey, layer: &CrossAttention) -> Result<Option<Array2<f32>>> {
    let trail = Trail { graph: &model.graph, flow: &survey.flow };
    let mut seen: Vec<NodeId> = Vec::new();
    let mut found = Vec::new();
    for part in &layer.attention.parts {
        let Some(projection) = trail.projection(&part.value.tensor) else { return Ok(None) };
        if seen.contains(&projection.node) {
            continue;
        }
        seen.push(projection.node);
        let Some(weight) = weight_of(model, projection.node)? else { return Ok(None) };
        found.push(own_columns(weight, part, layer));
    }
    let views: Vec<_> = found.iter().map(|weight| weight.view()).collect();
    let whole = concatenate(Along(1), &views).ok();
    Ok(whole.filter(|weight| weight.ncols() == layer.width))
}

/// The columns of a projection of K and V together that are V's.
fn own_columns(weight: Array2<f32>, part: &Part, layer: &CrossAttention) -> Array2<f32> {
    if weight.ncols() != 2 * layer.width {
        return weight;
    }
    let paired = part.value.layout.axes().contains(&Axis::Pair);
    match part.value.pick.filter(|_| paired) {
        Some(pick) => {
            let each = layer.width / layer.heads.max(1);
            let of_head = |head: usize| (0..each).map(move |column| (2 * head + pick.max(0) as usize) * each + column);
            weight.select(Along(1), &(0..layer.heads).flat_map(of_head).collect::<Vec<usize>>())
        }
        None => weight.slice(s![.., layer.width..]).to_owned(),
    }
}

/// The constant operand of a linear operator, `[in,out]`.
fn weight_of(model: &Model, id: NodeId) -> Result<Option<Array2<f32>>> {
    let node = model.graph.node(id);
    let transposed = node.attr_int("transB").unwrap_or(0) != 0;
    let by_out = matches!(node.op_type(), "Conv" | "FusedConv" | "NhwcConv");
    for input in node.input.iter().take(2) {
        if let Some(matrix) = matrix(model, input, 0)? {
            return Ok(Some(if transposed || by_out { matrix.reversed_axes() } else { matrix }));
        }
    }
    Ok(None)
}

/// A constant of two axes (further ones of length 1), also behind casts and transposition.
fn matrix(model: &Model, tensor: &str, depth: usize) -> Result<Option<Array2<f32>>> {
    const DEEPEST: usize = 8;
    if let Some(constant) = model.graph.constant(tensor) {
        let wide: Vec<usize> = constant.dims.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect();
        let [rows, columns, rest @ ..] = wide.as_slice() else { return Ok(None) };
        if rest.iter().any(|&length| length != 1) {
            return Ok(None);
        }
        let Ok(values) = model.tensor_f32s(constant) else { return Ok(None) };
        return Ok(Array2::from_shape_vec((*rows, *columns), values).ok());
    }
    let Some(id) = model.graph.producer(tensor).filter(|_| depth < DEEPEST) else { return Ok(None) };
    let node = model.graph.node(id);
    let Some(input) = node.input_name(0) else { return Ok(None) };
    match node.op_type() {
        "Cast" | "Identity" => matrix(model, input, depth + 1),
        "Transpose" => Ok(matrix(model, input, depth + 1)?.map(Array2::reversed_axes)),
        _ => Ok(None),
    }
}
