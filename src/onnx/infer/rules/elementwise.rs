//! Operators that work element by element, with broadcasting.

use crate::onnx::infer::Dim;
use crate::onnx::infer::site::{Fact, MOST_ELEMENTS, Site, broadcast};
use crate::onnx::{DataType, NodeExt};

/// The first output is like the first input.
pub(super) fn same(site: &Site<'_>) -> Vec<Fact> {
    site.like(0, site.shape(0).map(<[Dim]>::to_vec))
}

pub(super) fn identity(site: &Site<'_>) -> Vec<Fact> {
    site.fact(0).cloned().into_iter().collect()
}

pub(super) fn cast(site: &Site<'_>) -> Vec<Fact> {
    let to = site.node.attr_int("to").and_then(|to| DataType::try_from(to as i32).ok());
    let whole_from = site.elem(0);
    let mut fact = site.fact(0).cloned().unwrap_or_default();
    fact.elem = to;
    match to {
        Some(DataType::Bool) => {
            let truth = |dim: &Dim| dim.known().map(|value| Dim::Known((value != 0).into()));
            fact.value = fact.value.and_then(|value| value.iter().map(truth).collect());
        }
        Some(DataType::Int64 | DataType::Int32) if fact.value.is_none() => {
            let truncated = |floats: &Vec<f32>| floats.iter().map(|&x| Dim::Known(x as i64)).collect();
            fact.value = fact.floats.as_ref().filter(|_| is_float(whole_from)).map(truncated);
        }
        _ => {}
    }
    if !is_float(to) {
        fact.floats = None;
    }
    vec![fact]
}

pub(super) fn cast_like(site: &Site<'_>) -> Vec<Fact> {
    vec![Fact::new(site.elem(1), site.shape(0).map(<[Dim]>::to_vec))]
}

fn is_float(elem: Option<DataType>) -> bool {
    matches!(elem, Some(DataType::Float | DataType::Float16 | DataType::Double | DataType::Bfloat16))
}

fn broadcast_inputs(site: &Site<'_>) -> Option<Vec<Dim>> {
    let shapes: Option<Vec<&[Dim]>> = (0..site.node.input.len()).map(|slot| site.shape(slot)).collect();
    Some(broadcast(&shapes?))
}

pub(super) fn binary(site: &Site<'_>) -> Vec<Fact> {
    let shape = broadcast_inputs(site);
    let float = is_float(site.elem(0));
    let operation: fn(&Dim, &Dim, bool) -> Dim = match site.node.op_type() {
        "Add" => |a, b, _| a.plus(b),
        "Sub" => |a, b, _| a.minus(b),
        "Mul" => |a, b, _| a.times(b),
        "Div" => divide,
        "Mod" => |a, b, _| if a.is_never_negative() { a.minus(&a.over(b).times(b)) } else { Dim::Unknown },
        "Pow" => |a, b, _| match (a.known(), b.known().and_then(|b| u32::try_from(b).ok())) {
            (Some(a), Some(b)) => a.checked_pow(b).map_or(Dim::Unknown, Dim::Known),
            _ => Dim::Unknown,
        },
        _ => return site.like(0, shape),
    };
    let value = map(site, shape.as_deref(), 2, |all| operation(&all[0], &all[1], float));
    vec![Fact::new(site.elem(0).or(site.elem(1)), shape).with_value(value)]
}

/// Integer division truncates, which is the floor for what is not negative.
fn divide(a: &Dim, b: &Dim, float: bool) -> Dim {
    match (a, b) {
        (Dim::Known(a), Dim::Known(b)) if !float => a.checked_div(*b).map_or(Dim::Unknown, Dim::Known),
        _ if float => a.over_exactly(b).unwrap_or(Dim::Unknown),
        _ => a.over(b),
    }
}

pub(super) fn variadic(site: &Site<'_>) -> Vec<Fact> {
    let shape = broadcast_inputs(site);
    let pick: fn(&Dim, &Dim) -> Dim = match site.node.op_type() {
        "Min" => |a, b| extreme(a, b, i64::min),
        "Max" => |a, b| extreme(a, b, i64::max),
        "Sum" => Dim::plus,
        _ => |_, _| Dim::Unknown,
    };
    let value =
        map(site, shape.as_deref(), 1, |all| all.iter().skip(1).fold(all[0].clone(), |chosen, dim| pick(&chosen, dim)));
    vec![Fact::new(site.elem(0), shape).with_value(value)]
}

fn extreme(a: &Dim, b: &Dim, choose: fn(i64, i64) -> i64) -> Dim {
    match (a.known(), b.known()) {
        (Some(a), Some(b)) => Dim::Known(choose(a, b)),
        _ if a.equals(b) => a.clone(),
        _ => Dim::Unknown,
    }
}

