use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d|x| = sign x · dx
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let (grad, x) = (step.grad()?, step.input(0)?);
    let sign = step.emit.op("Sign", &[x])?;
    let gradient = step.emit.op("Mul", &[&grad, &sign])?;
    step.give(0, gradient);
    Ok(())
}
