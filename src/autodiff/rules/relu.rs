use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d max(x, 0) = dx where x > 0
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let (grad, x) = (step.grad()?, step.input(0)?);
    let zero = step.emit.scalar(0.0, step.elem(x)?)?;
    let positive = step.emit.op("Greater", &[x, &zero])?;
    let gradient = step.emit.op("Where", &[&positive, &grad, &zero])?;
    step.give(0, gradient);
    Ok(())
}