pub(super) fn unary(site: &Site<'_>) -> Vec<Fact> {
    let shape = site.shape(0).map(<[Dim]>::to_vec);
    let value = match site.node.op_type() {
        "Neg" => map(site, shape.as_deref(), 1, |all| Dim::Known(0).minus(&all[0])),
        "Abs" => {
            map(site, shape.as_deref(), 1, |all| if all[0].is_never_negative() { all[0].clone() } else { Dim::Unknown })
        }
        _ => site.value(0).map(<[Dim]>::to_vec),
    };
    vec![Fact::new(site.elem(0), shape).with_value(value)]
}

pub(super) fn compare(site: &Site<'_>) -> Vec<Fact> {
    let shape = broadcast_inputs(site);
    let operation = site.node.op_type();
    let value = map(site, shape.as_deref(), 2, |all| {
        truth(operation, &all[0], &all[1]).map_or(Dim::Unknown, |truth| Dim::Known(truth.into()))
    });
    vec![Fact::new(Some(DataType::Bool), shape).with_value(value)]
}

fn truth(operation: &str, a: &Dim, b: &Dim) -> Option<bool> {
    let apart = |a: &Dim, b: &Dim| a.is_never_negative() && b.known().is_some_and(|b| b < 0);
    Some(match (operation, a.known(), b.known()) {
        ("Equal", Some(a), Some(b)) => a == b,
        ("Equal", ..) if a.equals(b) => true,
        ("Equal", ..) if apart(a, b) || apart(b, a) => false,
        ("Less", Some(a), Some(b)) => a < b,
        ("LessOrEqual", Some(a), Some(b)) => a <= b,
        ("Greater", Some(a), Some(b)) => a > b,
        ("GreaterOrEqual", Some(a), Some(b)) => a >= b,
        ("Less" | "LessOrEqual", ..) if apart(a, b) => false,
        ("Greater" | "GreaterOrEqual", ..) if apart(a, b) => true,
        ("And", Some(a), Some(b)) => a != 0 && b != 0,
        ("Or", Some(a), Some(b)) => a != 0 || b != 0,
        ("Xor", Some(a), Some(b)) => (a != 0) != (b != 0),
        _ => return None,
    })
}

pub(super) fn not(site: &Site<'_>) -> Vec<Fact> {
    let shape = site.shape(0).map(<[Dim]>::to_vec);
    let value = match site.node.op_type() {
        "Not" => map(site, shape.as_deref(), 1, |all| {
            all[0].known().map_or(Dim::Unknown, |value| Dim::Known((value == 0).into()))
        }),
        _ => None,
    };
    vec![Fact::new(Some(DataType::Bool), shape).with_value(value)]
}

pub(super) fn select(site: &Site<'_>) -> Vec<Fact> {
    let shape = broadcast_inputs(site);
    let value = map(site, shape.as_deref(), 3, |all| match all[0].known() {
        Some(0) => all[2].clone(),
        Some(_) => all[1].clone(),
        None if all[1].equals(&all[2]) => all[1].clone(),
        None => Dim::Unknown,
    });
    vec![Fact::new(site.elem(1).or(site.elem(2)), shape).with_value(value)]
}

/// The contents of the output, where there are at least `least` inputs and those of all are followed.
fn map(site: &Site<'_>, shape: Option<&[Dim]>, least: usize, operation: impl Fn(&[Dim]) -> Dim) -> Option<Vec<Dim>> {
    let values: Option<Vec<&[Dim]>> = (0..site.node.input.len()).map(|slot| site.value(slot)).collect();
    let values = values.filter(|values| values.len() >= least)?;
    let extents = |shape: &[Dim]| -> Option<Vec<usize>> {
        shape.iter().map(|dim| dim.known().and_then(|dim| usize::try_from(dim).ok())).collect()
    };
    let out = extents(shape?)?;
    let elements = out.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent))?;
    if elements > MOST_ELEMENTS {
        return None;
    }
    let shapes: Option<Vec<Vec<usize>>> = (0..values.len()).map(|slot| extents(site.shape(slot)?)).collect();
    let shapes = shapes?;
    let element = |position: usize| -> Option<Dim> {
        let of_input = |(shape, value): (&Vec<usize>, &&[Dim])| value.get(offset(position, &out, shape)).cloned();
        let all: Option<Vec<Dim>> = shapes.iter().zip(&values).map(of_input).collect();
        Some(operation(&all?))
    };
    (0..elements).map(element).collect()
}

/// Where element `position` of a tensor shaped `out` comes from in one shaped `shape`, broadcast.
fn offset(mut position: usize, out: &[usize], shape: &[usize]) -> usize {
    let (mut offset, mut stride) = (0, 1);
    for (back, &extent) in out.iter().rev().enumerate() {
        let index = position.checked_rem(extent).unwrap_or(0);
        position = position.checked_div(extent).unwrap_or(0);
        let Some(&own) = shape.len().checked_sub(back + 1).and_then(|axis| shape.get(axis)) else { break };
        if own != 1 {
            offset += index * stride;
        }
        stride *= own;
    }
    offset
}
