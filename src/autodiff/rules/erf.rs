use std::f64::consts::FRAC_2_SQRT_PI;

use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d erf(x) = 2/√π · e^(−x²) · dx
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let (grad, x) = (step.grad()?, step.input(0)?);
    let square = step.emit.op("Mul", &[x, x])?;
    let negative = step.emit.op("Neg", &[&square])?;
    let bell = step.emit.op("Exp", &[&negative])?;
    let product = step.emit.op("Mul", &[&grad, &bell])?;
    let gradient = step.emit.scale(&product, FRAC_2_SQRT_PI)?;
    step.give(0, gradient);
    Ok(())
}
