use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::infer::Dim;
use crate::onnx::{NodeBuilder, NodeExt};

/// Nearest-neighbour upsampling. By whole factors, the gradient is the sum over each block;
/// else it goes back along the very indices that `Resize` chooses, found by resizing a ramp.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    if !matches!(step.node.attr_str("mode"), None | Some("nearest")) {
        return Err(step.unsupported("a mode other than nearest"));
    }
    let (x, y) = (step.input(0)?, step.output()?);
    let rank = step.rank(x)?;
    if rank != 4 {
        return Err(step.unsupported("a rank other than 4"));
    }
    let factor = |axis: i64| {
        let (from, to) = (step.emit.shapes.dim(x, axis)?, step.emit.shapes.dim(y, axis)?);
        to.over_exactly(from)?.known()
    };
    let whole: Option<Vec<i64>> = (0..4).map(factor).collect();
    match whole.as_deref() {
        Some([1, 1, height, width]) if keeps_blocks(step) => blocks(step, *height, *width),
        _ => along_indices(step, x, y),
    }
}

/// Whether, by whole factors, every input is repeated in its own block.
fn keeps_blocks(step: &Step<'_, '_>) -> bool {
    let transformation = step.node.attr_str("coordinate_transformation_mode").unwrap_or("half_pixel");
    let rounding = step.node.attr_str("nearest_mode").unwrap_or("round_prefer_floor");
    match transformation {
        "asymmetric" => rounding == "floor",
        "half_pixel" | "pytorch_half_pixel" => rounding.starts_with("round_prefer"),
        _ => false,
    }
}

fn blocks(step: &mut Step<'_, '_>, height: i64, width: i64) -> Result<()> {
    let pool = NodeBuilder::new("AveragePool").input(step.grad()?);
    let mean = step.emit.node(pool.attr("kernel_shape", vec![height, width]).attr("strides", vec![height, width]))?;
    let sum = step.emit.scale(&mean, (height * width) as f64)?;
    step.give(0, sum);
    Ok(())
}

/// dX = R_hᵀ · g · R_w, with one-hot rows R that say where each output came from.
fn along_indices(step: &mut Step<'_, '_>, x: &str, y: &str) -> Result<()> {
    let mut gradient = step.grad()?;
    let columns = one_hot(step, x, y, 3)?;
    gradient = step.emit.op("MatMul", &[&gradient, &columns])?;
    let rows = one_hot(step, x, y, 2)?;
    let rows = step.emit.transpose(&rows, &[1, 0])?;
    gradient = step.emit.op("MatMul", &[&rows, &gradient])?;
    step.give_reshaped(0, &gradient)
}

/// `[extent of y, extent of x]` along `axis`: 1 where an output is a copy of that input.
fn one_hot(step: &mut Step<'_, '_>, x: &str, y: &str, axis: usize) -> Result<String> {
    let elem = step.elem(x)?;
    let (from, to) = (step.emit.extent(x, axis)?, step.emit.extent(y, axis)?);
    let (zero, one) = (step.emit.int(0)?, step.emit.int(1)?);
    let scalar = step.emit.ints(&[])?;
    let limit = step.emit.op("Reshape", &[&from, &scalar])?;
    let ramp = step.emit.op("Range", &[&zero, &limit, &one])?;
    let ramp = step.emit.cast(&ramp, crate::onnx::DataType::Float)?;
    let ramp = step.emit.reshape(&ramp, &[1, 1, -1, 1])?;
    let (pair, single) = (step.emit.ints(&[1, 1])?, step.emit.ints(&[1])?);
    let sizes = step.emit.node(NodeBuilder::new("Concat").inputs([pair, to, single]).attr("axis", 0))?;
    let mut resize = NodeBuilder::new("Resize").inputs([ramp.as_str(), "", "", &sizes]).attr("mode", "nearest");
    for name in ["coordinate_transformation_mode", "nearest_mode"] {
        if let Some(value) = step.node.attr_str(name) {
            resize = resize.attr(name, value);
        }
    }
    let indices = step.emit.node(resize)?;
    let indices = step.emit.cast(&indices, crate::onnx::DataType::Int64)?;
    let indices = step.emit.reshape(&indices, &[-1])?;
    let (off, on) = (step.emit.filled(0.0, elem, &[1])?, step.emit.filled(1.0, elem, &[1])?);
    let values = step.emit.node(NodeBuilder::new("Concat").inputs([off, on]).attr("axis", 0))?;
    let one_hot = step.emit.node(NodeBuilder::new("OneHot").inputs([indices, from, values]).attr("axis", 1))?;
    let shape = [y, x].map(|tensor| step.emit.shapes.dim(tensor, axis as i64).cloned().unwrap_or(Dim::Unknown));
    step.emit.shapes.state(&one_hot, elem, shape.to_vec());
    Ok(one_hot)
}
