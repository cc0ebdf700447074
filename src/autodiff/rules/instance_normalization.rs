use super::normalised::through_norm;
use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::{NodeExt, tensor_f32s};

/// Normalised per row and channel, then scaled and shifted by constants. This is also how
/// exporters write group norms: groups as channels, with scale 1.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    step.constants(1..3)?;
    let (grad, x, scale) = (step.grad()?, step.input(0)?, step.input(1)?);
    let rank = step.rank(x)?;
    let axes: Vec<i64> = (2..rank as i64).collect();
    let epsilon = step.node.attr_float("epsilon").unwrap_or(1e-5);
    let elem = step.elem(x)?;
    let scaled = if is_one(step, scale) {
        grad
    } else {
        let column: Vec<i64> = [-1].into_iter().chain(axes.iter().map(|_| 1)).collect();
        let scale = step.emit.reshape(scale, &column)?;
        step.emit.op("Mul", &[&grad, &scale])?
    };
    let (wide_x, wide_grad) = (step.emit.widened(x)?, step.emit.widened(&scaled)?);
    let gradient = through_norm(step.emit, &wide_x, &wide_grad, &axes, epsilon)?;
    let gradient = step.emit.cast(&gradient, elem)?;
    step.give(0, gradient);
    Ok(())
}

fn is_one(step: &Step<'_, '_>, scale: &str) -> bool {
    let floats = step.emit.graph.constant(scale).and_then(|tensor| tensor_f32s(tensor).ok());
    floats.is_some_and(|floats| !floats.is_empty() && floats.iter().all(|&float| float == 1.0))
}
