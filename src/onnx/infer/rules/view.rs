//! Operators that look at a tensor another way: shape queries, reshapes, transposes, repeats.

use crate::onnx::infer::Dim;
use crate::onnx::infer::site::{Fact, MOST_ELEMENTS, Site, broadcast, place};
use crate::onnx::{DataType, NodeExt};

pub(super) fn shape(site: &Site<'_>) -> Vec<Fact> {
    let Some(shape) = site.shape(0) else { return vec![Fact::new(Some(DataType::Int64), Some(vec![Dim::Unknown]))] };
    let rank = shape.len() as i64;
    let bound = |value: i64| (if value < 0 { value.saturating_add(rank) } else { value }).clamp(0, rank) as usize;
    let (start, end) = (bound(site.int_attr("start", 0)), bound(site.int_attr("end", rank)));
    vec![Fact::ints(shape.get(start..end.max(start)).unwrap_or_default().to_vec())]
}

pub(super) fn size(site: &Site<'_>) -> Vec<Fact> {
    vec![Fact::int(site.shape(0).map_or(Dim::Unknown, Dim::product))]
}

pub(super) fn reshape(site: &Site<'_>) -> Vec<Fact> {
    let wanted = match site.node.attr_ints("shape") {
        Some(shape) => Some(shape.iter().map(|&dim| Dim::Known(dim)).collect()),
        None => site.value(1).map(<[Dim]>::to_vec),
    };
    let Some(wanted) = wanted else {
        let rank = site.dim(1, 0).known().and_then(|rank| usize::try_from(rank).ok());
        let shape = rank.filter(|&rank| rank <= MOST_ELEMENTS).map(|rank| vec![Dim::Unknown; rank]);
        return site.like(0, shape);
    };
    let shape = reshaped(site.shape(0), &wanted, site.int_attr("allowzero", 0) != 0);
    let value = site.value(0).map(<[Dim]>::to_vec);
    let mut fact = Fact::new(site.elem(0), Some(shape)).with_value(value);
    fact.floats = site.fact(0).and_then(|fact| fact.floats.clone());
    vec![fact]
}

fn reshaped(from: Option<&[Dim]>, wanted: &[Dim], zero_is_zero: bool) -> Vec<Dim> {
    let mut shape: Vec<Dim> = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (axis, dim) in wanted.iter().enumerate() {
        shape.push(match dim {
            Dim::Known(0) if !zero_is_zero => from.and_then(|from| from.get(axis)).cloned().unwrap_or(Dim::Unknown),
            Dim::Known(-1) => {
                open = Some(axis);
                Dim::Known(1)
            }
            Dim::Symbolic(expr) if !expr.is_never_negative() => Dim::Unknown,
            dim => dim.clone(),
        });
    }
    let unknown = shape.iter().filter(|dim| **dim == Dim::Unknown).count();
    let open = open.filter(|_| unknown == 0).or_else(|| {
        let sole = shape.iter().position(|dim| *dim == Dim::Unknown).filter(|_| unknown == 1 && open.is_none())?;
        shape[sole] = Dim::Known(1);
        Some(sole)
    });
    match open {
        Some(axis) => shape[axis] = from.map_or(Dim::Unknown, |from| ratio(from, &shape)),
        None => {
            for (dim, wanted) in shape.iter_mut().zip(wanted) {
                if *wanted == Dim::Known(-1) {
                    *dim = Dim::Unknown;
                }
            }
        }
    }
    shape
}

/// The product of `from` over that of `to`, cancelling equal extents so that unknown ones may remain.
fn ratio(from: &[Dim], to: &[Dim]) -> Dim {
    let mut to: Vec<&Dim> = to.iter().collect();
    let mut left = Vec::new();
    for dim in from {
        match to.iter().position(|other| dim.equals(other)) {
            Some(at) => drop(to.swap_remove(at)),
            None => left.push(dim),
        }
    }
    Dim::product(left).over(&Dim::product(to))
}

pub(super) fn flatten(site: &Site<'_>) -> Vec<Fact> {
    let flat = |shape: &[Dim]| {
        let axis = site.int_attr("axis", 1);
        let axis = if axis == shape.len() as i64 { shape.len() } else { place(axis, shape.len())? };
        Some(vec![Dim::product(&shape[..axis]), Dim::product(&shape[axis..])])
    };
    site.like(0, site.shape(0).and_then(flat))
}

pub(super) fn transpose(site: &Site<'_>) -> Vec<Fact> {
    let permuted = |shape: &[Dim]| -> Option<Vec<Dim>> {
        match site.node.attr_ints("perm") {
            Some(perm) => perm.iter().map(|&axis| shape.get(usize::try_from(axis).ok()?).cloned()).collect(),
            None => Some(shape.iter().rev().cloned().collect()),
        }
    };
    let shape = site.shape(0).and_then(permuted);
    let value = site.value(0).filter(|_| site.rank(0).is_some_and(|rank| rank <= 1)).map(<[Dim]>::to_vec);
    vec![Fact::new(site.elem(0), shape).with_value(value)]
}

