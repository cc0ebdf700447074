use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// dσ(x) = σ(x) · (1 − σ(x)) · dx
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let y = step.output()?;
    let square = step.emit.op("Mul", &[y, y])?;
    let slope = step.emit.op("Sub", &[y, &square])?;
    let gradient = step.emit.op("Mul", &[&step.grad()?, &slope])?;
    step.give(0, gradient);
    Ok(())
}
