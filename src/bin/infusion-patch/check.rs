use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Error, Result, bail, ensure};
use half::f16;
use infusion::patch::{Layer, Manifest, Variant};
use infusion::runtime::{Dim, ElementType, Session, SessionOptions, Tensor, TensorSpec};
use ndarray::{ArrayD, Axis, Ix2, Ix3, IxDyn, concatenate, s};

use crate::args::CheckArguments;

/// Sizes of axes that the export leaves free: small, and divisible by a UNet's 8-fold reduction.
const ROWS: usize = 1;
const LATENT: usize = 8;
const TOKENS: usize = 77;

/// The differences that rounding explains, relative to the largest element; the contract's.
const TOLERANCE: f32 = 2e-4;
const HALF_TOLERANCE: f32 = 2e-2;
/// Of eight-bit models: c's product of maps and values is no integer arithmetic.
const QUANTISED_TOLERANCE: f32 = 0.2;

/// The token that the made-up concept stands at.
const CONCEPT_TOKEN: usize = 5;

type Tensors = BTreeMap<String, Tensor>;

pub fn run(arguments: &CheckArguments) -> Result<()> {
    for model in &arguments.models {
        let folder = arguments.output.as_deref().unwrap_or_else(|| model.parent().unwrap_or(Path::new("")));
        let stem = model.file_stem().unwrap_or_default().to_string_lossy();
        let path = folder.join(Manifest::file_name(&stem));
        let text = std::fs::read(&path).with_context(|| format!("{}: patch the model first", path.display()))?;
        let manifest = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        check(model, folder, &manifest)?;
    }
    Ok(())
}

/// Runs the source and its patched graphs on random input and prints the largest differences: without a
/// concept all are the source; with one, `dual` and `shared` are `f` followed by `c`.
pub fn check(source: &Path, folder: &Path, manifest: &Manifest) -> Result<()> {
    let session = open(source)?;
    let feeds: Tensors =
        session.inputs().iter().enumerate().map(|(position, spec)| made_up(position, spec)).collect::<Result<_>>()?;
    let output = session.outputs().first().context("the model has no output")?.name.clone();
    let expected = run_all(&session, &feeds)?.remove(&output).context("the model made no output")?;
    drop(session);
    let expected = floats(&expected)?;
    let graph = |variant: Variant| manifest.graphs.get(variant.name()).map(|file| folder.join(file));
    let mut found = Findings { output: &output, tolerance: tolerance(manifest), wrong: Vec::new() };
    let (mut concept, mut customised) = (None, None);
    if let Some(path) = graph(Variant::F) {
        let maps = run_all(&open(&path)?, &feeds)?;
        found.compare("f", &maps, &output, "the source", &expected)?;
        let own = MadeUpConcept::for_values(&maps, manifest)?;
        if let Some(path) = graph(Variant::C) {
            let session = open(&path)?;
            let made = run_all(&session, &c_feeds(&session, &feeds, &maps)?)?;
            found.compare("c of f's maps and values", &made, &output, "the source", &expected)?;
            let maps = own.added_to(maps)?;
            let made = run_all(&session, &c_feeds(&session, &feeds, &maps)?)?;
            let made = floats(made.get(&output).context("c made no output")?)?;
            println!("a concept of random numbers moves c by {:.1e}", difference(&made, &expected));
            customised = Some(made);
        }
        concept = Some(own);
    }
    if let Some(path) = graph(Variant::Dual) {
        let session = open(&path)?;
        let own = session.inputs().iter().map(|spec| {
            let feed = feeds.get(&spec.name).with_context(|| format!("'{}' is no input of the source", spec.name))?;
            let grows = spec.name != manifest.context && spec.rank() > 0 && spec.fixed(0).is_none();
            Ok((spec.name.clone(), if grows { doubled(feed)? } else { feed.clone() }))
        });
        let mut own = own.collect::<Result<Tensors>>()?;
        let mut compare = |own: &Tensors, reference: &str, expected_customised: &ArrayD<f32>| {
            let made = halved(run_all(&session, own)?, &output)?;
            found.compare("dual, the foundation's rows", &made, "foundation", "the source", &expected)?;
            found.compare("dual, the customised rows", &made, "customised", reference, expected_customised)
        };
        compare(&own, "the source", &expected)?;
        if let (Some(concept), Some(customised)) = (&concept, &customised) {
            own.extend(concept.feeds(&session)?);
            compare(&own, "f and c, with the concept", customised)?;
        }
    }
    if let Some(path) = graph(Variant::Shared) {
        let session = open(&path)?;
        let mut own = feeds.clone();
        let mut compare = |own: &Tensors, reference: &str, expected_customised: &ArrayD<f32>| {
            let made = run_all(&session, own)?;
            found.compare("shared", &made, &output, reference, expected_customised)?;
            found.compare("shared, the foundation", &made, "infusion.foundation", "the source", &expected)
        };
        compare(&own, "the source", &expected)?;
        if let (Some(concept), Some(customised)) = (&concept, &customised) {
            own.extend(concept.feeds(&session)?);
            compare(&own, "f and c, with the concept", customised)?;
        }
    }
    let wrong = found.wrong;
    ensure!(wrong.is_empty(), "{}: differs in {}", source.display(), wrong.join(", "));
    Ok(())
}

