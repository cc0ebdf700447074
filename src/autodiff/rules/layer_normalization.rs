use super::normalised::through_norm;
use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::NodeExt;

/// Normalised over the last axes, then scaled and shifted by constants.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    step.constants(1..3)?;
    let (grad, x, scale) = (step.grad()?, step.input(0)?, step.input(1)?);
    let rank = step.rank(x)?;
    let first = step.axis(step.node.attr_int("axis").unwrap_or(-1), rank)?;
    let axes: Vec<i64> = (first as i64..rank as i64).collect();
    let epsilon = step.node.attr_float("epsilon").unwrap_or(1e-5);
    let elem = step.elem(x)?;
    let scaled = step.emit.op("Mul", &[&grad, scale])?;
    let (wide_x, wide_grad) = (step.emit.widened(x)?, step.emit.widened(&scaled)?);
    let gradient = through_norm(step.emit, &wide_x, &wide_grad, &axes, epsilon)?;
    let gradient = step.emit.cast(&gradient, elem)?;
    step.give(0, gradient);
    Ok(())
}
