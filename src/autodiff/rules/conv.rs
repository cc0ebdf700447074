use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::proto::NodeProto;
use crate::onnx::{NodeBuilder, NodeExt};

/// How a convolution's window moves, per spatial axis.
pub(super) struct Window {
    pub strides: Vec<i64>,
    pub dilations: Vec<i64>,
    /// Those before all axes, then those after.
    pub pads: Vec<i64>,
    pub group: i64,
}

/// The window of `step`'s node over the spatial axes of a tensor of `rank`.
pub(super) fn window(step: &Step<'_, '_>, rank: usize) -> Result<Window> {
    let axes = rank.checked_sub(2).ok_or_else(|| step.unsupported("a tensor without spatial axes"))?;
    if !matches!(step.node.attr_str("auto_pad"), None | Some("NOTSET" | "VALID")) {
        return Err(step.unsupported("auto_pad; state the pads"));
    }
    let list = |name: &str, default: Vec<i64>| match step.node.attr_ints(name) {
        Some(list) if list.len() == default.len() => Ok(list.to_vec()),
        Some(_) => Err(step.unsupported(&format!("{name} do not fit the rank"))),
        None => Ok(default),
    };
    Ok(Window {
        strides: list("strides", vec![1; axes])?,
        dilations: list("dilations", vec![1; axes])?,
        pads: list("pads", vec![0; 2 * axes])?,
        group: step.node.attr_int("group").unwrap_or(1),
    })
}

impl Window {
    /// A node that moves the same window.
    pub fn node(&self, op_type: &str) -> NodeBuilder {
        let node = NodeBuilder::new(op_type).attr("strides", self.strides.clone());
        let node = node.attr("dilations", self.dilations.clone()).attr("pads", self.pads.clone());
        node.attr("group", self.group)
    }
}

/// The transposed convolution with the same weights. What a stride leaves over at the far
/// edge is padded, and cut to size where it is not known beforehand.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    step.constants(1..3)?;
    let (grad, x, weights) = (step.grad()?, step.input(0)?, step.input(1)?);
    let rank = step.rank(x)?;
    let window = window(step, rank)?;
    let (extra, exact) = left_over(step, step.node, x, weights, &window);
    let node = window.node("ConvTranspose").inputs([grad.as_str(), weights]);
    let node = if extra.iter().any(|&extra| extra != 0) { node.attr("output_padding", extra) } else { node };
    let mut gradient = step.emit.node(node)?;
    for axis in (0..rank - 2).filter(|&axis| !exact[axis]) {
        let start = step.emit.ints(&[0])?;
        let end = step.emit.extent(x, axis + 2)?;
        gradient = step.emit.slice(&gradient, &start, &end, axis + 2)?;
    }
    let (elem, shape) = (step.elem(x)?, step.emit.shapes.shape(x).map(<[_]>::to_vec));
    if let Some(shape) = shape {
        step.emit.shapes.state(&gradient, elem, shape);
    }
    step.give(0, gradient);
    Ok(())
}

/// Per axis, how far the window never reaches (at most, where the extent is not known), and whether that is exact.
fn left_over(step: &Step<'_, '_>, node: &NodeProto, x: &str, weights: &str, window: &Window) -> (Vec<i64>, Vec<bool>) {
    let axes = window.strides.len();
    let one = |axis: usize| -> Option<i64> {
        let stride = window.strides[axis];
        if stride == 1 {
            return Some(0);
        }
        let extent = step.emit.shapes.dim(x, axis as i64 + 2)?.known()?;
        let stated = node.attr_ints("kernel_shape").and_then(|shape| shape.get(axis)).copied();
        let kernel = stated.or_else(|| step.emit.shapes.dim(weights, axis as i64 + 2)?.known())?;
        let reach = window.dilations[axis] * (kernel - 1) + 1;
        Some((extent + window.pads[axis] + window.pads[axes + axis] - reach).rem_euclid(stride))
    };
    let known: Vec<Option<i64>> = (0..axes).map(one).collect();
    let extra = known.iter().zip(&window.strides).map(|(known, stride)| known.unwrap_or(stride - 1)).collect();
    (extra, known.iter().map(Option::is_some).collect())
}
