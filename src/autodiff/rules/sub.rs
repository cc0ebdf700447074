use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d(a − b) = da − db
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    if step.wants(0) {
        step.give_summed(0, &grad)?;
    }
    if step.wants(1) {
        let summed = step.emit.sum_to(&grad, step.input(1)?)?;
        let negative = step.emit.op("Neg", &[&summed])?;
        step.give(1, negative);
    }
    Ok(())
}
