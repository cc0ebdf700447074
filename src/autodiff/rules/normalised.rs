//! What all norms share.

use crate::autodiff::Result;
use crate::autodiff::emit::Emit;

/// The gradient at x of x̂ = (x − μ)/σ over `axes`, from that at x̂:
/// `(g − mean g − x̂·mean(g·x̂)) / σ`. Both are in full precision.
pub(super) fn through_norm(emit: &mut Emit<'_>, x: &str, grad: &str, axes: &[i64], epsilon: f32) -> Result<String> {
    let mean = emit.reduce("ReduceMean", x, axes)?;
    let centred = emit.op("Sub", &[x, &mean])?;
    let inverse = inverse_deviation(emit, &centred, axes, epsilon)?;
    let grad_mean = emit.reduce("ReduceMean", grad, axes)?;
    let level = emit.op("Sub", &[grad, &grad_mean])?;
    along(emit, &centred, grad, &level, &inverse, axes)
}

/// The same for x̂ = x/√(mean x²).
pub(super) fn through_rms(emit: &mut Emit<'_>, x: &str, grad: &str, axes: &[i64], epsilon: f32) -> Result<String> {
    let inverse = inverse_deviation(emit, x, axes, epsilon)?;
    along(emit, x, grad, grad, &inverse, axes)
}

/// 1/√(mean(c²) + ε)
pub(super) fn inverse_deviation(emit: &mut Emit<'_>, centred: &str, axes: &[i64], epsilon: f32) -> Result<String> {
    let square = emit.op("Mul", &[centred, centred])?;
    let variance = emit.reduce("ReduceMean", &square, axes)?;
    let epsilon = emit.scalar(f64::from(epsilon), emit.elem(centred)?)?;
    let raised = emit.op("Add", &[&variance, &epsilon])?;
    let deviation = emit.op("Sqrt", &[&raised])?;
    emit.op("Reciprocal", &[&deviation])
}

/// `(level − c·mean(g·c)/σ²) / σ`
fn along(emit: &mut Emit<'_>, centred: &str, grad: &str, level: &str, inverse: &str, axes: &[i64]) -> Result<String> {
    let product = emit.op("Mul", &[grad, centred])?;
    let share = emit.reduce("ReduceMean", &product, axes)?;
    let square = emit.op("Mul", &[inverse, inverse])?;
    let factor = emit.op("Mul", &[&share, &square])?;
    let lost = emit.op("Mul", &[centred, &factor])?;
    let left = emit.op("Sub", &[level, &lost])?;
    emit.op("Mul", &[&left, inverse])
}
