use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::NodeExt;

/// Zeros around the slice. Steps must be 1; a start may not be known only at run time.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let x = step.input(0)?;
    let rank = step.rank(x)?;
    let starts = ints(step, 1)?;
    let axes = match step.node.input_name(3) {
        Some(_) => ints(step, 3)?,
        None => (0..starts.len() as i64).collect(),
    };
    if step.node.input_name(4).is_some() && ints(step, 4)?.iter().any(|&by| by != 1) {
        return Err(step.unsupported("steps other than 1"));
    }
    let mut gradient = step.grad()?;
    for (axis, start) in axes.into_iter().zip(starts) {
        let axis = step.axis(axis, rank)?;
        gradient = padded(step, &gradient, x, axis, start)?;
    }
    let (elem, shape) = (step.elem(x)?, step.emit.shapes.shape(x).map(<[_]>::to_vec));
    if let Some(shape) = shape {
        step.emit.shapes.state(&gradient, elem, shape);
    }
    step.give(0, gradient);
    Ok(())
}

fn padded(step: &mut Step<'_, '_>, gradient: &str, x: &str, axis: usize, start: i64) -> Result<String> {
    let whole = step.emit.shapes.dim(x, axis as i64).cloned();
    let part = step.emit.shapes.dim(gradient, axis as i64).cloned();
    if let (Some(whole), Some(part)) = (&whole, &part)
        && whole.equals(part)
    {
        return Ok(gradient.to_owned());
    }
    let whole_tensor = step.emit.extent(x, axis)?;
    let before = match whole.and_then(|whole| whole.known()) {
        Some(whole) if start < 0 => step.emit.ints(&[(start + whole).max(0)])?,
        Some(whole) => step.emit.ints(&[start.min(whole)])?,
        None if start < 0 => {
            let offset = step.emit.ints(&[start])?;
            step.emit.op("Add", &[&whole_tensor, &offset])?
        }
        None => step.emit.ints(&[start])?,
    };
    let part_tensor = step.emit.extent(gradient, axis)?;
    let covered = step.emit.op("Add", &[&before, &part_tensor])?;
    let after = step.emit.op("Sub", &[&whole_tensor, &covered])?;
    step.emit.pad(gradient, &before, &after, axis)
}

fn ints(step: &Step<'_, '_>, slot: usize) -> Result<Vec<i64>> {
    let known = step.emit.shapes.known_ints(step.input(slot)?);
    known.ok_or_else(|| step.unsupported(&format!("input {slot} is known at run time only")))
}