pub(super) fn squeeze(site: &Site<'_>) -> Vec<Fact> {
    let squeezed = |shape: &[Dim]| -> Option<Vec<Dim>> {
        let gone: Vec<usize> = match site.ints("axes", 1)? {
            Some(axes) => axes.iter().map(|&axis| place(axis, shape.len())).collect::<Option<_>>()?,
            None if shape.iter().all(|dim| dim.known().is_some()) => {
                (0..shape.len()).filter(|&axis| shape[axis] == Dim::Known(1)).collect()
            }
            None => return None,
        };
        Some(shape.iter().enumerate().filter(|(axis, _)| !gone.contains(axis)).map(|(_, dim)| dim.clone()).collect())
    };
    moved(site, site.shape(0).and_then(squeezed))
}

pub(super) fn unsqueeze(site: &Site<'_>) -> Vec<Fact> {
    let unsqueezed = |shape: &[Dim]| -> Option<Vec<Dim>> {
        let axes = site.ints("axes", 1)??;
        let rank = shape.len() + axes.len();
        let new: Vec<usize> = axes.iter().map(|&axis| place(axis, rank)).collect::<Option<_>>()?;
        let mut old = shape.iter();
        let axis = |axis: usize| if new.contains(&axis) { Some(Dim::Known(1)) } else { old.next().cloned() };
        (0..rank).map(axis).collect()
    };
    moved(site, site.shape(0).and_then(unsqueezed))
}

/// The first input with another shape and the same elements.
fn moved(site: &Site<'_>, shape: Option<Vec<Dim>>) -> Vec<Fact> {
    let mut fact = Fact::new(site.elem(0), shape).with_value(site.value(0).map(<[Dim]>::to_vec));
    fact.floats = site.fact(0).and_then(|fact| fact.floats.clone());
    vec![fact]
}

pub(super) fn expand(site: &Site<'_>) -> Vec<Fact> {
    let Some(target) = site.value(1) else {
        let rank = site.dim(1, 0).known().and_then(|rank| usize::try_from(rank).ok()).filter(|&rank| rank <= 16);
        let own = site.rank(0).unwrap_or(0);
        return site.like(0, rank.map(|rank| vec![Dim::Unknown; rank.max(own)]));
    };
    let Some(own) = site.shape(0) else { return site.like(0, None) };
    let shape = broadcast(&[own, target]);
    let elements = Dim::product(&shape).known().and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= MOST_ELEMENTS);
    let value = match (site.value(0), elements) {
        (Some([single]), Some(elements)) => Some(vec![single.clone(); elements]),
        (Some(value), Some(elements)) if value.len() == elements => Some(value.to_vec()),
        _ => None,
    };
    vec![Fact::new(site.elem(0), Some(shape)).with_value(value)]
}

pub(super) fn tile(site: &Site<'_>) -> Vec<Fact> {
    let repeated = |shape: &[Dim]| match site.value(1) {
        Some(repeats) if repeats.len() == shape.len() => shape.iter().zip(repeats).map(|(a, b)| a.times(b)).collect(),
        _ => vec![Dim::Unknown; shape.len()],
    };
    let shape = site.shape(0).map(repeated);
    let elements = shape.as_ref().and_then(|shape| Dim::product(shape).known()).and_then(|n| usize::try_from(n).ok());
    let value = match (site.value(0), elements, site.rank(0)) {
        (Some(value), Some(elements), Some(1)) if elements <= MOST_ELEMENTS => {
            Some(value.iter().cycle().take(elements).cloned().collect())
        }
        _ => None,
    };
    vec![Fact::new(site.elem(0), shape).with_value(value)]
}

pub(super) fn pad(site: &Site<'_>) -> Vec<Fact> {
    let padded = |shape: &[Dim]| -> Option<Vec<Dim>> {
        let attribute = site.node.attr_ints("pads").or_else(|| site.node.attr_ints("paddings"));
        let pads: Vec<Dim> = match attribute {
            Some(pads) => pads.iter().map(|&pad| Dim::Known(pad)).collect(),
            None => site.value(1)?.to_vec(),
        };
        let axes: Vec<usize> = match site.has(3) {
            true => site.known(3)?.iter().map(|&axis| place(axis, shape.len())).collect::<Option<_>>()?,
            false => (0..shape.len()).collect(),
        };
        let mut out = shape.to_vec();
        for (position, axis) in axes.iter().enumerate() {
            let both = pads.get(position)?.plus(pads.get(axes.len() + position)?);
            out[*axis] = out[*axis].plus(&both);
        }
        Some(out)
    };
    let unknown = || site.rank(0).map(|rank| vec![Dim::Unknown; rank]);
    site.like(0, site.shape(0).and_then(padded).or_else(unknown))
}

pub(super) fn depth_to_space(site: &Site<'_>) -> Vec<Fact> {
    let block = Dim::Known(site.int_attr("blocksize", 1));
    let shape = (site.rank(0) == Some(4)).then(|| {
        let (height, width) = (site.dim(0, 2).times(&block), site.dim(0, 3).times(&block));
        vec![site.dim(0, 0), site.dim(0, 1).over(&block.times(&block)), height, width]
    });
    site.like(0, shape)
}

pub(super) fn space_to_depth(site: &Site<'_>) -> Vec<Fact> {
    let block = Dim::Known(site.int_attr("blocksize", 1));
    let shape = (site.rank(0) == Some(4)).then(|| {
        let (height, width) = (site.dim(0, 2).over(&block), site.dim(0, 3).over(&block));
        vec![site.dim(0, 0), site.dim(0, 1).times(&block.times(&block)), height, width]
    });
    site.like(0, shape)
}
