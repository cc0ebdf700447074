//! Operators that pick, join and cut.

use crate::onnx::infer::Dim;
use crate::onnx::infer::site::{Fact, MOST_ELEMENTS, Site, place};
use crate::onnx::{DataType, NodeExt};

pub(super) fn concat(site: &Site<'_>) -> Vec<Fact> {
    let parts = site.node.input.len();
    let elem = (0..parts).find_map(|slot| site.elem(slot));
    let Some(rank) = (0..parts).find_map(|slot| site.rank(slot)) else { return vec![Fact::new(elem, None)] };
    let Some(axis) = site.node.attr_int("axis").and_then(|axis| place(axis, rank)) else {
        return vec![Fact::new(elem, None)];
    };
    let mut shape: Option<Vec<Dim>> = None;
    for slot in 0..parts {
        let own = match site.shape(slot) {
            Some(own) if own.len() == rank => own.to_vec(),
            _ => vec![Dim::Unknown; rank],
        };
        shape = Some(match shape {
            None => own,
            Some(joined) => (0..rank)
                .map(|i| if i == axis { joined[i].plus(&own[i]) } else { joined[i].simpler(&own[i]) })
                .collect(),
        });
    }
    let value = || -> Option<Vec<Dim>> {
        let values: Option<Vec<&[Dim]>> = (0..parts).map(|slot| site.value(slot)).collect();
        values.map(|values| values.concat())
    };
    let mut fact = Fact::new(elem, shape);
    if axis == 0 {
        fact = fact.with_value(partly(site, rank).or_else(value));
        let floats: Option<Vec<&Vec<f32>>> =
            (0..parts).map(|slot| site.fact(slot).and_then(|fact| fact.floats.as_ref())).collect();
        fact.floats = floats.map(|floats| floats.into_iter().flatten().copied().collect());
    }
    vec![fact]
}

/// A list of integers put together from parts of known length, some of unknown contents.
fn partly(site: &Site<'_>, rank: usize) -> Option<Vec<Dim>> {
    if rank != 1 || !matches!(site.elem(0), Some(DataType::Int64 | DataType::Int32)) {
        return None;
    }
    let mut all = Vec::new();
    for slot in 0..site.node.input.len() {
        match site.value(slot) {
            Some(value) => all.extend_from_slice(value),
            None => {
                let length = usize::try_from(site.dim(slot, 0).known()?).ok()?;
                if all.len() + length > MOST_ELEMENTS {
                    return None;
                }
                all.extend(std::iter::repeat_n(Dim::Unknown, length));
            }
        }
    }
    Some(all)
}

pub(super) fn split(site: &Site<'_>) -> Vec<Fact> {
    let outputs = site.node.output.len();
    let unknown = || vec![Fact::new(site.elem(0), site.rank(0).map(|rank| vec![Dim::Unknown; rank])); outputs];
    let Some(shape) = site.shape(0) else { return unknown() };
    let Some(axis) = place(site.int_attr("axis", 0), shape.len()) else { return unknown() };
    let parts: Vec<Dim> = match site.ints("split", 1) {
        Some(Some(parts)) => parts.into_iter().map(Dim::Known).collect(),
        Some(None) => even_parts(&shape[axis], outputs as i64),
        None => vec![Dim::Unknown; outputs],
    };
    let mut start = Some(0usize);
    let part = |length: Dim| {
        let mut own = shape.to_vec();
        let end =
            start.zip(length.known()).and_then(|(start, length)| start.checked_add(usize::try_from(length).ok()?));
        let value = match (site.value(0), start, end) {
            (Some(value), Some(start), Some(end)) if shape.len() == 1 => value.get(start..end).map(<[Dim]>::to_vec),
            _ => None,
        };
        start = end;
        own[axis] = length;
        Fact::new(site.elem(0), Some(own)).with_value(value)
    };
    parts.into_iter().map(part).collect()
}

fn even_parts(whole: &Dim, outputs: i64) -> Vec<Dim> {
    match whole {
        Dim::Known(whole) => {
            let part = whole.saturating_add(outputs - 1).div_euclid(outputs.max(1));
            (0..outputs)
                .map(|i| Dim::Known(whole.saturating_sub(i.saturating_mul(part)).clamp(0, part.max(0))))
                .collect()
        }
        whole => {
            let part = whole.over_exactly(&Dim::Known(outputs)).unwrap_or(Dim::Unknown);
            vec![part; outputs.max(0) as usize]
        }
    }
}

pub(super) fn slice(site: &Site<'_>) -> Vec<Fact> {
    let Some(shape) = site.shape(0) else { return site.like(0, None) };
    let rank = shape.len();
    let unknown = || site.like(0, Some(vec![Dim::Unknown; rank]));
    let bounds = |name: &str, slot: usize| -> Option<Vec<Dim>> {
        match site.node.attr_ints(name) {
            Some(ints) => Some(ints.iter().map(|&int| Dim::Known(int)).collect()),
            None => site.value(slot).map(<[Dim]>::to_vec),
        }
    };
    let Some(axes) = site.ints("axes", 3) else { return unknown() };
    let count = bounds("starts", 1).map(|starts| starts.len()).or_else(|| axes.as_ref().map(Vec::len));
    let Some(count) = count.or_else(|| usize::try_from(site.dim(1, 0).known()?).ok()) else { return unknown() };
    let axes = axes.unwrap_or_else(|| (0..count as i64).collect());
    let starts = bounds("starts", 1).unwrap_or_else(|| vec![Dim::Unknown; count]);
    let ends = bounds("ends", 2).unwrap_or_else(|| vec![Dim::Unknown; count]);
    let steps = if site.has(4) { site.known(4) } else { Some(vec![1; count]) };
    let Some(steps) = steps else { return unknown() };
    let mut out = shape.to_vec();
    let mut value = site.value(0).filter(|_| rank == 1).map(<[Dim]>::to_vec);
    for (((axis, start), end), step) in axes.iter().zip(&starts).zip(&ends).zip(&steps) {
        let Some(axis) = place(*axis, rank) else { return unknown() };
        value = value.and_then(|value| sliced(&value, start.known()?, end.known()?, *step));
        out[axis] = sliced_extent(&out[axis], start, end, *step);
    }
    vec![Fact::new(site.elem(0), Some(out)).with_value(value)]
}

