use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d(a · b) = b · da + a · db
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    for (slot, other) in [(0, 1), (1, 0)] {
        if step.wants(slot) {
            let product = step.emit.op("Mul", &[&grad, step.input(other)?])?;
            step.give_summed(slot, &product)?;
        }
    }
    Ok(())
}
