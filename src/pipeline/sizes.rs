use std::collections::HashMap;
use std::path::Path;

use crate::onnx::Model;
use crate::onnx::infer::infer;
use crate::onnx::proto::tensor_shape_proto::dimension;
use crate::onnx::proto::{ValueInfoProto, type_proto};
use crate::runtime::{Dim, ProviderSpec, ShapeRange, TensorSpec, declared_inputs};

use super::graphs::{Graph, UnetGraphs};
use super::unet::OURS;
use super::{Error, Result};

/// Concept slots come in such numbers where an engine is built for them, so that another concept or mix
/// seldom needs another engine.
const SLOTS: usize = 8;

/// What the inputs of a UNet's graphs are as long as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// B: rows of the context, unconditional ones included.
    pub rows: usize,
    /// Height and width of the latents.
    pub latents: [usize; 2],
    /// L.
    pub tokens: usize,
    /// S.
    pub slots: usize,
    /// Rows that carry the prompt.
    pub prompt_rows: usize,
}

/// The sizes of a run, and the range that an engine is to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SizeRange {
    min: Sizes,
    usual: Sizes,
    max: Sizes,
}

/// S as engines are built for it, at least `slots`.
pub(super) fn padded_slots(slots: usize) -> usize {
    slots.max(1).next_multiple_of(SLOTS)
}

impl SizeRange {
    /// The range that the provider's options ask for around `usual`.
    ///
    /// # Errors
    /// What is to be run lies outside of it.
    pub fn of(usual: Sizes, provider: &ProviderSpec) -> Result<Self> {
        let (mut min, mut max) = (usual, usual);
        let guided = usual.rows / usual.prompt_rows.max(1);
        for (option, unit, lengths) in [
            ("pixels", 8, &[usual.latents[0] * 8, usual.latents[1] * 8][..]),
            ("pictures", 1, &[usual.prompt_rows][..]),
            ("tokens", 1, &[usual.tokens][..]),
        ] {
            let Some((least, most)) = provider.range(option) else { continue };
            if let Some(outside) = lengths.iter().find(|length| !(least..=most).contains(length)) {
                let reason = format!("{outside} {option} are to be run; widen the range");
                return Err(Error::setting(format!("provider option {option}={least}-{most}"), reason));
            }
            for (sizes, length) in [(&mut min, least), (&mut max, most)] {
                match option {
                    "pixels" => sizes.latents = [length.div_ceil(unit); 2],
                    "pictures" => (sizes.rows, sizes.prompt_rows) = (guided * length, length),
                    _ => sizes.tokens = length,
                }
            }
        }
        Ok(Self { min, usual, max })
    }

    /// The lengths of every input of `graph` that are known beforehand.
    ///
    /// # Errors
    /// The graph's file, or that of `f` where the maps' sizes come from, cannot be read.
    pub fn shapes(&self, graph: Graph, graphs: &UnetGraphs) -> Result<Vec<ShapeRange>> {
        let Some(path) = graphs.path(graph) else { return Ok(Vec::new()) };
        let specs = declared_inputs(path)?;
        let queries = |sizes: &Sizes| match (graph, graphs.path(Graph::F)) {
            (Graph::C, Some(f)) => queries(f, sizes),
            _ => Ok(Queries::new()),
        };
        let [least, usual, most] = [queries(&self.min)?, queries(&self.usual)?, queries(&self.max)?];
        let row_symbol = row_symbol(&specs);
        let ranges = specs.iter().filter_map(|spec| {
            let shape = |sizes: &Sizes, queries: &Queries| sizes.shape(spec, graph, row_symbol, queries);
            let (min, max) = (shape(&self.min, &least)?, shape(&self.max, &most)?);
            Some(ShapeRange { input: spec.name.clone(), min, usual: shape(&self.usual, &usual)?, max })
        });
        Ok(ranges.collect())
    }
}

impl Sizes {
    /// The shape of the input `spec` of `graph`; `None` where only a run can tell.
    fn shape(
        &self,
        spec: &TensorSpec,
        graph: Graph,
        row_symbol: Option<&Dim>,
        queries: &Queries,
    ) -> Option<Vec<usize>> {
        let own = self.free_lengths(spec, graph, row_symbol, queries)?;
        (own.len() == spec.rank())
            .then(|| own.iter().enumerate().map(|(axis, &length)| spec.fixed(axis).unwrap_or(length)).collect())
    }

    fn free_lengths(
        &self,
        spec: &TensorSpec,
        graph: Graph,
        row_symbol: Option<&Dim>,
        queries: &Queries,
    ) -> Option<Vec<usize>> {
        let [height, width] = self.latents;
        let sample_rows = if graph == Graph::Dual { 2 * self.rows } else { self.rows };
        match spec.name.strip_prefix(OURS) {
            Some("mask") => return Some(vec![self.rows, self.tokens, self.slots]),
            Some("delta") => return Some(vec![self.slots, 0]),
            Some("rows") => return Some(vec![self.prompt_rows]),
            Some(ours) if ours.ends_with(".value") => return Some(vec![self.rows, self.tokens, 0]),
            Some(_) => return Some(vec![self.rows, 0, *queries.get(&spec.name)?, self.tokens]),
            None => {}
        }
        match spec.rank() {
            0 => Some(Vec::new()),
            1 => Some(vec![if has_rows(spec, row_symbol) { sample_rows } else { 1 }]),
            2 => Some(vec![sample_rows, 256]),
            3 => Some(vec![self.rows, self.tokens, 0]),
            4 => Some(vec![sample_rows, 4, height, width]),
            _ => None,
        }
    }
}

