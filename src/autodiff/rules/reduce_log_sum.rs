use super::reduce_sum::with_axes;
use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d log Σx = dx / Σx
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let sum = step.emit.op("Exp", &[step.output()?])?;
    let share = step.emit.op("Div", &[&step.grad()?, &sum])?;
    let (share, _) = with_axes(step, &share)?;
    let gradient = step.emit.expand_like(&share, step.input(0)?)?;
    step.give(0, gradient);
    Ok(())
}

/// d log Σeˣ = eˣ / Σeˣ · dx
pub(super) fn exp(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    let (sum, _) = with_axes(step, step.output()?)?;
    let (grad, _) = with_axes(step, &grad)?;
    let below = step.emit.op("Sub", &[step.input(0)?, &sum])?;
    let share = step.emit.op("Exp", &[&below])?;
    let gradient = step.emit.op("Mul", &[&grad, &share])?;
    step.give(0, gradient);
    Ok(())
}
