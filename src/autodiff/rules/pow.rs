use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// d(xᵖ) = p · xᵖ⁻¹ · dx, for constant p
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    step.constants(1..2)?;
    let (grad, x, power) = (step.grad()?, step.input(0)?, step.input(1)?);
    let elem = step.elem(x)?;
    let gradient = if exponent(step, power) == Some(2.0) {
        let product = step.emit.op("Mul", &[&grad, x])?;
        step.emit.scale(&product, 2.0)?
    } else {
        let power = step.emit.cast(power, elem)?;
        let one = step.emit.scalar(1.0, elem)?;
        let lower = step.emit.op("Sub", &[&power, &one])?;
        let raised = step.emit.op("Pow", &[x, &lower])?;
        let slope = step.emit.op("Mul", &[&raised, &power])?;
        step.emit.op("Mul", &[&grad, &slope])?
    };
    step.give_summed(0, &gradient)
}

fn exponent(step: &Step<'_, '_>, power: &str) -> Option<f32> {
    let tensor = step.emit.graph.constant(power)?;
    let floats = crate::onnx::tensor_f32s(tensor).ok();
    let ints = || crate::onnx::tensor_ints(tensor).ok().map(|ints| ints.iter().map(|&int| int as f32).collect());
    match floats.or_else(ints)?.as_slice() {
        [exponent] => Some(*exponent),
        _ => None,
    }
}
