//! Resampling.

use crate::onnx::NodeExt;
use crate::onnx::infer::Dim;
use crate::onnx::infer::site::{Fact, Site, place};

/// `Resize` of all opsets and the old `Upsample`.
pub(super) fn resize(site: &Site<'_>) -> Vec<Fact> {
    let Some(shape) = site.shape(0) else { return site.like(0, None) };
    let unknown = vec![Dim::Unknown; shape.len()];
    let axes: Option<Vec<usize>> = match site.node.attr_ints("axes") {
        Some(axes) => axes.iter().map(|&axis| place(axis, shape.len())).collect(),
        None => Some((0..shape.len()).collect()),
    };
    let Some(axes) = axes else { return site.like(0, Some(unknown)) };
    let stretched = site.node.attr_str("keep_aspect_ratio_policy").is_none_or(|policy| policy == "stretch");
    let resized = match (sizes(site), scales(site, axes.len())) {
        (Some(sizes), _) if sizes.len() == axes.len() && stretched => Some(sizes),
        (_, Some(scales)) if scales.len() == axes.len() => {
            Some(axes.iter().zip(scales).map(|(&axis, scale)| scaled(&shape[axis], scale)).collect())
        }
        _ => None,
    };
    let Some(resized) = resized else { return site.like(0, Some(unknown)) };
    let mut out = shape.to_vec();
    for (axis, extent) in axes.into_iter().zip(resized) {
        out[axis] = extent;
    }
    site.like(0, Some(out))
}

fn sizes(site: &Site<'_>) -> Option<Vec<Dim>> {
    site.value(3).filter(|sizes| !sizes.is_empty()).map(<[Dim]>::to_vec)
}

fn scales(site: &Site<'_>, axes: usize) -> Option<Vec<f32>> {
    let attribute = || site.node.attr("scales").map(|attribute| attribute.floats.clone());
    let of_slot = |slot: usize| -> Option<Vec<f32>> {
        let fact = site.fact(slot)?;
        let whole = || fact.value.as_ref()?.iter().map(|dim| dim.known().map(|value| value as f32)).collect();
        fact.floats.clone().or_else(whole)
    };
    let slot = if site.node.op_type() == "Upsample" || site.opset < 11 { 1 } else { 2 };
    attribute().or_else(|| of_slot(slot)).filter(|scales| scales.len() == axes)
}

fn scaled(extent: &Dim, scale: f32) -> Dim {
    let inverse = 1.0 / scale;
    if scale.fract() == 0.0 && scale >= 1.0 {
        return extent.times(&Dim::Known(scale as i64));
    }
    if inverse.fract() == 0.0 && inverse >= 1.0 {
        return extent.over(&Dim::Known(inverse as i64));
    }
    extent.known().map_or(Dim::Unknown, |extent| Dim::Known((extent as f64 * f64::from(scale)).floor() as i64))
}
