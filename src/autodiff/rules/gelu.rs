use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use crate::autodiff::Result;
use crate::autodiff::emit::Emit;
use crate::autodiff::step::Step;
use crate::onnx::NodeExt;

/// `Gelu`, exact (x·Φ(x)) or by tanh.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let (grad, x) = (step.grad()?, step.input(0)?);
    let slope = match step.node.attr_str("approximate") {
        Some("tanh") => by_tanh(step.emit, x)?,
        _ => exact(step.emit, x)?,
    };
    let gradient = step.emit.op("Mul", &[&grad, &slope])?;
    step.give(0, gradient);
    Ok(())
}

/// Φ(x) + x·φ(x)
fn exact(emit: &mut Emit<'_>, x: &str) -> Result<String> {
    let one = emit.scalar(1.0, emit.elem(x)?)?;
    let scaled = emit.scale(x, FRAC_1_SQRT_2)?;
    let erf = emit.op("Erf", &[&scaled])?;
    let raised = emit.op("Add", &[&erf, &one])?;
    let distribution = emit.scale(&raised, 0.5)?;
    let square = emit.op("Mul", &[x, x])?;
    let exponent = emit.scale(&square, -0.5)?;
    let bell = emit.op("Exp", &[&exponent])?;
    let weighted = emit.op("Mul", &[x, &bell])?;
    let density = emit.scale(&weighted, 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2)?;
    emit.op("Add", &[&distribution, &density])
}

/// With t = tanh(c·(x + a·x³)): (1 + t)/2 + x/2 · (1 − t²) · c·(1 + 3a·x²)
fn by_tanh(emit: &mut Emit<'_>, x: &str) -> Result<String> {
    const A: f64 = 0.044715;
    let c = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
    let one = emit.scalar(1.0, emit.elem(x)?)?;
    let square = emit.op("Mul", &[x, x])?;
    let bend = emit.scale(&square, A)?;
    let bend = emit.op("Add", &[&bend, &one])?;
    let inner = emit.op("Mul", &[x, &bend])?;
    let inner = emit.scale(&inner, c)?;
    let tanh = emit.op("Tanh", &[&inner])?;
    let first = emit.op("Add", &[&tanh, &one])?;
    let first = emit.scale(&first, 0.5)?;
    let falling = emit.op("Mul", &[&tanh, &tanh])?;
    let falling = emit.op("Sub", &[&one, &falling])?;
    let slope = emit.scale(&square, 3.0 * A)?;
    let slope = emit.op("Add", &[&slope, &one])?;
    let slope = emit.scale(&slope, 0.5 * c)?;
    let second = emit.op("Mul", &[x, &falling])?;
    let second = emit.op("Mul", &[&second, &slope])?;
    emit.op("Add", &[&first, &second])
}

/// `com.microsoft.QuickGelu`: y = x·σ(αx), so y' = s + α·y·(1 − s).
pub(super) fn quick(step: &mut Step<'_, '_>) -> Result<()> {
    let alpha = f64::from(step.node.attr_float("alpha").unwrap_or(1.702));
    let (grad, x, y) = (step.grad()?, step.input(0)?, step.output()?);
    let one = step.emit.scalar(1.0, step.elem(x)?)?;
    let scaled = step.emit.scale(x, alpha)?;
    let sigmoid = step.emit.op("Sigmoid", &[&scaled])?;
    let rest = step.emit.op("Sub", &[&one, &sigmoid])?;
    let product = step.emit.op("Mul", &[y, &rest])?;
    let product = step.emit.scale(&product, alpha)?;
    let slope = step.emit.op("Add", &[&sigmoid, &product])?;
    let gradient = step.emit.op("Mul", &[&grad, &slope])?;
    step.give(0, gradient);
    Ok(())
}
