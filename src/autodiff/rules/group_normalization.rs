use super::normalised::through_norm;
use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::{NodeBuilder, NodeExt};

/// Normalised per row and group of channels, then scaled and shifted by constants: one per
/// group before opset 21, one per channel since.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    step.constants(1..3)?;
    let (grad, x, scale) = (step.grad()?, step.input(0)?, step.input(1)?);
    let rank = step.rank(x)?;
    let groups = step.node.attr_int("num_groups").ok_or_else(|| step.unsupported("num_groups is missing"))?;
    let epsilon = step.node.attr_float("epsilon").unwrap_or(1e-5);
    let elem = step.elem(x)?;
    let per_group = step.emit.opset < 21;
    let scaled = if per_group { grad } else { times_column(step, &grad, scale, rank - 2)? };
    let (wide_x, wide_grad) = (step.emit.widened(x)?, step.emit.widened(&scaled)?);
    let x_groups = step.emit.reshape(&wide_x, &[0, groups, -1])?;
    let mut grad_groups = step.emit.reshape(&wide_grad, &[0, groups, -1])?;
    if per_group {
        let scale = step.emit.widened(scale)?;
        grad_groups = times_column(step, &grad_groups, &scale, 1)?;
    }
    let gradient = through_norm(step.emit, &x_groups, &grad_groups, &[2], epsilon)?;
    let gradient = step.emit.cast(&gradient, elem)?;
    step.give_reshaped(0, &gradient)
}

/// `tensor` times a list along axis 1, which `behind` axes follow.
fn times_column(step: &mut Step<'_, '_>, tensor: &str, list: &str, behind: usize) -> Result<String> {
    let column: Vec<i64> = [-1].into_iter().chain(std::iter::repeat_n(1, behind)).collect();
    let shape = step.emit.ints(&column)?;
    let column = step.emit.node(NodeBuilder::new("Reshape").inputs([list, &shape]))?;
    step.emit.op("Mul", &[tensor, &column])
}