fn clamped(bound: i64, length: i64, step: i64) -> i64 {
    let bound = if bound < 0 { bound.saturating_add(length) } else { bound };
    if step > 0 { bound.clamp(0, length) } else { bound.clamp(-1, length - 1) }
}

fn sliced(value: &[Dim], start: i64, end: i64, step: i64) -> Option<Vec<Dim>> {
    let length = value.len() as i64;
    let start = if step < 0 && start >= length { length - 1 } else { clamped(start, length, step) };
    let end = clamped(end, length, step);
    let mut at = start;
    let mut out = Vec::new();
    while (step > 0 && at < end) || (step < 0 && at > end) {
        out.push(value.get(usize::try_from(at).ok()?)?.clone());
        at = at.saturating_add(step);
    }
    (step != 0).then_some(out)
}

fn sliced_extent(length: &Dim, start: &Dim, end: &Dim, step: i64) -> Dim {
    if let (Some(length), Some(start), Some(end)) = (length.known(), start.known(), end.known()) {
        let (start, end) = (clamped(start, length, step), clamped(end, length, step));
        return match step {
            0 => Dim::Unknown,
            step => Dim::Known(((end - start) as f64 / step as f64).ceil().max(0.0) as i64),
        };
    }
    if step < 1 {
        return Dim::Unknown;
    }
    let to_end = end.known().is_some_and(|end| end >= i64::from(i32::MAX)) || end.equals(length);
    let from_end = |bound: &Dim| match bound.known() {
        Some(bound) if bound < 0 => length.plus(&Dim::Known(bound)),
        _ => bound.clone(),
    };
    let end = if to_end { length.clone() } else { from_end(end) };
    let start = from_end(start);
    let within = |bound: &Dim| bound == length || *bound == Dim::Known(0) || length.minus(bound).is_never_negative();
    let symbolic_length = length.known().is_none();
    let plausible =
        |bound: &Dim| within(bound) || (symbolic_length && bound.known().is_none() && *bound != Dim::Unknown);
    if !plausible(&start) || !plausible(&end) {
        return Dim::Unknown;
    }
    end.minus(&start).over_up(step)
}

pub(super) fn gather(site: &Site<'_>) -> Vec<Fact> {
    let (Some(data), Some(indices)) = (site.shape(0), site.shape(1)) else { return site.like(0, None) };
    let Some(axis) = place(site.int_attr("axis", 0), data.len()) else { return site.like(0, None) };
    let shape = [&data[..axis], indices, &data[axis + 1..]].concat();
    let value = || -> Option<Vec<Dim>> {
        let value = site.value(0).filter(|_| data.len() == 1)?;
        let pick = |index: i64| value.get(place(index, value.len())?).cloned();
        site.known(1)?.into_iter().map(pick).collect()
    };
    vec![Fact::new(site.elem(0), Some(shape)).with_value(value())]
}

pub(super) fn gather_elements(site: &Site<'_>) -> Vec<Fact> {
    site.like(0, site.shape(1).map(<[Dim]>::to_vec))
}

pub(super) fn gather_nd(site: &Site<'_>) -> Vec<Fact> {
    let shape = || {
        let (data, indices) = (site.shape(0)?, site.shape(1)?);
        let batch = usize::try_from(site.int_attr("batch_dims", 0)).ok()?;
        let depth = usize::try_from(indices.last()?.known()?).ok()?;
        let rest = data.get(batch.checked_add(depth)?..)?;
        Some([&indices[..indices.len() - 1], rest].concat())
    };
    site.like(0, shape())
}

pub(super) fn one_hot(site: &Site<'_>) -> Vec<Fact> {
    let shape = || {
        let mut shape = site.shape(0)?.to_vec();
        let depth = site.value(1).and_then(|value| value.first()).cloned().unwrap_or(Dim::Unknown);
        let axis = place(site.int_attr("axis", -1), shape.len() + 1)?;
        shape.insert(axis, depth);
        Some(shape)
    };
    site.like(2, shape())
}

pub(super) fn non_zero(site: &Site<'_>) -> Vec<Fact> {
    let rank = site.rank(0).map_or(Dim::Unknown, |rank| Dim::Known(rank as i64));
    vec![Fact::new(Some(DataType::Int64), Some(vec![rank, Dim::Unknown]))]
}

pub(super) fn top_k(site: &Site<'_>) -> Vec<Fact> {
    let shape = || {
        let mut shape = site.shape(0)?.to_vec();
        let axis = place(site.int_attr("axis", -1), shape.len())?;
        shape[axis] = site.value(1).and_then(|value| value.first()).cloned().unwrap_or(Dim::Unknown);
        Some(shape)
    };
    vec![Fact::new(site.elem(0), shape()), Fact::new(Some(DataType::Int64), shape())]
}
