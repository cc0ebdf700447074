//! Models, and made-up numbers to feed them.

use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Axis, IxDyn};

use super::Check;
use crate::noise::TorchGenerator;
use crate::pipeline::graphs::{Graph, UnetGraphs};
use crate::pipeline::sizes::{SizeRange, Sizes};
use crate::pipeline::unet::OURS;
use crate::pipeline::{Error, Result};
use crate::runtime::{ShapeRange, Tensor, TensorSpec, declared_inputs};

pub(super) const TOKENS: usize = 77;
/// The deviation of the made-up concept's numbers, which stands at every token: what it changes in one run is
/// to be more than rounding explains.
const DELTA: f32 = 2.0;
/// A timestep in the middle.
const TIMESTEP: f64 = 500.0;

/// A model with what it is fed.
pub(super) struct Case {
    pub name: String,
    pub file: PathBuf,
    /// The form that the provider runs, and how long its inputs are.
    pub prepared: PathBuf,
    pub shapes: Vec<ShapeRange>,
    pub record: bool,
    pub feeds: Vec<(String, Tensor)>,
}

impl Check<'_> {
    pub(super) fn unet_case(
        &self,
        graph: Graph,
        graphs: &UnetGraphs,
        sizes: &Sizes,
        range: &SizeRange,
    ) -> Result<Case> {
        let file = graphs.path(graph).unwrap_or(Path::new("")).to_owned();
        let shapes = range.shapes(graph, graphs)?;
        let mut generator = TorchGenerator::new(0);
        let mut feeds = Vec::new();
        for spec in declared_inputs(&file)? {
            let tensor = match (self.maps.get(&spec.name), shapes.iter().find(|range| range.input == spec.name)) {
                (Some(map), _) => map.clone(),
                (None, Some(range)) => made_up(&spec, &range.usual, sizes, &mut generator),
                (None, None) => return Err(Error::model(file, format!("nobody knows how long this input is: {spec}"))),
            };
            feeds.push((spec.name, tensor));
        }
        let name = if graph == Graph::Source { "unet".to_owned() } else { format!("unet {}", graph.name()) };
        let prepared = if self.provider.keeps_defaults() { None } else { graphs.without_defaults(graph)? };
        let record = self.provider.settles_shapes();
        Ok(Case { name, prepared: prepared.unwrap_or_else(|| file.clone()), file, shapes, record, feeds })
    }

    pub(super) fn single(&mut self, name: &str, file: &Path, shape: &dyn Fn(&TensorSpec) -> Vec<usize>) -> Result<()> {
        let mut generator = TorchGenerator::new(0);
        let (mut feeds, mut shapes) = (Vec::new(), Vec::new());
        for spec in declared_inputs(file)?.into_iter().filter(|spec| !spec.optional) {
            let free = shape(&spec);
            let length = |axis: usize| spec.fixed(axis).or(free.get(axis).copied()).unwrap_or(1);
            let lengths: Vec<usize> = (0..spec.rank()).map(length).collect();
            shapes.push(ShapeRange::exact(&spec.name, &lengths));
            feeds.push((spec.name.clone(), numbers(&spec, &lengths, &mut generator)));
        }
        let (file, prepared) = (file.to_owned(), file.to_owned());
        let case = Case { name: name.to_owned(), file, prepared, shapes, record: false, feeds };
        self.compare(&case, Graph::Source)
    }
}

/// Numbers for an input of a UNet's graph.
fn made_up(spec: &TensorSpec, shape: &[usize], sizes: &Sizes, generator: &mut TorchGenerator) -> Tensor {
    let made: ArrayD<f32> = match spec.name.strip_prefix(OURS) {
        Some("mask") => {
            let mut mask: ArrayD<f32> = ArrayD::zeros(IxDyn(shape));
            mask.index_axis_mut(Axis(0), sizes.rows - 1).index_axis_mut(Axis(1), 0).fill(1.0);
            mask
        }
        Some("delta") => generator.randn(IxDyn(shape)) * DELTA,
        Some("rows") => {
            let first = sizes.rows - sizes.prompt_rows;
            ArrayD::from_shape_fn(IxDyn(shape), |index| (first + index[0]) as f32)
        }
        _ => return numbers(spec, shape, generator),
    };
    Tensor::from(made).cast(spec.element_type)
}

/// Normal numbers; a timestep; or few different tokens, which every vocabulary has.
fn numbers(spec: &TensorSpec, shape: &[usize], generator: &mut TorchGenerator) -> Tensor {
    let made: ArrayD<f32> = match (spec.element_type.is_float(), spec.rank()) {
        (_, 0 | 1) => ArrayD::from_elem(IxDyn(shape), TIMESTEP as f32),
        (true, _) => generator.randn(IxDyn(shape)),
        (false, _) if spec.name.contains("mask") => ArrayD::ones(IxDyn(shape)),
        (false, _) => ArrayD::from_shape_fn(IxDyn(shape), |index| (1 + index[shape.len() - 1] % 31) as f32),
    };
    Tensor::from(made).cast(spec.element_type)
}
