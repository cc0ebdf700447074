use crate::autodiff::Result;
use crate::autodiff::emit::Emit;
use crate::autodiff::step::Step;
use crate::onnx::NodeExt;

/// P · (g − Σ gP) along the axis
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let axis = step.node.attr_int("axis").unwrap_or(-1);
    let (grad, output) = (step.grad()?, step.output()?);
    let gradient = through_softmax(step.emit, output, &grad, axis)?;
    step.give(0, gradient);
    Ok(())
}

/// The gradient at the scores, from that at `probs = softmax(scores)`.
pub(super) fn through_softmax(emit: &mut Emit<'_>, probs: &str, grad: &str, axis: i64) -> Result<String> {
    let weighted = emit.op("Mul", &[grad, probs])?;
    let sum = emit.reduce("ReduceSum", &weighted, &[axis])?;
    let centred = emit.op("Sub", &[grad, &sum])?;
    emit.op("Mul", &[&centred, probs])
}

/// g − P · Σ g along the axis
pub(super) fn log_softmax(step: &mut Step<'_, '_>) -> Result<()> {
    let axis = step.node.attr_int("axis").unwrap_or(-1);
    let (grad, output) = (step.grad()?, step.output()?);
    let probs = step.emit.op("Exp", &[output])?;
    let sum = step.emit.reduce("ReduceSum", &grad, &[axis])?;
    let product = step.emit.op("Mul", &[&probs, &sum])?;
    let gradient = step.emit.op("Sub", &[&grad, &product])?;
    step.give(0, gradient);
    Ok(())
}
