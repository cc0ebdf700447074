use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// The gradient takes the type of the input.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let elem = step.elem(step.input(0)?)?;
    let gradient = step.emit.cast(&step.grad()?, elem)?;
    step.give(0, gradient);
    Ok(())
}