fn tolerance(manifest: &Manifest) -> f32 {
    let quantised = |layer: &Layer| ["int8", "qdq"].iter().any(|kind| layer.dialect.contains(kind));
    match manifest.float_type.as_str() {
        _ if manifest.layers.iter().any(quantised) => QUANTISED_TOLERANCE,
        "float16" => HALF_TOLERANCE,
        _ => TOLERANCE,
    }
}

/// What was compared, and what of it differs by more than rounding.
struct Findings<'a> {
    output: &'a str,
    tolerance: f32,
    wrong: Vec<String>,
}

impl Findings<'_> {
    fn compare(
        &mut self,
        what: &str,
        made: &Tensors,
        output: &str,
        reference: &str,
        expected: &ArrayD<f32>,
    ) -> Result<()> {
        let made = made.get(output).with_context(|| format!("{what}: it made no '{}'", self.output))?;
        let apart = difference(&floats(made)?, expected);
        let verdict = if apart <= self.tolerance { "" } else { "  too much" };
        println!("{what}: {apart:.1e} from {reference}{}{verdict}", if apart == 0.0 { ", bit for bit" } else { "" });
        if apart.is_nan() || apart > self.tolerance {
            self.wrong.push(format!("{what} from {reference}"));
        }
        Ok(())
    }
}

/// F's and C's rows of `output`, by these names.
fn halved(made: Tensors, output: &str) -> Result<Tensors> {
    let both = floats(made.get(output).context("dual made no output")?)?;
    let (foundation, customised) = both.view().split_at(Axis(0), both.len_of(Axis(0)) / 2);
    let named = [("foundation", foundation), ("customised", customised)];
    Ok(named.into_iter().map(|(name, rows)| (name.to_owned(), rows.to_owned().into())).collect())
}

/// What `c` reads, of the source's inputs and of what `f` made.
fn c_feeds(session: &Session, feeds: &Tensors, maps: &Tensors) -> Result<Tensors> {
    let either = |name: &String| feeds.get(name).or_else(|| maps.get(name)).cloned();
    let names = session.inputs().iter().map(|spec| &spec.name);
    names.map(|name| Ok((name.clone(), either(name).with_context(|| format!("f makes no '{name}'"))?))).collect()
}

/// A concept of random numbers at one token of the last row, as large as the values it is added to.
struct MadeUpConcept {
    mask: ArrayD<f32>,
    delta: ArrayD<f32>,
    /// How wide each layer's part of Δ is.
    widths: Vec<usize>,
}

impl MadeUpConcept {
    fn for_values(maps: &Tensors, manifest: &Manifest) -> Result<Self> {
        let widths: Vec<usize> = manifest.layers.iter().map(|layer| layer.width).collect();
        let first = maps.get(&value_name(0)).context("f made no values")?;
        let [rows, tokens] = [first.shape()[0], first.shape()[1]];
        let mut mask = ArrayD::zeros(IxDyn(&[rows, tokens, 1]));
        mask[IxDyn(&[rows - 1, CONCEPT_TOKEN.min(tokens - 1), 0])] = 1.0;
        let mut next = noise();
        let mut delta = Vec::with_capacity(widths.iter().sum());
        for (layer, &width) in widths.iter().enumerate() {
            let values = floats(maps.get(&value_name(layer)).context("f made no values")?)?;
            let largest = values.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
            delta.extend((0..width).map(|_| largest * next()));
        }
        let delta = ArrayD::from_shape_vec(IxDyn(&[1, delta.len()]), delta)?;
        Ok(Self { mask, delta, widths })
    }

    /// `maps` with mask · Δ added to the values.
    fn added_to(&self, mut maps: Tensors) -> Result<Tensors> {
        let mask = self.mask.view().into_dimensionality::<Ix3>()?;
        let delta = self.delta.view().into_dimensionality::<Ix2>()?;
        let mut column = 0;
        for (layer, &width) in self.widths.iter().enumerate() {
            let values = maps.get_mut(&value_name(layer)).context("f made no values")?;
            let elem = values.element_type();
            let mut customised = floats(values)?.into_dimensionality::<Ix3>()?;
            for (mut rows, weights) in customised.outer_iter_mut().zip(mask.outer_iter()) {
                rows += &weights.dot(&delta.slice(s![.., column..column + width]));
            }
            *values = Tensor::from(customised).cast(elem);
            column += width;
        }
        Ok(maps)
    }

