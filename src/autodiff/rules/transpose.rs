use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::NodeExt;

/// The inverse permutation.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let rank = step.rank(step.input(0)?)?;
    let order: Vec<usize> = match step.node.attr_ints("perm") {
        Some(order) => order.iter().map(|&axis| step.axis(axis, rank)).collect::<Result<_>>()?,
        None => (0..rank).rev().collect(),
    };
    let mut inverse = vec![0; rank];
    for (to, &from) in order.iter().enumerate() {
        inverse[from] = to;
    }
    let gradient = step.emit.transpose(&step.grad()?, &inverse)?;
    step.give(0, gradient);
    Ok(())
}
