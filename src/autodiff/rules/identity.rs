use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// `Identity`, and `Dropout` as inference runs it.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    step.give(0, grad);
    Ok(())
}
