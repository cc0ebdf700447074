use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use half::f16;
use infusion::patch::{Manifest, Variant};
use infusion::runtime::{Dim, ElementType, Session, SessionOptions, Tensor, TensorSpec};
use ndarray::{ArrayD, Axis, IxDyn, concatenate};

use crate::args::CheckArguments;

/// Sizes of axes that the export leaves free: small, and divisible by a UNet's 8-fold reduction.
const ROWS: usize = 1;
const LATENT: usize = 8;
const TOKENS: usize = 77;

/// The differences that rounding explains, relative to the largest element; the contract's.
const TOLERANCE: f32 = 2e-4;
const HALF_TOLERANCE: f32 = 2e-2;

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

/// Runs the source and its patched graphs on random input and prints the largest differences.
pub fn check(source: &Path, folder: &Path, manifest: &Manifest) -> Result<()> {
    let session = open(source)?;
    let feeds: Tensors =
        session.inputs().iter().enumerate().map(|(position, spec)| made_up(position, spec)).collect::<Result<_>>()?;
    let output = &session.outputs().first().context("the model has no output")?.name.clone();
    let expected = run_all(&session, &feeds)?.remove(output).context("the model made no output")?;
    drop(session);
    let expected = floats(&expected)?;
    let tolerance = if manifest.float_type == "float16" { HALF_TOLERANCE } else { TOLERANCE };
    let mut wrong = Vec::new();
    let mut compare = |what: &str, found: &Tensor| -> Result<()> {
        let apart = difference(&floats(found)?, &expected);
        let verdict = if apart <= tolerance { "" } else { "  too much" };
        println!("{what}: {apart:.1e} from the source{}{verdict}", if apart == 0.0 { ", bit for bit" } else { "" });
        if apart.is_nan() || apart > tolerance {
            wrong.push(what.to_owned());
        }
        Ok(())
    };
    let graph = |variant: Variant| manifest.graphs.get(variant.name()).map(|file| folder.join(file));
    let mut maps = None;
    if let Some(path) = graph(Variant::F) {
        let made = run_all(&open(&path)?, &feeds)?;
        compare("f", made.get(output).context("f made no output")?)?;
        maps = Some(made);
    }
    if let (Some(path), Some(maps)) = (graph(Variant::C), maps) {
        let session = open(&path)?;
        let either = |name: &String| feeds.get(name).or_else(|| maps.get(name)).cloned();
        let names = session.inputs().iter().map(|spec| &spec.name);
        let own = names.map(|name| Ok((name.clone(), either(name).with_context(|| format!("f makes no '{name}'"))?)));
        let made = run_all(&session, &own.collect::<Result<Tensors>>()?)?;
        compare("c of f's maps and values", made.get(output).context("c made no output")?)?;
    }
    if let Some(path) = graph(Variant::Dual) {
        let session = open(&path)?;
        let own = session.inputs().iter().map(|spec| {
            let feed = feeds.get(&spec.name).with_context(|| format!("'{}' is no input of the source", spec.name))?;
            let grows = spec.name != manifest.context && spec.rank() > 0 && spec.fixed(0).is_none();
            Ok((spec.name.clone(), if grows { doubled(feed)? } else { feed.clone() }))
        });
        let made = run_all(&session, &own.collect::<Result<Tensors>>()?)?;
        let both = floats(made.get(output).context("dual made no output")?)?;
        let (foundation, customised) = both.view().split_at(Axis(0), both.len_of(Axis(0)) / 2);
        compare("dual, the foundation's rows", &foundation.to_owned().into())?;
        compare("dual, the customised rows", &customised.to_owned().into())?;
    }
    if let Some(path) = graph(Variant::Shared) {
        let made = run_all(&open(&path)?, &feeds)?;
        compare("shared", made.get(output).context("shared made no output")?)?;
        compare("shared, the foundation", made.get("infusion.foundation").context("shared made no foundation")?)?;
    }
    ensure!(wrong.is_empty(), "{}: differs from its source in {}", source.display(), wrong.join(", "));
    Ok(())
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
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
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
