use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::NodeBuilder;

/// d(A·B): g·Bᵀ goes to A, Aᵀ·g to B. A two-dimensional B, as weights are, is read
/// transposed by `Gemm` instead of being transposed.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let (grad, a, b) = (step.grad()?, step.input(0)?, step.input(1)?);
    let (rank_a, rank_b) = (step.rank(a)?, step.rank(b)?);
    if rank_a < 2 || rank_b < 2 {
        return Err(step.unsupported("a product with a vector; reshape it to a matrix"));
    }
    if step.wants(0) {
        if rank_b == 2 {
            let rows = flattened(step, &grad, b, 1)?;
            let product = step.emit.node(NodeBuilder::new("Gemm").inputs([rows.as_str(), b]).attr("transB", 1))?;
            step.give_reshaped(0, &product)?;
        } else {
            let turned = step.emit.transpose_last(b, rank_b)?;
            let product = step.emit.op("MatMul", &[&grad, &turned])?;
            step.give_summed(0, &product)?;
        }
    }
    if step.wants(1) {
        if rank_b == 2 {
            let rows = flattened(step, &grad, b, 1)?;
            let data = flattened(step, a, b, 0)?;
            let product = step.emit.node(NodeBuilder::new("Gemm").inputs([data, rows]).attr("transA", 1))?;
            step.give(1, product);
        } else {
            let turned = step.emit.transpose_last(a, rank_a)?;
            let product = step.emit.op("MatMul", &[&turned, &grad])?;
            step.give_summed(1, &product)?;
        }
    }
    Ok(())
}

/// `tensor` as a matrix, whose columns are along `axis` of the matrix `b`.
fn flattened(step: &mut Step<'_, '_>, tensor: &str, b: &str, axis: i64) -> Result<String> {
    if step.rank(tensor)? == 2 {
        return Ok(tensor.to_owned());
    }
    match step.emit.shapes.dim(b, axis).and_then(|dim| dim.known()) {
        Some(columns) => step.emit.reshape(tensor, &[-1, columns]),
        None => {
            let columns = step.emit.extent(b, axis as usize)?;
            let rows = step.emit.ints(&[-1])?;
            let shape = step.emit.node(NodeBuilder::new("Concat").inputs([rows, columns]).attr("axis", 0))?;
            step.emit.op("Reshape", &[tensor, &shape])
        }
    }
}
