//! Reductions over axes, and norms that also hand out their statistics.

use crate::onnx::DataType;
use crate::onnx::infer::Dim;
use crate::onnx::infer::site::{Fact, Site, place};

pub(super) fn reduce(site: &Site<'_>) -> Vec<Fact> {
    let Some(axes) = site.ints("axes", 1) else {
        let kept = site.int_attr("keepdims", 1) != 0;
        return site.like(0, site.rank(0).filter(|_| kept).map(|rank| vec![Dim::Unknown; rank]));
    };
    let axes = axes.filter(|axes| !axes.is_empty());
    if axes.is_none() && site.int_attr("noop_with_empty_axes", 0) != 0 {
        return site.fact(0).cloned().into_iter().collect();
    }
    let shape = site.shape(0).and_then(|shape| without(shape, axes.as_deref(), site.int_attr("keepdims", 1) != 0));
    let value = whole(site).map(|value| vec![value]);
    vec![Fact::new(site.elem(0), shape).with_value(value)]
}

/// The single element that a list of followed elements reduces to.
fn whole(site: &Site<'_>) -> Option<Dim> {
    let value = site.value(0).filter(|_| site.rank(0) == Some(1))?;
    match site.node.op_type() {
        "ReduceProd" => Some(Dim::product(value)),
        "ReduceSum" => Some(value.iter().fold(Dim::Known(0), |sum, dim| sum.plus(dim))),
        "ReduceMax" => site.known(0)?.into_iter().max().map(Dim::Known),
        "ReduceMin" => site.known(0)?.into_iter().min().map(Dim::Known),
        _ => None,
    }
}

fn without(shape: &[Dim], axes: Option<&[i64]>, kept: bool) -> Option<Vec<Dim>> {
    let gone: Vec<usize> = match axes {
        Some(axes) => axes.iter().map(|&axis| place(axis, shape.len())).collect::<Option<_>>()?,
        None => (0..shape.len()).collect(),
    };
    let axis = |(axis, dim): (usize, &Dim)| match gone.contains(&axis) {
        true => kept.then_some(Dim::Known(1)),
        false => Some(dim.clone()),
    };
    Some(shape.iter().enumerate().filter_map(axis).collect())
}

pub(super) fn arg(site: &Site<'_>) -> Vec<Fact> {
    let axis = [site.int_attr("axis", 0)];
    let shape = site.shape(0).and_then(|shape| without(shape, Some(&axis), site.int_attr("keepdims", 1) != 0));
    vec![Fact::new(Some(DataType::Int64), shape)]
}

pub(super) fn layer_normalization(site: &Site<'_>) -> Vec<Fact> {
    let statistics = |shape: &[Dim]| {
        let axis = place(site.int_attr("axis", -1), shape.len())?;
        let kept = |(i, dim): (usize, &Dim)| if i < axis { dim.clone() } else { Dim::Known(1) };
        Some(shape.iter().enumerate().map(kept).collect::<Vec<_>>())
    };
    let shape = site.shape(0);
    let statistics = shape.and_then(statistics);
    vec![
        Fact::new(site.elem(0), shape.map(<[Dim]>::to_vec)),
        Fact::new(Some(DataType::Float), statistics.clone()),
        Fact::new(Some(DataType::Float), statistics),
    ]
}
