use super::reduce_sum::with_axes;
use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d Σ|x| = sign x · dx
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    let (grad, _) = with_axes(step, &grad)?;
    let sign = step.emit.op("Sign", &[step.input(0)?])?;
    let gradient = step.emit.op("Mul", &[&grad, &sign])?;
    step.give(0, gradient);
    Ok(())
}
