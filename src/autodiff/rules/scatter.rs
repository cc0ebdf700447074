use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::{NodeBuilder, NodeExt};

/// `ScatterND`: the data lose what was overwritten, the updates get what lies at their place.
pub(super) fn scatter_nd(step: &mut Step<'_, '_>) -> Result<()> {
    if !matches!(step.node.attr_str("reduction"), None | Some("none")) {
        return Err(step.unsupported("a reduction"));
    }
    let (grad, indices, updates) = (step.grad()?, step.input(1)?, step.input(2)?);
    if step.wants(0) {
        let zeros = step.emit.zeros_like(updates)?;
        let gradient = step.emit.op("ScatterND", &[&grad, indices, &zeros])?;
        step.give(0, gradient);
    }
    if step.wants(2) {
        let gradient = step.emit.op("GatherND", &[&grad, indices])?;
        step.give(2, gradient);
    }
    Ok(())
}

/// `GatherND`: what was taken is added back to its place.
pub(super) fn gather_nd(step: &mut Step<'_, '_>) -> Result<()> {
    if step.node.attr_int("batch_dims").unwrap_or(0) != 0 {
        return Err(step.unsupported("batch_dims"));
    }
    if step.emit.opset < 16 {
        return Err(step.unsupported("opsets before 16, where ScatterND cannot add"));
    }
    let (grad, x, indices) = (step.grad()?, step.input(0)?, step.input(1)?);
    let zeros = step.emit.zeros_like(x)?;
    let node = NodeBuilder::new("ScatterND").inputs([zeros.as_str(), indices, &grad]).attr("reduction", "add");
    let gradient = step.emit.node(node)?;
    step.give(0, gradient);
    Ok(())
}
