use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d(tanh x) = (1 − tanh² x) · dx
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let (grad, y) = (step.grad()?, step.output()?);
    let square = step.emit.op("Mul", &[y, y])?;
    let lost = step.emit.op("Mul", &[&grad, &square])?;
    let gradient = step.emit.op("Sub", &[&grad, &lost])?;
    step.give(0, gradient);
    Ok(())
}
