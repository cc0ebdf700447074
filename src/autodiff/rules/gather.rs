use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::infer::Dim;
use crate::onnx::{NodeBuilder, NodeExt};

/// One constant index: zeros around it. Else the gradient of each taken slice is added back
/// where it came from, as a product with one-hot rows.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let (x, indices) = (step.input(0)?, step.input(1)?);
    let rank = step.rank(x)?;
    let axis = step.axis(step.node.attr_int("axis").unwrap_or(0), rank)?;
    let known = step.emit.shapes.known_ints(indices).filter(|ints| ints.len() == 1);
    let extent = step.emit.shapes.dim(x, axis as i64).and_then(Dim::known);
    match (known.as_deref(), extent) {
        (Some([index]), Some(extent)) => one(step, axis, *index, extent),
        _ => many(step, x, indices, axis, rank),
    }
}

fn one(step: &mut Step<'_, '_>, axis: usize, index: i64, extent: i64) -> Result<()> {
    let index = step.axis(index, usize::try_from(extent).unwrap_or(0))? as i64;
    let mut gradient = step.grad()?;
    if step.rank(step.input(1)?)? == 0 {
        let at = step.emit.ints(&[axis as i64])?;
        gradient = step.emit.op("Unsqueeze", &[&gradient, &at])?;
    }
    let (before, after) = (step.emit.ints(&[index])?, step.emit.ints(&[extent - index - 1])?);
    let padded = step.emit.pad(&gradient, &before, &after, axis)?;
    step.give_reshaped(0, &padded)
}

fn many(step: &mut Step<'_, '_>, x: &str, indices: &str, axis: usize, rank: usize) -> Result<()> {
    let grad = step.grad()?;
    let elem = step.elem(x)?;
    let picked = step.rank(indices)?;
    let front: Vec<usize> = (axis..axis + picked).chain(0..axis).chain(axis + picked..rank - 1 + picked).collect();
    let taken_first = step.emit.transpose(&grad, &front)?;
    let flat_indices = step.emit.reshape(indices, &[-1])?;
    let extent = step.emit.extent(x, axis)?;
    let (off, on) = (step.emit.filled(0.0, elem, &[1])?, step.emit.filled(1.0, elem, &[1])?);
    let values = step.emit.node(NodeBuilder::new("Concat").inputs([off, on]).attr("axis", 0))?;
    let one_hot = NodeBuilder::new("OneHot").inputs([flat_indices.as_str(), &extent, &values]);
    let one_hot = step.emit.node(one_hot.attr("axis", 0))?;
    let count = step.emit.op("Size", &[indices])?;
    let (one, open) = (step.emit.ints(&[1])?, step.emit.ints(&[-1])?);
    let count = step.emit.op("Reshape", &[&count, &one])?;
    let rows = step.emit.node(NodeBuilder::new("Concat").inputs([count, open]).attr("axis", 0))?;
    let rows = step.emit.op("Reshape", &[&taken_first, &rows])?;
    let summed = step.emit.op("MatMul", &[&one_hot, &rows])?;
    let mut order: Vec<usize> = vec![axis];
    order.extend((0..rank).filter(|&other| other != axis));
    let turned = step.emit.transpose(x, &order)?;
    let shape = step.emit.op("Shape", &[&turned])?;
    let shaped = step.emit.op("Reshape", &[&summed, &shape])?;
    let mut back = vec![0; rank];
    for (to, &from) in order.iter().enumerate() {
        back[from] = to;
    }
    let gradient = step.emit.transpose(&shaped, &back)?;
    step.give(0, gradient);
    Ok(())
}
