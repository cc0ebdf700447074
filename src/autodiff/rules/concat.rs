use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::NodeExt;
use crate::onnx::infer::Dim;

/// Each part gets its own slice.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    let rank = step.rank(step.output()?)?;
    let axis = step.axis(step.node.attr_int("axis").unwrap_or(0), rank)?;
    let mut start = Bound::default();
    for slot in 0..step.node.input.len() {
        let part = step.input(slot)?;
        let end = start.moved(step, part, axis)?;
        if step.wants(slot) {
            let (from, to) = (start.tensor(step)?, end.tensor(step)?);
            let gradient = step.emit.slice(&grad, &from, &to, axis)?;
            step.give(slot, gradient);
        }
        start = end;
    }
    Ok(())
}

/// A place along the axis: a number, and what is known at run time only.
#[derive(Clone, Default)]
struct Bound {
    known: i64,
    open: Option<String>,
}

impl Bound {
    fn moved(&self, step: &mut Step<'_, '_>, part: &str, axis: usize) -> Result<Self> {
        if let Some(Dim::Known(extent)) = step.emit.shapes.dim(part, axis as i64) {
            return Ok(Self { known: self.known + extent, open: self.open.clone() });
        }
        let extent = step.emit.extent(part, axis)?;
        let open = match &self.open {
            Some(open) => step.emit.op("Add", &[open, &extent])?,
            None => extent,
        };
        Ok(Self { known: self.known, open: Some(open) })
    }

    fn tensor(&self, step: &mut Step<'_, '_>) -> Result<String> {
        let known = step.emit.ints(&[self.known])?;
        match &self.open {
            Some(open) if self.known == 0 => Ok(open.clone()),
            Some(open) => step.emit.op("Add", &[open, &known]),
            None => Ok(known),
        }
    }
}
