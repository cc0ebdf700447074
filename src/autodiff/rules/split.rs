use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::{NodeBuilder, NodeExt};

/// The parts' gradients side by side, zeros where none arrived.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let axis = step.node.attr_int("axis").unwrap_or(0);
    let mut parts = Vec::with_capacity(step.node.output.len());
    for (slot, output) in step.node.output.iter().enumerate() {
        parts.push(match step.grad_of(slot) {
            Some(grad) => grad,
            None if output.is_empty() => return Err(step.unsupported("a part without a name")),
            None => step.emit.zeros_like(output)?,
        });
    }
    let gradient = step.emit.node(NodeBuilder::new("Concat").inputs(parts).attr("axis", axis))?;
    step.give(0, gradient);
    Ok(())
}
