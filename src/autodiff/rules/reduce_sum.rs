use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::{NodeBuilder, NodeExt};

/// Every element that went into a sum gets the sum's gradient.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    let (grad, _) = with_axes(step, &grad)?;
    let gradient = step.emit.expand_like(&grad, step.input(0)?)?;
    step.give(0, gradient);
    Ok(())
}

/// A tensor in the shape of the reduction's output, with the reduced axes put back at extent 1; and those axes.
pub(super) fn with_axes(step: &mut Step<'_, '_>, reduced: &str) -> Result<(String, Vec<i64>)> {
    let rank = step.rank(step.input(0)?)?;
    let stated = match (step.node.attr_ints("axes"), step.node.input_name(1)) {
        (Some(axes), _) => Some(axes.to_vec()),
        (None, Some(axes)) => {
            let known = step.emit.shapes.known_ints(axes);
            Some(known.ok_or_else(|| step.unsupported("axes that are known at run time only"))?)
        }
        (None, None) => None,
    };
    let axes: Vec<i64> = match stated.filter(|axes| !axes.is_empty()) {
        Some(axes) => axes.iter().map(|&axis| step.axis(axis, rank).map(|axis| axis as i64)).collect::<Result<_>>()?,
        None if step.node.attr_int("noop_with_empty_axes").unwrap_or(0) != 0 => Vec::new(),
        None => (0..rank as i64).collect(),
    };
    if step.node.attr_int("keepdims").unwrap_or(1) != 0 || axes.is_empty() {
        return Ok((reduced.to_owned(), axes));
    }
    let list = step.emit.ints(&axes)?;
    let unsqueezed = step.emit.node(NodeBuilder::new("Unsqueeze").inputs([reduced, &list]))?;
    Ok((unsqueezed, axes))
}
