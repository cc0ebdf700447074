use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d(ln x) = dx / x
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let gradient = step.emit.op("Div", &[&step.grad()?, step.input(0)?])?;
    step.give(0, gradient);
    Ok(())
}
