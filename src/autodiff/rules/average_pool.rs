use super::conv::window;
use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::NodeExt;
use crate::onnx::infer::Dim;

/// Each input of a window gets its share: a transposed convolution per channel.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let (grad, x) = (step.grad()?, step.input(0)?);
    let rank = step.rank(x)?;
    let mut window = window(step, rank)?;
    let padded = window.pads.iter().any(|&pad| pad != 0);
    if (padded && step.node.attr_int("count_include_pad").unwrap_or(0) == 0)
        || step.node.attr_int("ceil_mode") == Some(1)
    {
        return Err(step.unsupported("windows of unequal counts (pads that are not counted, or ceil_mode)"));
    }
    let kernel = step.node.attr_ints("kernel_shape").map(<[i64]>::to_vec).unwrap_or_default();
    let channels = step.emit.shapes.dim(x, 1).and_then(Dim::known);
    let channels = channels.ok_or_else(|| step.unsupported("a number of channels that is not known"))?;
    let size: i64 = kernel.iter().product();
    let dims: Vec<i64> = [channels, 1].into_iter().chain(kernel.iter().copied()).collect();
    let weights = step.emit.filled(1.0 / size as f64, step.elem(x)?, &dims)?;
    window.group = channels;
    let extra: Vec<i64> = window.strides.iter().map(|stride| stride - 1).collect();
    let mut gradient =
        step.emit.node(window.node("ConvTranspose").inputs([grad.as_str(), &weights]).attr("output_padding", extra))?;
    for axis in 2..rank {
        let start = step.emit.ints(&[0])?;
        let end = step.emit.extent(x, axis)?;
        gradient = step.emit.slice(&gradient, &start, &end, axis)?;
    }
    step.give(0, gradient);
    Ok(())
}
