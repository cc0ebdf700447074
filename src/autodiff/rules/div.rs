use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d(a / b) = da / b − (a / b) · db / b
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let scaled = step.emit.op("Div", &[&step.grad()?, step.input(1)?])?;
    if step.wants(0) {
        step.give_summed(0, &scaled)?;
    }
    if step.wants(1) {
        let product = step.emit.op("Mul", &[&scaled, step.output()?])?;
        let summed = step.emit.sum_to(&product, step.input(1)?)?;
        let negative = step.emit.op("Neg", &[&summed])?;
        step.give(1, negative);
    }
    Ok(())
}

/// d(1 / x) = −dx / x²
pub(super) fn reciprocal(step: &mut Step<'_, '_>) -> Result<()> {
    let y = step.output()?;
    let square = step.emit.op("Mul", &[y, y])?;
    let product = step.emit.op("Mul", &[&step.grad()?, &square])?;
    let negative = step.emit.op("Neg", &[&product])?;
    step.give(0, negative);
    Ok(())
}
