use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// `Add` and `Sum`: the gradient goes to every operand, summed where that was broadcast.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    for slot in 0..step.node.input.len() {
        if step.wants(slot) {
            step.give_summed(slot, &grad)?;
        }
    }
    Ok(())
}