/// Whether a timestep has an entry for each row of the sample.
fn has_rows(timestep: &TensorSpec, row_symbol: Option<&Dim>) -> bool {
    let own = timestep.dims.first();
    own == row_symbol && !matches!(own, Some(Dim::Symbolic(name)) if name.is_empty())
}

/// How many query positions the maps have, by the names of their inputs.
type Queries = HashMap<String, usize>;

/// The query positions of `f`'s maps for latents of these sizes.
fn queries(f: &Path, sizes: &Sizes) -> Result<Queries> {
    let mut model = Model::open(f)?;
    let specs = declared_inputs(f)?;
    let row_symbol = row_symbol(&specs);
    for input in model.graph.inputs_mut() {
        let spec = specs.iter().find(|spec| spec.name == input.name());
        let shape = spec.and_then(|spec| sizes.shape(spec, Graph::F, row_symbol, &Queries::new()));
        settle(input, &shape.unwrap_or_default());
    }
    model.graph.value_info_mut().clear();
    let shapes = infer(&model);
    let maps = model.graph.outputs().iter().map(|output| output.name()).filter(|name| name.ends_with(".probs"));
    let known = maps.filter_map(|name| Some((name.to_owned(), usize::try_from(shapes.dim(name, 2)?.known()?).ok()?)));
    Ok(known.collect())
}

/// States the lengths of an input's axes.
fn settle(input: &mut ValueInfoProto, shape: &[usize]) {
    let value = input.r#type.as_mut().and_then(|kind| kind.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = value {
        let axes = tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim);
        for (axis, &length) in axes.zip(shape) {
            axis.value = Some(dimension::Value::DimValue(length as i64));
        }
    }
}

/// What the sample's rows are called.
fn row_symbol(specs: &[TensorSpec]) -> Option<&Dim> {
    specs.iter().find(|spec| spec.rank() == 4).and_then(|spec| spec.dims.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { rows: 2, latents: [8, 16], tokens: 77, slots: 8, prompt_rows: 1 };

    fn graphs_of_tiny() -> (tempfile::TempDir, UnetGraphs) {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("model.onnx");
        let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tiny/unet/model.onnx");
        std::fs::copy(tiny, &source).unwrap();
        let graphs = UnetGraphs::find_or_make(&source, None, false).unwrap();
        (folder, graphs)
    }

    #[test]
    fn every_input_of_every_graph_has_a_range() {
        let (_folder, graphs) = graphs_of_tiny();
        let provider: ProviderSpec = "tensorrt:pixels=64-128,pictures=1-2,tokens=77-154".parse().unwrap();
        let range = SizeRange::of(SIZES, &provider).unwrap();
        for graph in Graph::ALL {
            let inputs = declared_inputs(graphs.path(graph).unwrap()).unwrap();
            let shapes = range.shapes(graph, &graphs).unwrap();
            assert_eq!(shapes.len(), inputs.len(), "{graph:?}: {shapes:?}");
        }
        let of = |graph: Graph, input: &str| {
            let shapes = range.shapes(graph, &graphs).unwrap();
            let range = shapes.into_iter().find(|range| range.input == input).unwrap();
            (range.min, range.usual, range.max)
        };
        let delta = of(Graph::Dual, "infusion.delta");
        let width = delta.1[1];
        assert_eq!(of(Graph::Dual, "sample"), (vec![4, 4, 8, 8], vec![4, 4, 8, 16], vec![8, 4, 16, 16]));
        assert_eq!(of(Graph::Dual, "infusion.mask"), (vec![2, 77, 8], vec![2, 77, 8], vec![4, 154, 8]));
        assert!(delta == (vec![8, width], vec![8, width], vec![8, width]) && width > 0, "{delta:?}");
        assert_eq!(of(Graph::Shared, "infusion.rows"), (vec![1], vec![1], vec![2]));
        let (min, usual, max) = of(Graph::C, "infusion.0.probs");
        assert_eq!((min[2] * 2, min[2] * 4), (usual[2], max[2]), "as many queries as the latents have places");
        assert_eq!((usual[0], usual[3], max[0], max[3]), (2, 77, 4, 154));
    }

    #[test]
    fn what_lies_outside_of_an_engines_range_is_refused() {
        let provider: ProviderSpec = "tensorrt:pixels=512-768".parse().unwrap();
        let error = SizeRange::of(SIZES, &provider).unwrap_err().to_string();
        assert!(error.contains("pixels=512-768") && error.contains("64 pixels are to be run"), "{error}");
        let exact = SizeRange::of(SIZES, &ProviderSpec::default()).unwrap();
        assert_eq!((exact.min, exact.max), (SIZES, SIZES));
    }

    #[test]
    fn slots_come_in_eights() {
        assert_eq!([0, 1, 8, 9].map(padded_slots), [8, 8, 8, 16]);
    }
}
