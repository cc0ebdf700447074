use super::softmax::through_softmax;
use crate::autodiff::Result;
use crate::autodiff::emit::Emit;
use crate::autodiff::step::Step;
use crate::onnx::infer::Dim;
use crate::onnx::{DataType, NodeExt};

/// The standard `Attention` without masks or caches; probabilities are computed again.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    for (slot, what) in [(3, "a mask"), (4, "a cache"), (5, "a cache"), (6, "padding")] {
        if step.node.input_name(slot).is_some() {
            return Err(step.unsupported(&format!("attention with {what}")));
        }
    }
    if step.node.attr_int("is_causal").unwrap_or(0) != 0 || step.node.attr_float("softcap").unwrap_or(0.0) != 0.0 {
        return Err(step.unsupported("causal attention or a soft cap"));
    }
    if (1..4).any(|slot| step.grad_of(slot).is_some()) {
        return Err(step.unsupported("its caches or scores are used"));
    }
    let heads = (step.node.attr_int("q_num_heads"), step.node.attr_int("kv_num_heads"));
    let split = match (step.rank(step.input(0)?)?, heads) {
        (4, _) => None,
        (_, (Some(heads), Some(key_heads))) if heads == key_heads => Some(heads),
        _ => return Err(step.unsupported("fewer key heads than query heads, or no head count")),
    };
    if split.is_none() {
        let heads = |slot: usize| -> Result<Option<Dim>> { Ok(step.emit.shapes.dim(step.input(slot)?, 1).cloned()) };
        if heads(0)? != heads(1)? {
            return Err(step.unsupported("fewer key heads than query heads"));
        }
    }
    through_attention(step, split, step.node.attr_float("scale"))
}

/// O = softmax(s·Q·Kᵀ)·V, with inputs `[B,H,N,e]`, or `[B,N,H·e]` where `heads` says how many there are.
pub(super) fn through_attention(step: &mut Step<'_, '_>, heads: Option<i64>, scale: Option<f32>) -> Result<()> {
    let names = [step.input(0)?, step.input(1)?, step.input(2)?];
    let gradients = gradients(step, names, heads, scale)?;
    for (slot, gradient) in gradients.into_iter().enumerate() {
        if step.wants(slot) {
            step.give(slot, gradient);
        }
    }
    Ok(())
}

/// The gradients at Q, K and V, each shaped like it.
pub(super) fn gradients(
    step: &mut Step<'_, '_>,
    names: [&str; 3],
    heads: Option<i64>,
    scale: Option<f32>,
) -> Result<[String; 3]> {
    let mut split = Vec::with_capacity(3);
    for name in names {
        split.push(by_heads(step.emit, name, heads)?);
    }
    let [query, key, value] = [&split[0], &split[1], &split[2]];
    let grad = by_heads(step.emit, &step.grad()?, heads)?;
    let width = step.emit.shapes.dim(query, 3).and_then(Dim::known);
    let scale = match (scale.filter(|scale| *scale != 0.0), width) {
        (Some(scale), _) => f64::from(scale),
        (None, Some(width)) => 1.0 / (width as f64).sqrt(),
        _ => return Err(step.unsupported("a head width that is not known")),
    };
    let emit = &mut *step.emit;
    let scaled = emit.scale(query, scale)?;
    let probs = probabilities(emit, &scaled, key)?;
    let elem = emit.elem(query)?;
    let narrow = emit.cast(&probs, elem)?;
    let turned = emit.transpose_last(&narrow, 4)?;
    let to_value = emit.op("MatMul", &[&turned, &grad])?;
    let turned = emit.transpose_last(value, 4)?;
    let grad_probs = emit.op("MatMul", &[&grad, &turned])?;
    let grad_probs = emit.widened(&grad_probs)?;
    let grad_scores = through_softmax(emit, &probs, &grad_probs, -1)?;
    let grad_scores = emit.cast(&grad_scores, elem)?;
    let to_query = emit.op("MatMul", &[&grad_scores, key])?;
    let to_query = emit.scale(&to_query, scale)?;
    let turned = emit.transpose_last(&grad_scores, 4)?;
    let to_key = emit.op("MatMul", &[&turned, &scaled])?;
    let joined =
        |step: &mut Step<'_, '_>, gradient: &str, like: &str| joined_heads(step, gradient, like, heads.is_some());
    Ok([joined(step, &to_query, names[0])?, joined(step, &to_key, names[1])?, joined(step, &to_value, names[2])?])
}

/// softmax(Q·Kᵀ) over queries that are scaled already, in full precision.
fn probabilities(emit: &mut Emit<'_>, scaled: &str, key: &str) -> Result<String> {
    let turned = emit.transpose_last(key, 4)?;
    let scores = emit.op("MatMul", &[scaled, &turned])?;
    let scores = match emit.elem(&scores)? {
        DataType::Double => scores,
        _ => emit.cast(&scores, DataType::Float)?,
    };
    emit.node(crate::onnx::NodeBuilder::new("Softmax").input(scores).attr("axis", -1))
}

fn by_heads(emit: &mut Emit<'_>, tensor: &str, heads: Option<i64>) -> Result<String> {
    let Some(heads) = heads else { return Ok(tensor.to_owned()) };
    let width = emit.shapes.dim(tensor, 2).and_then(Dim::known).map_or(-1, |width| width / heads.max(1));
    let split = emit.reshape(tensor, &[0, 0, heads, width])?;
    emit.transpose(&split, &[0, 2, 1, 3])
}

fn joined_heads(step: &mut Step<'_, '_>, tensor: &str, like: &str, split: bool) -> Result<String> {
    if !split {
        return Ok(tensor.to_owned());
    }
    let turned = step.emit.transpose(tensor, &[0, 2, 1, 3])?;
    step.emit.reshape_like(&turned, like)
}
