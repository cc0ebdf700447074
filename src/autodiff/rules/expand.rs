use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// Summed over what was repeated.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    step.give_summed(0, &grad)
}
