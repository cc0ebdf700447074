use super::conv::window;
use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::NodeExt;

/// The convolution with the same weights; output padding falls outside of its windows.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    step.constants(1..3)?;
    let (grad, x, weights) = (step.grad()?, step.input(0)?, step.input(1)?);
    if step.node.attr_ints("output_shape").is_some() {
        return Err(step.unsupported("output_shape; state the pads"));
    }
    let window = window(step, step.rank(x)?)?;
    let gradient = step.emit.node(window.node("Conv").inputs([grad.as_str(), weights]))?;
    let gradient = cut_to(step, gradient, x)?;
    step.give(0, gradient);
    Ok(())
}

/// Windows that only cover output padding make columns that the input never had.
fn cut_to(step: &mut Step<'_, '_>, mut gradient: String, x: &str) -> Result<String> {
    let padded = step.node.attr_ints("output_padding").is_some_and(|extra| extra.iter().any(|&extra| extra != 0));
    if !padded || step.emit.shapes.same_shape(&gradient, x) {
        return Ok(gradient);
    }
    for axis in 2..step.rank(x)? {
        let start = step.emit.ints(&[0])?;
        let end = step.emit.extent(x, axis)?;
        gradient = step.emit.slice(&gradient, &start, &end, axis)?;
    }
    Ok(gradient)
}
