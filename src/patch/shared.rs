//! Both streams in one graph on the same latents: what they have in common once, then F's B rows
//! and those R rows of C that carry a concept.

use std::collections::HashSet;

use super::region::Regions;
use super::rows::{Counts, Customised, Widening, must_be_free};
use super::sketch::{Sketch, longs};
use super::survey::Survey;
use super::value::{Extent, value_info};
use super::{Result, Variant, correction, splice};
use crate::onnx::{DataType, Model, NodeBuilder};

/// The name of the input that says which rows carry a concept, int64 [R].
pub const ROWS: &str = "infusion.rows";
/// The name of the output with F's prediction.
pub const FOUNDATION: &str = "infusion.foundation";

/// Runs all that some cross-attention reaches on B + R rows, and puts C's rows in F's places.
pub fn emit(mut model: Model, survey: &Survey) -> Result<Model> {
    must_be_free(survey, &model.graph, Variant::Shared)?;
    let nodes = model.graph.topological_order()?;
    let wide_nodes = Regions::of(&model.graph, survey).downstream;
    model.graph.value_info_mut().clear();
    let mut sketch = Sketch::new(&mut model);
    correction::add_inputs(&mut sketch, survey)?;
    let narrow = sketch.sizes(&survey.context_input, 0, 1)?;
    let (rows, count) = rows(&mut sketch, &narrow)?;
    let wide = sketch.binary("Add", &narrow, &count)?;
    let counts = Counts { narrow, wide };
    let customised = Customised::Picked(rows.clone());
    Widening::new(&mut sketch, survey, counts.clone(), customised.clone(), wide_nodes, HashSet::new())
        .settle(&nodes)?;
    splice::both(&mut sketch, survey, &counts, &customised)?;
    part_outputs(&mut sketch, &counts, &rows)?;
    sketch.graph.remove_dead();
    Ok(model)
}

/// Adds the input `infusion.rows`; answers with its entries counted from 0, and with R.
fn rows(sketch: &mut Sketch, batch: &str) -> Result<(String, String)> {
    sketch.graph.add_initializer(longs(ROWS, &[-1]))?;
    sketch.graph.inputs_mut().push(value_info(ROWS, DataType::Int64, &[Extent::Free("infusion.customised")]));
    let count = sketch.sizes(ROWS, 0, 1)?;
    let shifted = sketch.binary("Add", ROWS, batch)?;
    Ok((sketch.binary("Mod", &shifted, batch)?, count))
}

/// Each output as the source has it, C's prediction in C's rows; then F's of the first output.
fn part_outputs(sketch: &mut Sketch, counts: &Counts, rows: &str) -> Result<()> {
    let [zero, end] = [sketch.ints(&[0])?, sketch.ints(&[i64::MAX])?];
    let places = sketch.unsqueeze(rows, &[1])?;
    let outputs = sketch.graph.outputs().to_vec();
    for (position, output) in outputs.iter().enumerate() {
        let name = output.name();
        let Some(producer) = sketch.graph.producer(name) else { continue };
        let wide = sketch.graph.fresh_name("infusion.prediction");
        sketch.graph.replace_uses(name, &wide, |_| false)?;
        sketch.graph.edit(producer, |node| {
            node.output.iter_mut().filter(|output| *output == name).for_each(|output| output.clone_from(&wide));
        })?;
        let customised = sketch.slice(&wide, &counts.narrow, &end, 0)?;
        let axes = sketch.ints(&[0])?;
        let cut = NodeBuilder::new("Slice").inputs([&wide, &zero, &counts.narrow, &axes]);
        let foundation = match position {
            0 => sketch.draw_as(FOUNDATION, cut)?,
            _ => sketch.draw("foundation", cut)?,
        };
        sketch.draw_as(name, NodeBuilder::new("ScatterND").inputs([&foundation, &places, &customised]))?;
        if position == 0 {
            let mut info = output.clone();
            info.name = Some(foundation);
            sketch.graph.outputs_mut().push(info);
        }
    }
    Ok(())
}
