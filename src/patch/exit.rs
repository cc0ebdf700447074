use super::Parts;
use super::anchor::{Part, Place};
use super::layout::{Axis, Layout, Sizes};
use super::trail::Trail;
use crate::onnx::infer::Shapes;
use crate::onnx::{Graph, NodeExt, NodeId};

/// The parts of a layer in the order in which what they make is joined, and the joined tensor.
///
/// # Errors
/// The parts are not joined in a way that is known.
pub fn joined(trail: Trail, shapes: &Shapes, parts: Vec<Part>, sizes: &Sizes) -> Result<(Vec<Part>, Place), String> {
    let last = parts.last().ok_or("it has no anchor")?;
    match last.parts {
        Parts::One if parts.len() > 1 => Err("it has several anchors".to_owned()),
        Parts::One => {
            let result = last.result.clone();
            Ok((parts, result))
        }
        Parts::Rows => scattered(trail, parts),
        Parts::Heads => concatenated(trail, shapes, parts, sizes),
    }
}

/// Runs of rows, written one after the other into one tensor.
fn scattered(trail: Trail, parts: Vec<Part>) -> Result<(Vec<Part>, Place), String> {
    let writes = |part: &Part| trail.forward(&part.result.tensor, |node| node.is("ScatterND")).map(|write| write.node);
    let mut before: Option<NodeId> = None;
    for part in &parts {
        let write = writes(part).ok_or("one of its slices is written nowhere")?;
        let into = trail.graph.node(write).input_name(0).and_then(|input| trail.graph.producer(input));
        if before.is_some() && into != before {
            return Err("its slices are not written one after the other".to_owned());
        }
        before = Some(write);
    }
    let whole = before.and_then(|write| trail.graph.node(write).output_name(0)).ok_or("its slices are never joined")?;
    let layout = parts.first().map(|part| part.result.layout.clone()).ok_or("it has no anchor")?;
    let place = Place { tensor: whole.to_owned(), layout, pick: None, bias: None };
    Ok((parts, place))
}

/// Heads, put side by side.
fn concatenated(trail: Trail, shapes: &Shapes, parts: Vec<Part>, sizes: &Sizes) -> Result<(Vec<Part>, Place), String> {
    let one_head = Sizes { heads: 1, ..sizes.clone() };
    let left = |part: &Part| leave(trail.graph, shapes, &part.result, &one_head);
    let unjoined = || "its heads are not joined by one Concat".to_owned();
    let first = parts.first().map(left).ok_or_else(unjoined)?;
    let join = only_reader(trail.graph, &first.tensor).map(|id| trail.graph.node(id)).ok_or_else(unjoined)?;
    let mut by_input: Vec<(usize, Part)> = Vec::with_capacity(parts.len());
    for part in parts {
        let position = join.input.iter().position(|input| *input == left(&part).tensor).ok_or_else(unjoined)?;
        by_input.push((position, part));
    }
    by_input.sort_by_key(|(position, _)| *position);
    let rank = first.layout.rank() as i64;
    let axis = join.attr_int("axis").map(|axis| if axis < 0 { axis + rank } else { axis });
    let axis = axis.and_then(|axis| usize::try_from(axis).ok()).filter(|axis| *axis < first.layout.rank());
    let (Some(axis), Some(tensor)) = (axis, join.output_name(0)) else { return Err(unjoined()) };
    if by_input.len() != join.input.len() {
        return Err(unjoined());
    }
    let mut layout = first.layout;
    layout.0.iter_mut().for_each(|extent| extent.retain(|axis| *axis != Axis::Heads));
    layout.0[axis].insert(0, Axis::Heads);
    let place = Place { tensor: tensor.to_owned(), layout, pick: None, bias: None };
    Ok((by_input.into_iter().map(|(_, part)| part).collect(), place))
}

/// Follows `from` through views that nothing else reads, as far as its layout can be told.
pub fn leave(graph: &Graph, shapes: &Shapes, from: &Place, sizes: &Sizes) -> Place {
    let mut place = from.clone();
    while let Some((_, next)) = viewed(graph, shapes, &place, sizes) {
        place = next;
    }
    place
}

/// The only reader of `place`, if it is a view, and what that makes.
pub fn viewed(graph: &Graph, shapes: &Shapes, place: &Place, sizes: &Sizes) -> Option<(NodeId, Place)> {
    let id = only_reader(graph, &place.tensor)?;
    let node = graph.node(id);
    if node.input_name(0) != Some(&place.tensor) {
        return None;
    }
    let output = node.output_name(0)?;
    let layout = match node.op_type() {
        "Identity" => place.layout.clone(),
        "Transpose" => place.layout.transposed(&perm(node.attr_ints("perm"), &place.layout))?,
        "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" => place.layout.reshaped(shapes.shape(output)?, sizes)?,
        _ => return None,
    };
    Some((id, Place { tensor: output.to_owned(), layout, pick: None, bias: None }))
}

/// What `place` is a view of, if it is one.
pub fn came_from(graph: &Graph, shapes: &Shapes, place: &Place, sizes: &Sizes) -> Option<Place> {
    let node = graph.node(graph.producer(&place.tensor)?);
    let input = node.input_name(0)?;
    let layout = match node.op_type() {
        "Identity" => place.layout.clone(),
        "Transpose" => place.layout.transposed(&inverse(&perm(node.attr_ints("perm"), &place.layout)))?,
        "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" => place.layout.reshaped(shapes.shape(input)?, sizes)?,
        _ => return None,
    };
    Some(Place { tensor: input.to_owned(), layout, pick: None, bias: None })
}

/// The one node that reads elements of `tensor`; none if there are more or it leaves the graph.
pub fn only_reader(graph: &Graph, tensor: &str) -> Option<NodeId> {
    let mut readers = graph.consumers(tensor).iter().filter(|id| !graph.node(**id).is("Shape"));
    match (readers.next(), readers.next()) {
        (Some(only), None) if !graph.is_output(tensor) => Some(*only),
        _ => None,
    }
}

fn inverse(perm: &[i64]) -> Vec<i64> {
    (0..perm.len() as i64).map(|to| perm.iter().position(|from| *from == to).unwrap_or(0) as i64).collect()
}

fn perm(stated: Option<&[i64]>, layout: &Layout) -> Vec<i64> {
    stated.map_or_else(|| (0..layout.rank() as i64).rev().collect(), <[i64]>::to_vec)
}
