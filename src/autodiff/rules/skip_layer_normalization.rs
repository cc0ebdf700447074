use super::normalised::through_norm;
use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::NodeExt;

/// `com.microsoft.SkipLayerNormalization`: the sum of input, skip and a constant bias, which is its fourth
/// output, normalised over the last axis, then scaled and shifted by constants.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    step.constants(2..5)?;
    let sum = sum(step)?;
    let mut gradient = step.grad_of(3);
    if let Some(grad) = step.grad_of(0) {
        let last = step.rank(&sum)? as i64 - 1;
        let epsilon = step.node.attr_float("epsilon").unwrap_or(1e-12);
        let elem = step.elem(&sum)?;
        let scaled = step.emit.op("Mul", &[&grad, step.input(2)?])?;
        let (wide_sum, wide_grad) = (step.emit.widened(&sum)?, step.emit.widened(&scaled)?);
        let through = through_norm(step.emit, &wide_sum, &wide_grad, &[last], epsilon)?;
        let through = step.emit.cast(&through, elem)?;
        gradient = Some(match gradient {
            Some(passed) => step.emit.op("Add", &[&passed, &through])?,
            None => through,
        });
    }
    let gradient = gradient.ok_or_else(|| step.unsupported("only its statistics are used"))?;
    for slot in [0, 1] {
        if step.wants(slot) {
            step.give_summed(slot, &gradient)?;
        }
    }
    Ok(())
}

/// What is normalised: the fourth output, or the sum once more.
fn sum(step: &mut Step<'_, '_>) -> Result<String> {
    if let Some(sum) = step.node.output.get(3).filter(|name| !name.is_empty()) {
        return Ok(sum.clone());
    }
    let sum = step.emit.op("Add", &[step.input(0)?, step.input(1)?])?;
    match step.node.input_name(4) {
        Some(bias) => step.emit.op("Add", &[&sum, bias]),
        None => Ok(sum),
    }
}
