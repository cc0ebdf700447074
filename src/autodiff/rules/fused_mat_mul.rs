use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::{NodeBuilder, NodeExt};

/// Y = α·A'·B' of `com.microsoft`, where A' and B' may be transposed: products of the gradient with the
/// other operand by the same operator.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    if ["transBatchA", "transBatchB"].iter().any(|name| step.node.attr_int(name).unwrap_or(0) != 0) {
        return Err(step.unsupported("transposed batches"));
    }
    let (grad, a, b) = (step.grad()?, step.input(0)?, step.input(1)?);
    if step.rank(a)? < 2 || step.rank(b)? < 2 {
        return Err(step.unsupported("a product with a vector; reshape it to a matrix"));
    }
    let alpha = step.node.attr_float("alpha").unwrap_or(1.0);
    let turned = |name: &str| i64::from(step.node.attr_int(name).unwrap_or(0) != 0);
    let (turned_a, turned_b) = (turned("transA"), turned("transB"));
    let product = |left: &str, right: &str, turn_left: i64, turn_right: i64| {
        let node = NodeBuilder::new("FusedMatMul").domain("com.microsoft").inputs([left, right]).attr("alpha", alpha);
        node.attr("transA", turn_left).attr("transB", turn_right)
    };
    if step.wants(0) {
        let node = match turned_a {
            0 => product(&grad, b, 0, 1 - turned_b),
            _ => product(b, &grad, turned_b, 1),
        };
        let product = step.emit.node(node)?;
        step.give_summed(0, &product)?;
    }
    if step.wants(1) {
        let node = match turned_b {
            0 => product(a, &grad, 1 - turned_a, 0),
            _ => product(&grad, a, 1, turned_a),
        };
        let product = step.emit.node(node)?;
        step.give_summed(1, &product)?;
    }
    Ok(())
}
