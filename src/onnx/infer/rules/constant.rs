//! Operators that make tensors from nothing but sizes.

use crate::onnx::infer::Dim;
use crate::onnx::infer::site::{Fact, MOST_ELEMENTS, Site};
use crate::onnx::{DataType, NodeExt};

pub(super) fn constant(site: &Site<'_>) -> Vec<Fact> {
    let node = site.node;
    if let Some(tensor) = node.attr("value").and_then(|attribute| attribute.t.as_ref()) {
        return vec![Fact::of_tensor(tensor)];
    }
    if let Some(value) = node.attr_int("value_int") {
        return vec![Fact::int(Dim::Known(value))];
    }
    if let Some(values) = node.attr_ints("value_ints") {
        return vec![Fact::ints(values.iter().map(|&value| Dim::Known(value)).collect())];
    }
    if let Some(value) = node.attr_float("value_float") {
        let mut fact = Fact::new(Some(DataType::Float), Some(Vec::new()));
        fact.floats = Some(vec![value]);
        return vec![fact];
    }
    if let Some(values) = node.attr("value_floats") {
        let mut fact = Fact::new(Some(DataType::Float), Some(vec![Dim::Known(values.floats.len() as i64)]));
        fact.floats = (values.floats.len() <= MOST_ELEMENTS).then(|| values.floats.clone());
        return vec![fact];
    }
    Vec::new()
}

pub(super) fn constant_of_shape(site: &Site<'_>) -> Vec<Fact> {
    let fill = site.node.attr("value").and_then(|attribute| attribute.t.as_ref()).map(Fact::of_tensor);
    let shape = match site.value(0) {
        Some(dims) => Some(dims.to_vec()),
        None => unknown_of_rank(site),
    };
    let elem = fill.as_ref().map_or(Some(DataType::Float), |fill| fill.elem);
    let element = match fill {
        Some(fill) => fill.value.and_then(|value| value.into_iter().next()),
        None => Some(Dim::Known(0)),
    };
    let elements = shape.as_ref().and_then(|shape| Dim::product(shape).known());
    let few = elements.and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= MOST_ELEMENTS);
    let value = element.zip(few).map(|(element, elements)| vec![element; elements]);
    vec![Fact::new(elem, shape).with_value(value)]
}

/// As many unknown extents as the shape tensor in slot 0 has elements.
fn unknown_of_rank(site: &Site<'_>) -> Option<Vec<Dim>> {
    let rank = usize::try_from(site.dim(0, 0).known()?).ok()?;
    (rank <= MOST_ELEMENTS).then(|| vec![Dim::Unknown; rank])
}

pub(super) fn range(site: &Site<'_>) -> Vec<Fact> {
    let first = |slot: usize| site.value(slot).and_then(|value| value.first()).cloned().unwrap_or(Dim::Unknown);
    let (start, limit, delta) = (first(0), first(1), first(2));
    let length = match delta {
        Dim::Known(step) if step > 0 => match limit.minus(&start).over_up(step) {
            Dim::Known(length) => Dim::Known(length.max(0)),
            length => length,
        },
        _ => Dim::Unknown,
    };
    let value = match (start.known(), delta.known(), length.known()) {
        (Some(start), Some(delta), Some(length)) if length <= MOST_ELEMENTS as i64 => {
            Some((0..length).map(|i| Dim::Known(start.saturating_add(i.saturating_mul(delta)))).collect())
        }
        _ => None,
    };
    vec![Fact::new(site.elem(0), Some(vec![length])).with_value(value)]
}

pub(super) fn random(site: &Site<'_>) -> Vec<Fact> {
    let elem = DataType::try_from(site.int_attr("dtype", DataType::Float as i64) as i32).ok();
    let shape = site.node.attr_ints("shape").map(|dims| dims.iter().map(|&dim| Dim::Known(dim)).collect());
    vec![Fact::new(elem, shape)]
}