    fn feeds(&self, session: &Session) -> Result<Vec<(String, Tensor)>> {
        let typed = |name: &str, values: &ArrayD<f32>| {
            let spec = session.input(name).with_context(|| format!("the graph has no input '{name}'"))?;
            Ok::<_, Error>((name.to_owned(), Tensor::from(values.clone()).cast(spec.element_type)))
        };
        Ok(vec![typed("infusion.mask", &self.mask)?, typed("infusion.delta", &self.delta)?])
    }
}

fn value_name(layer: usize) -> String {
    format!("infusion.{layer}.value")
}

fn open(path: &Path) -> Result<Session> {
    Ok(Session::open(path, &SessionOptions::default())?)
}

fn run_all(session: &Session, feeds: &Tensors) -> Result<Tensors> {
    let feeds: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut outputs = session.run(&feeds)?;
    session.outputs().iter().map(|spec| Ok((spec.name.clone(), outputs.take(&spec.name)?))).collect()
}

/// An input by name. Free extents of a ControlNet's residuals depend on their layers, which this does not
/// know: one element serves all, since residuals are added.
fn made_up(position: usize, spec: &TensorSpec) -> Result<(String, Tensor)> {
    let extent = if position == 0 { LATENT } else { 1 };
    Ok((spec.name.clone(), random(spec, extent)?))
}

/// Numbers in −1…1, the same at every run; timesteps are 500.
fn random(spec: &TensorSpec, extent: usize) -> Result<Tensor> {
    let length = |(axis, dim): (usize, &Dim)| match (dim, axis, spec.rank()) {
        (Dim::Fixed(length), ..) => *length,
        (Dim::Symbolic(_), 0, _) => ROWS,
        (Dim::Symbolic(_), _, 3) => TOKENS,
        (Dim::Symbolic(_), ..) => extent,
    };
    let shape: Vec<usize> = spec.dims.iter().enumerate().map(length).collect();
    let mut next = noise();
    let values = if spec.rank() < 2 {
        ArrayD::from_elem(IxDyn(&shape), 500.0)
    } else {
        ArrayD::from_shape_simple_fn(IxDyn(&shape), &mut next)
    };
    Ok(match spec.element_type {
        ElementType::F32 => values.into(),
        ElementType::F16 => values.mapv(f16::from_f32).into(),
        ElementType::F64 => values.mapv(f64::from).into(),
        ElementType::I64 => values.mapv(|x| x as i64).into(),
        ElementType::I32 => values.mapv(|x| x as i32).into(),
        other => bail!("input '{}' has {other} elements, which this check does not make up", spec.name),
    })
}

/// A source of numbers in −1…1.
fn noise() -> impl FnMut() -> f32 {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn doubled(tensor: &Tensor) -> Result<Tensor> {
    Ok(match tensor {
        Tensor::F32(array) => concatenate(Axis(0), &[array.view(), array.view()])?.into(),
        Tensor::F16(array) => concatenate(Axis(0), &[array.view(), array.view()])?.into(),
        Tensor::F64(array) => concatenate(Axis(0), &[array.view(), array.view()])?.into(),
        Tensor::I64(array) => concatenate(Axis(0), &[array.view(), array.view()])?.into(),
        Tensor::I32(array) => concatenate(Axis(0), &[array.view(), array.view()])?.into(),
        other => bail!("{} rows cannot be doubled", other.element_type()),
    })
}

fn floats(tensor: &Tensor) -> Result<ArrayD<f32>> {
    Ok(match tensor {
        Tensor::F32(array) => array.clone(),
        Tensor::F16(array) => array.mapv(f16::to_f32),
        Tensor::F64(array) => array.mapv(|x| x as f32),
        other => bail!("an output has {} elements", other.element_type()),
    })
}

/// The largest difference, relative to the largest element; infinite where the shapes differ.
fn difference(found: &ArrayD<f32>, expected: &ArrayD<f32>) -> f32 {
    if found.shape() != expected.shape() {
        return f32::INFINITY;
    }
    let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let apart = apart.fold(0.0, |most: f32, x| if x.is_nan() { f32::INFINITY } else { most.max(x) });
    let largest = expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    if apart == 0.0 { 0.0 } else { apart / largest }
}
