//! Learning Δ: F's forward pass, C's, the loss and its gradient in one graph.
//!
//! F runs as far as its last map. C is a copy of what cross-attention reaches, on the same
//! latents, and takes what leaves each layer from F, corrected by the maps' columns of the
//! concept's tokens times Δ. The gradient follows C only: maps and values do not depend on Δ.

use std::collections::{HashMap, HashSet};

use super::correction::{self, DELTA, MASK};
use super::f::extents;
use super::region::Regions;
use super::rows::{self, Counts};
use super::sketch::{Sketch, filled};
use super::survey::Survey;
use super::value::{Extent, value_info};
use super::{Error, Memory, Result, Variant, stream};
use crate::autodiff::{self, Request, backward};
use crate::onnx::infer::infer;
use crate::onnx::{DataType, Model, NodeBuilder, NodeExt, NodeId};

/// The names of what the train graph has beyond the source's inputs.
#[derive(Clone, Copy, Debug)]
pub struct TrainNames;

impl TrainNames {
    /// Input `[B,L,S]`: what share of each row of Δ each row of the context gets.
    pub const MASK: &str = MASK;
    /// Input `[S,D]`: Δ.
    pub const DELTA: &str = DELTA;
    /// Input: what C should predict, shaped like the UNet's output.
    pub const TARGET: &str = "infusion.target";
    /// Optional input, broadcast against the target, 1 if not fed: how much each element counts.
    pub const WEIGHT: &str = "infusion.weight";
    /// Output, a scalar: the mean of weight · error² over all elements.
    pub const LOSS: &str = "infusion.loss";
    /// Output `[S,D]`: ∂loss/∂Δ.
    pub const GRAD: &str = "infusion.grad";
    /// Output: C's prediction.
    pub const PREDICTION: &str = "infusion.prediction";
}

/// In half precision, the gradient on its way back is this many times the element count smaller
/// than that of the sum of squares, far from both ends of the type.
const HALF_SCALE: f32 = 32.0;

/// Makes the graph of one training step.
pub fn emit(mut model: Model, survey: &Survey, memory: Memory) -> Result<Model> {
    let regions = Regions::of(&model.graph, survey);
    model.graph.value_info_mut().clear();
    let Customised { prediction, nodes, entries } = predict(&mut model, survey, &regions)?;
    let Loss { seed, scale } = loss(&mut Sketch::new(&mut model), survey, &prediction)?;
    let mut shapes = infer(&model);
    if let Some(shape) = shapes.shape(&prediction).map(<[_]>::to_vec) {
        shapes.state(&seed, survey.float_type, shape);
    }
    let request = Request {
        seeds: vec![(prediction.clone(), seed)],
        wanted: vec![DELTA.to_owned()],
        recompute: memory.parts(&model.graph, &nodes, &entries),
        ..Request::default()
    };
    let gradients = backward(&mut model, &mut shapes, &request).map_err(not_differentiable)?;
    let gradient = gradients.get(DELTA).cloned().unwrap_or_default();
    let mut sketch = Sketch::new(&mut model);
    finish(&mut sketch, survey, &gradient, scale.as_deref(), &prediction)?;
    sketch.graph.remove_dead();
    Ok(model)
}

/// The stream C within the graph.
struct Customised {
    /// The name of its first output.
    prediction: String,
    /// What it has of its own, in topological order.
    nodes: Vec<NodeId>,
    /// What leaves each cross-attention, in order of execution.
    entries: Vec<String>,
}

