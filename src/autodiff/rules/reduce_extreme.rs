use super::reduce_sum::with_axes;
use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// The elements that are the maximum or minimum share its gradient evenly.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    let (x, elem) = (step.input(0)?, step.elem(&grad)?);
    let (extreme, axes) = with_axes(step, step.output()?)?;
    let chosen = step.emit.op("Equal", &[x, &extreme])?;
    let chosen = step.emit.cast(&chosen, elem)?;
    let count = step.emit.reduce("ReduceSum", &chosen, &axes)?;
    let (grad, _) = with_axes(step, &grad)?;
    let share = step.emit.op("Div", &[&grad, &count])?;
    let gradient = step.emit.op("Mul", &[&chosen, &share])?;
    step.give(0, gradient);
    Ok(())
}
