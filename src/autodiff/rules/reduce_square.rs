use super::reduce_sum::with_axes;
use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d Σx² = 2x · dx
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let double = step.emit.scale(&step.grad()?, 2.0)?;
    let (double, _) = with_axes(step, &double)?;
    let gradient = step.emit.op("Mul", &[&double, step.input(0)?])?;
    step.give(0, gradient);
    Ok(())
}

/// d √Σx² = x/√Σx² · dx
pub(super) fn l2(step: &mut Step<'_, '_>) -> Result<()> {
    let share = step.emit.op("Div", &[&step.grad()?, step.output()?])?;
    let (share, _) = with_axes(step, &share)?;
    let gradient = step.emit.op("Mul", &[&share, step.input(0)?])?;
    step.give(0, gradient);
    Ok(())
}
