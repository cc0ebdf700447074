use std::collections::BTreeMap;
use std::path::Path;

use super::{Dim, Error, Result, TensorSpec};
use crate::onnx::Model;

/// The lengths that an input takes: the smallest, the usual and the largest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ShapeRange {
    pub input: String,
    pub min: Vec<usize>,
    pub usual: Vec<usize>,
    pub max: Vec<usize>,
}

impl ShapeRange {
    /// An input that has one shape only.
    pub fn exact(input: impl Into<String>, shape: &[usize]) -> Self {
        Self { input: input.into(), min: shape.to_owned(), usual: shape.to_owned(), max: shape.to_owned() }
    }
}

/// What is known of a session's shapes before it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Free axes that have one length only, by the model's names for them.
    pub fixed: BTreeMap<String, usize>,
    /// Inputs of which some axis stays free.
    pub ranges: Vec<ShapeRange>,
}

impl Settled {
    /// Compares the inputs that a model declares with the lengths that they will take.
    pub fn of(inputs: &[TensorSpec], shapes: &[ShapeRange]) -> Self {
        let mut lengths: BTreeMap<&str, Option<usize>> = BTreeMap::new();
        for (spec, range) in pairs(inputs, shapes) {
            for (axis, dim) in spec.dims.iter().enumerate() {
                let Dim::Symbolic(name) = dim else { continue };
                let own = exact_length(range, axis);
                let known = lengths.entry(name).or_insert(own);
                if *known != own {
                    *known = None;
                }
            }
        }
        let named = lengths.into_iter().filter(|(name, _)| !name.is_empty());
        let fixed: BTreeMap<String, usize> =
            named.filter_map(|(name, length)| Some((name.to_owned(), length?))).collect();
        let is_free = |dim: &Dim| matches!(dim, Dim::Symbolic(name) if !fixed.contains_key(name));
        let free = pairs(inputs, shapes).filter(|(spec, _)| spec.dims.iter().any(is_free));
        let ranges = free.map(|(_, range)| range.clone()).collect();
        Self { fixed, ranges }
    }
}

fn pairs<'a>(
    inputs: &'a [TensorSpec],
    shapes: &'a [ShapeRange],
) -> impl Iterator<Item = (&'a TensorSpec, &'a ShapeRange)> {
    let range =
        |spec: &TensorSpec| shapes.iter().find(|range| range.input == spec.name && range.usual.len() == spec.rank());
    inputs.iter().filter_map(move |spec| Some((spec, range(spec)?)))
}

fn exact_length(range: &ShapeRange, axis: usize) -> Option<usize> {
    let length = *range.usual.get(axis)?;
    (range.min.get(axis) == Some(&length) && range.max.get(axis) == Some(&length)).then_some(length)
}

/// The inputs that the model at `path` declares, without loading it; those with a default come last.
///
/// # Errors
/// The file is no model, or an input is no tensor of a type that is supported.
pub fn declared_inputs(path: &Path) -> Result<Vec<TensorSpec>> {
    let refused = |reason: String| Error::Open { model: path.to_owned(), reason };
    let model = Model::open(path).map_err(|error| refused(error.to_string()))?;
    let defaults = model.graph.initializers();
    let optional = |name: &str| defaults.contains_key(name);
    let (later, first): (Vec<_>, Vec<_>) = model.graph.inputs().iter().partition(|input| optional(input.name()));
    let specs = first.into_iter().chain(later).map(|input| {
        let spec = TensorSpec::from_proto(input, optional(input.name()));
        spec.map_err(|reason| refused(format!("input '{}' {reason}", input.name())))
    });
    specs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::ElementType;

    fn spec(name: &str, dims: &[&str]) -> TensorSpec {
        let dim = |text: &&str| match text.parse() {
            Ok(length) => Dim::Fixed(length),
            Err(_) => Dim::Symbolic((*text).to_owned()),
        };
        let dims = dims.iter().map(dim).collect();
        TensorSpec { name: name.to_owned(), element_type: ElementType::F32, dims, optional: false }
    }

    #[test]
    fn axes_of_one_length_are_fixed_by_name_and_the_others_keep_their_range() {
        let inputs = [spec("sample", &["rows", "4", "h", "w"]), spec("context", &["rows", "tokens", "768"])];
        let tokens = |length: usize| vec![2, length, 768];
        let context = ShapeRange { input: "context".to_owned(), min: tokens(77), usual: tokens(77), max: tokens(231) };
        let settled = Settled::of(&inputs, &[ShapeRange::exact("sample", &[2, 4, 64, 32]), context.clone()]);
        let expected = [("h", 64), ("rows", 2), ("w", 32)].map(|(name, length)| (name.to_owned(), length));
        assert_eq!(settled.fixed, BTreeMap::from(expected));
        assert_eq!(settled.ranges, [context]);
    }

    #[test]
    fn a_name_that_stands_for_two_lengths_and_an_axis_without_a_name_stay_free() {
        let inputs = [spec("a", &["n", "4"]), spec("b", &["n", "4"]), spec("c", &["", "4"])];
        let shapes = [("a", 1), ("b", 2), ("c", 3)].map(|(name, rows)| ShapeRange::exact(name, &[rows, 4]));
        let settled = Settled::of(&inputs, &shapes);
        assert!(settled.fixed.is_empty());
        assert_eq!(settled.ranges, shapes);
    }
}
