use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d(−x) = −dx
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let negative = step.emit.op("Neg", &[&step.grad()?])?;
    step.give(0, negative);
    Ok(())
}
