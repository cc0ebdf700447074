//! C as a second copy of all that cross-attention reaches, beside F in one graph.

use std::collections::HashMap;

use super::Result;
use super::region::Regions;
use super::sketch::Sketch;
use super::survey::Survey;

/// Copies every node that depends on what some cross-attention made, except cross-attention
/// itself. `substitutes` names, for the exit of each layer and for any other tensor, what the copy
/// reads instead. Answers with the copy's name of every tensor copied, the substitutes included.
///
/// Shape arithmetic is not copied: both streams have the same shapes. The copy of layer i's exit
/// may depend on the copy of earlier layers through its substitute only if that was drawn before,
/// so substitutes are to be made from F's tensors.
///
/// # Errors
/// The graph has a cycle.
pub fn copy_downstream(
    sketch: &mut Sketch,
    survey: &Survey,
    regions: &Regions,
    substitutes: HashMap<String, String>,
) -> Result<HashMap<String, String>> {
    let mut names = substitutes;
    for id in sketch.graph.topological_order()? {
        if !regions.downstream.contains(&id) {
            continue;
        }
        let node = sketch.graph.node(id).clone();
        let reads = |name: &String| match survey.flow.is_data(name) {
            true => names.get(name).unwrap_or(name).clone(),
            false => name.clone(),
        };
        let inputs = node.input.iter().map(reads).collect();
        let copies = sketch.copy(&node, inputs)?;
        names.extend(node.output.iter().cloned().zip(copies));
    }
    Ok(names)
}
