//! Both streams in one graph, each on its own latents: F's B rows, then C's.

use super::correction;
use super::region::Regions;
use super::rows::{Counts, Customised, Widening, must_be_free};
use super::sketch::Sketch;
use super::survey::Survey;
use super::value::dimensions_mut;
use super::{Result, Variant, splice};
use crate::onnx::Model;
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::proto::tensor_shape_proto::dimension::Value;

/// Runs all but the context and cross-attention on 2B rows; cross-attention runs on F's rows, and
/// C takes what it makes, corrected.
pub fn emit(mut model: Model, survey: &Survey) -> Result<Model> {
    must_be_free(survey, &model.graph, Variant::Dual)?;
    let nodes = model.graph.topological_order()?;
    let Regions { common, downstream, .. } = Regions::of(&model.graph, survey);
    let wide_nodes = common.into_iter().chain(downstream).collect();
    let fed = model.graph.inputs().iter().map(|input| input.name().to_owned());
    let wide_inputs = fed.filter(|name| *name != survey.context_input && survey.flow.is_data(name)).collect();
    let graph = &mut model.graph;
    graph.value_info_mut().clear();
    graph.inputs_mut().iter_mut().filter(|input| input.name() != survey.context_input).for_each(double_rows);
    graph.outputs_mut().iter_mut().for_each(double_rows);
    let mut sketch = Sketch::new(&mut model);
    let narrow = sketch.sizes(&survey.context_input, 0, 1)?;
    let wide = sketch.binary("Add", &narrow, &narrow)?;
    let counts = Counts { narrow, wide };
    Widening::new(&mut sketch, survey, counts.clone(), Customised::All, wide_nodes, wide_inputs).settle(&nodes)?;
    correction::add_inputs(&mut sketch, survey)?;
    splice::both(&mut sketch, survey, &counts, &Customised::All)?;
    sketch.graph.remove_dead();
    Ok(model)
}

/// States twice the rows where these are free.
fn double_rows(value: &mut ValueInfoProto) {
    let rows = dimensions_mut(value).and_then(|dimensions| dimensions.first_mut());
    if let Some(Value::DimParam(symbol)) = rows.and_then(|rows| rows.value.as_mut()) {
        *symbol = format!("2*{symbol}");
    }
}
