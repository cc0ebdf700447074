//! Convolutions and pooling.

use crate::onnx::infer::Dim;
use crate::onnx::infer::site::{Fact, Site};
use crate::onnx::{DataType, NodeExt};

/// How a window moves along one axis.
pub(super) struct Window {
    pub kernel: Dim,
    pub stride: i64,
    pub dilation: i64,
    pub pads: i64,
}

/// The windows of `node` over `axes` spatial axes; `kernel` gives what no attribute states.
pub(super) fn windows(site: &Site<'_>, axes: usize, kernel: impl Fn(usize) -> Dim) -> Vec<Window> {
    let list = |name: &str, axis: usize, default: i64| {
        site.node.attr_ints(name).and_then(|list| list.get(axis)).copied().unwrap_or(default)
    };
    let window = |axis: usize| Window {
        kernel: match site.node.attr_ints("kernel_shape").and_then(|shape| shape.get(axis)) {
            Some(&size) => Dim::Known(size),
            None => kernel(axis),
        },
        stride: list("strides", axis, 1).max(1),
        dilation: list("dilations", axis, 1),
        pads: list("pads", axis, 0).saturating_add(list("pads", axes + axis, 0)),
    };
    (0..axes).map(window).collect()
}

/// The extent of what a window makes of `extent`.
pub(super) fn moved(site: &Site<'_>, extent: &Dim, window: &Window) -> Dim {
    let reach = window.kernel.minus(&Dim::Known(1)).times(&Dim::Known(window.dilation));
    let span = match site.node.attr_str("auto_pad") {
        Some("SAME_UPPER" | "SAME_LOWER") => return extent.over_up(window.stride),
        Some("VALID") => extent.minus(&reach).minus(&Dim::Known(1)),
        _ => extent.plus(&Dim::Known(window.pads)).minus(&reach).minus(&Dim::Known(1)),
    };
    let steps = match site.int_attr("ceil_mode", 0) {
        0 => span.over(&Dim::Known(window.stride)),
        _ => span.over_up(window.stride),
    };
    steps.plus(&Dim::Known(1))
}

pub(super) fn conv(site: &Site<'_>) -> Vec<Fact> {
    site.like(0, conv_shape(site, 0, 1))
}

/// The shape of a convolution of input `data` with the weights in `weights`.
pub(super) fn conv_shape(site: &Site<'_>, data: usize, weights: usize) -> Option<Vec<Dim>> {
    let rank = site.rank(data).or_else(|| site.rank(weights))?;
    let axes = rank.checked_sub(2)?;
    let mut shape = vec![site.dim(data, 0), site.dim(weights, 0)];
    for (axis, window) in windows(site, axes, |axis| site.dim(weights, axis as i64 + 2)).iter().enumerate() {
        shape.push(moved(site, &site.dim(data, axis as i64 + 2), window));
    }
    Some(shape)
}

pub(super) fn conv_transpose(site: &Site<'_>) -> Vec<Fact> {
    let Some(axes) = site.rank(0).or_else(|| site.rank(1)).and_then(|rank| rank.checked_sub(2)) else {
        return site.like(0, None);
    };
    let channels = site.dim(1, 1).times(&Dim::Known(site.int_attr("group", 1)));
    let mut shape = vec![site.dim(0, 0), channels];
    let fixed = site.node.attr_ints("output_shape");
    let extra = site.node.attr_ints("output_padding");
    let same = matches!(site.node.attr_str("auto_pad"), Some("SAME_UPPER" | "SAME_LOWER"));
    for (axis, window) in windows(site, axes, |axis| site.dim(1, axis as i64 + 2)).iter().enumerate() {
        let extent = site.dim(0, axis as i64 + 2);
        let stated = fixed.and_then(|fixed| fixed.get(fixed.len().checked_sub(axes)? + axis));
        shape.push(match stated {
            Some(&stated) => Dim::Known(stated),
            None if same => extent.times(&Dim::Known(window.stride)),
            None => {
                let extra = extra.and_then(|extra| extra.get(axis)).copied().unwrap_or(0);
                let reach = window.kernel.minus(&Dim::Known(1)).times(&Dim::Known(window.dilation));
                let whole = extent.minus(&Dim::Known(1)).times(&Dim::Known(window.stride)).plus(&reach);
                whole.plus(&Dim::Known(extra + 1)).minus(&Dim::Known(window.pads))
            }
        });
    }
    site.like(0, Some(shape))
}

pub(super) fn pool(site: &Site<'_>) -> Vec<Fact> {
    let shape = || {
        let axes = site.rank(0)?.checked_sub(2)?;
        let mut shape = vec![site.dim(0, 0), site.dim(0, 1)];
        for (axis, window) in windows(site, axes, |_| Dim::Unknown).iter().enumerate() {
            shape.push(moved(site, &site.dim(0, axis as i64 + 2), window));
        }
        Some(shape)
    };
    vec![Fact::new(site.elem(0), shape()), Fact::new(Some(DataType::Int64), shape())]
}

pub(super) fn global_pool(site: &Site<'_>) -> Vec<Fact> {
    let pooled = |shape: &[Dim]| {
        shape.iter().enumerate().map(|(axis, dim)| if axis < 2 { dim.clone() } else { Dim::Known(1) }).collect()
    };
    site.like(0, site.shape(0).map(pooled))
}
