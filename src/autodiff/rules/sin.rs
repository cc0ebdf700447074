use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d(sin x) = cos x · dx
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let cos = step.emit.op("Cos", &[step.input(0)?])?;
    let gradient = step.emit.op("Mul", &[&step.grad()?, &cos])?;
    step.give(0, gradient);
    Ok(())
}

/// d(cos x) = −sin x · dx
pub(super) fn cos(step: &mut Step<'_, '_>) -> Result<()> {
    let sin = step.emit.op("Sin", &[step.input(0)?])?;
    let product = step.emit.op("Mul", &[&step.grad()?, &sin])?;
    let negative = step.emit.op("Neg", &[&product])?;
    step.give(0, negative);
    Ok(())
}
