use super::reduce_sum::with_axes;
use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// Every element that went into a mean gets its share of the mean's gradient.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    let shared = shared(step, &grad)?;
    let (shared, _) = with_axes(step, &shared)?;
    let gradient = step.emit.expand_like(&shared, step.input(0)?)?;
    step.give(0, gradient);
    Ok(())
}

/// The mean over all spatial axes.
pub(super) fn global_average_pool(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    let shared = shared(step, &grad)?;
    let gradient = step.emit.expand_like(&shared, step.input(0)?)?;
    step.give(0, gradient);
    Ok(())
}

/// `grad` over the number of elements that went into each mean.
fn shared(step: &mut Step<'_, '_>, grad: &str) -> Result<String> {
    let (x, y) = (step.input(0)?, step.output()?);
    let elements = |tensor: &str| -> Option<i64> { Some(step.emit.shapes.known_shape(tensor)?.iter().product()) };
    if let (Some(all), Some(means)) = (elements(x), elements(y)) {
        return step.emit.scale(grad, means as f64 / all as f64);
    }
    let elem = step.elem(grad)?;
    let (all, means) = (step.emit.op("Size", &[x])?, step.emit.op("Size", &[y])?);
    let count = step.emit.op("Div", &[&all, &means])?;
    let count = step.emit.cast(&count, elem)?;
    step.emit.op("Div", &[grad, &count])
}