/// Adds the inputs and C.
fn predict(model: &mut Model, survey: &Survey, regions: &Regions) -> Result<Customised> {
    let Some(output) = model.graph.outputs().first().cloned() else { return Err(refused("the model has no output")) };
    let mut sketch = Sketch::new(model);
    let (elem, [rows, tokens, slots]) = (survey.float_type, extents());
    let width = Extent::Fixed(survey.total_width());
    sketch.graph.inputs_mut().push(value_info(MASK, elem, &[rows, tokens, slots.clone()]));
    sketch.graph.inputs_mut().push(value_info(DELTA, elem, &[slots, width]));
    let mut target = output.clone();
    target.name = Some(TrainNames::TARGET.to_owned());
    sketch.graph.inputs_mut().push(target);
    let free = ["rows", "channels", "height", "width"].map(|axis| format!("infusion_weight_{axis}"));
    let free: Vec<Extent<'_>> = free.iter().map(|axis| Extent::Free(axis)).collect();
    sketch.graph.inputs_mut().push(value_info(TrainNames::WEIGHT, elem, &free));
    sketch.graph.add_initializer(filled(TrainNames::WEIGHT, &[1; 4], 1.0, elem))?;
    let narrow = sketch.sizes(&survey.context_input, 0, 1)?;
    let counts = Counts { wide: narrow.clone(), narrow };
    let mask = correction::mask(&mut sketch, survey, &counts)?;
    let (mut substitutes, mut foundations, mut entries) = (HashMap::new(), Vec::new(), Vec::new());
    for (layer, offset) in survey.layers.iter().zip(survey.offsets()) {
        sketch.enter_layer(layer.index);
        let [own, left] = correction::streams(&mut sketch, survey, layer, offset, &mask, &rows::Customised::All)?;
        let exit = layer.attention.exit.tensor.clone();
        foundations.push((exit.clone(), own));
        entries.push(left.clone());
        substitutes.insert(exit, left);
    }
    sketch.leave_layer();
    let names = stream::copy_downstream(&mut sketch, survey, regions, substitutes)?;
    for (exit, own) in foundations.iter().filter(|(exit, own)| exit != own) {
        let askers: Vec<_> = sketch.graph.consumers(exit).to_vec();
        let askers: Vec<_> = askers.into_iter().filter(|id| sketch.graph.node(*id).is("Shape")).collect();
        sketch.graph.replace_uses(exit, own, |id| askers.contains(&id))?;
    }
    let prediction = names.get(output.name()).cloned();
    let prediction = prediction.ok_or_else(|| refused("its first output does not depend on cross-attention"))?;
    let copied = names.iter().filter(|(original, _)| !foundations.iter().any(|(exit, _)| exit == *original));
    let own: HashSet<NodeId> = copied.filter_map(|(_, copy)| sketch.graph.producer(copy)).collect();
    let nodes = sketch.graph.topological_order()?.into_iter().filter(|id| own.contains(id)).collect();
    Ok(Customised { prediction, nodes, entries })
}

/// The gradient of the loss at the prediction, `scale` times too large where that is given.
struct Loss {
    seed: String,
    scale: Option<String>,
}

fn loss(sketch: &mut Sketch, survey: &Survey, prediction: &str) -> Result<Loss> {
    let elem = survey.float_type;
    let error = sketch.binary("Sub", prediction, TrainNames::TARGET)?;
    let wide = if elem == DataType::Double { elem } else { DataType::Float };
    let error = sketch.cast(&error, elem, wide)?;
    let weight = sketch.cast(TrainNames::WEIGHT, elem, wide)?;
    let weighted = sketch.binary("Mul", &error, &weight)?;
    let square = sketch.binary("Mul", &weighted, &error)?;
    let mean = sketch.draw("squared_error", NodeBuilder::new("ReduceMean").input(&square).attr("keepdims", 0))?;
    let mean = sketch.cast(&mean, wide, elem)?;
    sketch.draw_as(TrainNames::LOSS, NodeBuilder::new("Identity").input(&mean))?;
    let count = sketch.draw("count", NodeBuilder::new("Size").input(prediction))?;
    let count = sketch.cast(&count, DataType::Int64, wide)?;
    let two = sketch.float(2.0, wide)?;
    if elem == wide {
        let double = sketch.binary("Mul", &weighted, &two)?;
        return Ok(Loss { seed: sketch.binary("Div", &double, &count)?, scale: None });
    }
    let reduced = sketch.float(HALF_SCALE, wide)?;
    let share = sketch.binary("Div", &two, &reduced)?;
    let seed = sketch.binary("Mul", &weighted, &share)?;
    Ok(Loss { seed: sketch.cast(&seed, wide, elem)?, scale: Some(sketch.binary("Div", &count, &reduced)?) })
}

/// Names the outputs.
fn finish(sketch: &mut Sketch, survey: &Survey, gradient: &str, scale: Option<&str>, prediction: &str) -> Result<()> {
    let elem = survey.float_type;
    let gradient = match scale {
        None => gradient.to_owned(),
        Some(scale) => {
            let wide = sketch.cast(gradient, elem, DataType::Float)?;
            let true_to_size = sketch.binary("Div", &wide, scale)?;
            sketch.cast(&true_to_size, DataType::Float, elem)?
        }
    };
    sketch.draw_as(TrainNames::GRAD, NodeBuilder::new("Identity").input(gradient))?;
    sketch.draw_as(TrainNames::PREDICTION, NodeBuilder::new("Identity").input(prediction))?;
    let [_, _, slots] = extents();
    let mut predicted = sketch.graph.outputs().first().cloned().unwrap_or_default();
    predicted.name = Some(TrainNames::PREDICTION.to_owned());
    let grad = value_info(TrainNames::GRAD, elem, &[slots, Extent::Fixed(survey.total_width())]);
    *sketch.graph.outputs_mut() = vec![value_info(TrainNames::LOSS, elem, &[]), grad, predicted];
    Ok(())
}

fn refused(reason: &str) -> Error {
    Error::Variant { variant: Variant::Train, reason: reason.to_owned() }
}

fn not_differentiable(error: autodiff::Error) -> Error {
    match error {
        autodiff::Error::Graph(error) => Error::Onnx(error),
        other => refused(&other.to_string()),
    }
}
