//! Matrix products.

use std::collections::HashMap;

use crate::onnx::NodeExt;
use crate::onnx::infer::Dim;
use crate::onnx::infer::site::{Fact, Site, broadcast};

pub(super) fn mat_mul(site: &Site<'_>) -> Vec<Fact> {
    site.like(0, product(site, 0, 1))
}

/// The shape of the matrix product of inputs `left` and `right`, as numpy's `matmul`.
pub(super) fn product(site: &Site<'_>, left: usize, right: usize) -> Option<Vec<Dim>> {
    product_of(site.shape(left)?, site.shape(right)?)
}

pub(super) fn product_of(a: &[Dim], b: &[Dim]) -> Option<Vec<Dim>> {
    match (a, b) {
        ([], _) | (_, []) => None,
        ([_], [_]) => Some(Vec::new()),
        ([_], [batch @ .., _, columns]) => Some([batch, std::slice::from_ref(columns)].concat()),
        ([rows @ .., _], [_]) => Some(rows.to_vec()),
        ([left @ .., rows, _], [right @ .., _, columns]) => {
            let mut shape = broadcast(&[left, right]);
            shape.extend([rows.clone(), columns.clone()]);
            Some(shape)
        }
    }
}

pub(super) fn gemm(site: &Site<'_>) -> Vec<Fact> {
    let rows = site.dim(0, if site.int_attr("transA", 0) != 0 { 1 } else { 0 });
    let columns = site.dim(1, if site.int_attr("transB", 0) != 0 { 0 } else { 1 });
    site.like(0, Some(vec![rows, columns]))
}

pub(super) fn einsum(site: &Site<'_>) -> Vec<Fact> {
    site.like(0, site.node.attr_str("equation").and_then(|equation| einsum_shape(site, equation)))
}

fn einsum_shape(site: &Site<'_>, equation: &str) -> Option<Vec<Dim>> {
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (operands, result) = match equation.split_once("->") {
        Some((operands, result)) => (operands, Some(result.to_owned())),
        None => (equation.as_str(), None),
    };
    let mut extents: HashMap<char, Dim> = HashMap::new();
    let mut ellipsis: Vec<Dim> = Vec::new();
    for (slot, term) in operands.split(',').enumerate() {
        let shape = site.shape(slot)?;
        let (before, after) = term.split_once("...").unwrap_or((term, ""));
        let hidden = shape.len().checked_sub(before.len() + after.len())?;
        if hidden > 0 && !term.contains("...") {
            return None;
        }
        let (head, tail) = shape.split_at_checked(before.len())?;
        let (middle, tail) = tail.split_at_checked(hidden)?;
        ellipsis = broadcast(&[&ellipsis, middle]);
        for (label, dim) in before.chars().zip(head).chain(after.chars().zip(tail)) {
            let known = extents.entry(label).or_insert_with(|| dim.clone());
            *known = known.broadcast(dim);
        }
    }
    let result = result.unwrap_or_else(|| implicit_result(operands));
    let mut shape = Vec::new();
    let (before, after) = result.split_once("...").map_or((result.as_str(), None), |(a, b)| (a, Some(b)));
    for label in before.chars() {
        shape.push(extents.get(&label)?.clone());
    }
    if let Some(after) = after {
        shape.extend(ellipsis);
        for label in after.chars() {
            shape.push(extents.get(&label)?.clone());
        }
    }
    Some(shape)
}

/// Labels that occur once, in order, after the ellipsis.
fn implicit_result(operands: &str) -> String {
    let mut labels: Vec<char> = operands.chars().filter(|c| c.is_alphabetic()).collect();
    labels.sort_unstable();
    let once: String = labels.iter().filter(|c| labels.iter().filter(|d| d == c).count() == 1).collect();
    if operands.contains("...") { format!("...{once}") } else { once }
}
