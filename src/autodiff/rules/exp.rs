use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d(eˣ) = eˣ · dx
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let gradient = step.emit.op("Mul", &[&step.grad()?, step.output()?])?;
    step.give(0, gradient);
    Ok(())
}
