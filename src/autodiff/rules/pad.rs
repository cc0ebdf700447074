use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::{NodeBuilder, NodeExt};

/// The padding cut off again, which are pads of the opposite sign.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    step.constants(1..4)?;
    let grad = step.grad()?;
    if !matches!(step.node.attr_str("mode"), None | Some("constant")) {
        return Err(step.unsupported("a mode other than constant"));
    }
    let pads = step.input(1)?;
    let cuts = match step.emit.shapes.known_ints(pads) {
        Some(pads) => step.emit.ints(&pads.iter().map(|pad| -pad).collect::<Vec<_>>())?,
        None => step.emit.op("Neg", &[pads])?,
    };
    let mut node = NodeBuilder::new("Pad").inputs([grad.as_str(), &cuts]);
    if let Some(axes) = step.node.input_name(3) {
        node = node.input("").input(axes);
    }
    let gradient = step.emit.node(node)?;
    step.give(0, gradient);
    Ok(())
}
