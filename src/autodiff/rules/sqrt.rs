use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d(√x) = dx / (2√x)
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let half = step.emit.scale(&step.grad()?, 0.5)?;
    let gradient = step.emit.op("Div", &[&half, step.output()?])?;
    step.give(0, gradient);
    Ok(())
}
