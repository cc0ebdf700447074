use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// To each branch goes what it was chosen for.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let (grad, condition) = (step.grad()?, step.input(0)?);
    let zero = step.emit.scalar(0.0, step.elem(&grad)?)?;
    if step.wants(1) {
        let chosen = step.emit.op("Where", &[condition, &grad, &zero])?;
        step.give_summed(1, &chosen)?;
    }
    if step.wants(2) {
        let chosen = step.emit.op("Where", &[condition, &zero, &grad])?;
        step.give_summed(2, &chosen)?;
    }
    Ok(())
}
