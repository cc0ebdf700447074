use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::{NodeBuilder, NodeExt};

/// Y = α·A'·B' + β·C, where A' and B' may be transposed: products of the gradient with the other operand.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let (grad, a, b) = (step.grad()?, step.input(0)?, step.input(1)?);
    let alpha = step.node.attr_float("alpha").unwrap_or(1.0);
    let turned = |name: &str| i64::from(step.node.attr_int(name).unwrap_or(0) != 0);
    let (turned_a, turned_b) = (turned("transA"), turned("transB"));
    let gemm = |left: &str, right: &str, turn_left: i64, turn_right: i64| {
        let node = NodeBuilder::new("Gemm").inputs([left, right]).attr("alpha", alpha);
        node.attr("transA", turn_left).attr("transB", turn_right)
    };
    if step.wants(0) {
        let node = match turned_a {
            0 => gemm(&grad, b, 0, 1 - turned_b),
            _ => gemm(b, &grad, turned_b, 1),
        };
        let product = step.emit.node(node)?;
        step.give(0, product);
    }
    if step.wants(1) {
        let node = match turned_b {
            0 => gemm(a, &grad, 1 - turned_a, 0),
            _ => gemm(&grad, a, 1, turned_a),
        };
        let product = step.emit.node(node)?;
        step.give(1, product);
    }
    if step.wants(2) {
        let beta = step.node.attr_float("beta").unwrap_or(1.0);
        let scaled = if beta == 1.0 { grad } else { step.emit.scale(&grad, f64::from(beta))? };
        step.give_summed(2, &scaled)?;
    }
    Ok(())
}
