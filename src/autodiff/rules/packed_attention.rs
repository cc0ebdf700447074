use super::attention::gradients;
use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::infer::Dim;
use crate::onnx::{NodeBuilder, NodeExt};

/// `com.microsoft.Attention` without masks or caches: X·W + b is Q, K and V side by side.
pub(super) fn attention(step: &mut Step<'_, '_>) -> Result<()> {
    step.constants(1..3)?;
    refuse_inputs_from(step, 3)?;
    if step.node.attr_int("unidirectional").unwrap_or(0) != 0 || step.node.attr_ints("qkv_hidden_sizes").is_some() {
        return Err(step.unsupported("causal attention, or Q, K and V of different widths"));
    }
    let (x, weights) = (step.input(0)?, step.input(1)?);
    let mut packed = step.emit.op("MatMul", &[x, weights])?;
    if let Some(bias) = step.node.input_name(2) {
        packed = step.emit.op("Add", &[&packed, bias])?;
    }
    let width = step.emit.shapes.dim(weights, 1).and_then(Dim::known).map(|width| width / 3);
    let width = width.ok_or_else(|| step.unsupported("a width that is not known"))?;
    let parts = [part(step, &packed, 0, width)?, part(step, &packed, 1, width)?, part(step, &packed, 2, width)?];
    let joined = joined_gradients(step, &parts, 2)?;
    let rows = step.emit.reshape(&joined, &[-1, 3 * width])?;
    let gradient = step.emit.node(NodeBuilder::new("Gemm").inputs([rows.as_str(), weights]).attr("transB", 1))?;
    step.give_reshaped(0, &gradient)
}

/// `com.microsoft.MultiHeadAttention` of Q, K and V packed as `[B,N,H,3,e]`.
pub(super) fn multi_head(step: &mut Step<'_, '_>) -> Result<()> {
    refuse_inputs_from(step, 1)?;
    let packed = step.input(0)?;
    let [heads, width] = [2, 4].map(|axis| step.emit.shapes.dim(packed, axis).and_then(Dim::known));
    let (Some(heads), Some(width)) = (heads, width) else {
        return Err(step.unsupported("a number of heads or a head width that is not known"));
    };
    let parts = [0, 1, 2].map(|index| -> Result<String> {
        let (from, to) = (step.emit.ints(&[index])?, step.emit.ints(&[index + 1])?);
        let own = step.emit.slice(packed, &from, &to, 3)?;
        step.emit.reshape(&own, &[0, 0, heads * width])
    });
    let [query, key, value] = parts;
    let gradients = gradients_of(step, &[query?, key?, value?], heads)?;
    let mut columns = Vec::with_capacity(3);
    for gradient in &gradients {
        columns.push(step.emit.reshape(gradient, &[0, 0, heads, 1, width])?);
    }
    let joined = step.emit.node(NodeBuilder::new("Concat").inputs(columns).attr("axis", 3))?;
    step.give_reshaped(0, &joined)
}

fn refuse_inputs_from(step: &Step<'_, '_>, first: usize) -> Result<()> {
    match (first..step.node.input.len()).any(|slot| step.node.input_name(slot).is_some()) {
        true => Err(step.unsupported("biases, masks or caches")),
        false => Ok(()),
    }
}

/// Columns `index · width` and on of `[B,N,3·width]`.
fn part(step: &mut Step<'_, '_>, packed: &str, index: i64, width: i64) -> Result<String> {
    let (from, to) = (step.emit.ints(&[index * width])?, step.emit.ints(&[(index + 1) * width])?);
    step.emit.slice(packed, &from, &to, 2)
}

fn joined_gradients(step: &mut Step<'_, '_>, parts: &[String; 3], axis: i64) -> Result<String> {
    let heads = step.node.attr_int("num_heads").ok_or_else(|| step.unsupported("num_heads is missing"))?;
    let gradients = gradients_of(step, parts, heads)?;
    step.emit.node(NodeBuilder::new("Concat").inputs(gradients).attr("axis", axis))
}

fn gradients_of(step: &mut Step<'_, '_>, parts: &[String; 3], heads: i64) -> Result<[String; 3]> {
    let names = [parts[0].as_str(), parts[1].as_str(), parts[2].as_str()];
    gradients(step, names, Some(heads), step.node.attr_float("scale"))
}
