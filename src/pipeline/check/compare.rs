//! One model on the provider and on the CPU.

use std::time::Instant;

use super::case::Case;
use super::{Check, Checked, Compared, MapsKept};
use crate::pipeline::graphs::Graph;
use crate::pipeline::unet::OURS;
use crate::pipeline::{Error, Result};
use crate::runtime::{self, ElementType, Feed, Fetch, ProviderKind, Session, SessionOptions, Tensor, TensorSpec};

/// Differences that rounding explains, relative to an output's largest element: of fp32, of operands that
/// are rounded to TF32's 10 bits, and of half precision.
const TOLERANCE: f32 = 1e-3;
const TF32_TOLERANCE: f32 = 1e-2;
const HALF_TOLERANCE: f32 = 3e-2;

impl Check<'_> {
    pub(super) fn compare(&mut self, case: &Case, graph: Graph) -> Result<()> {
        let expected = on_cpu(case)?;
        let effect = effect_on_cpu(case, &expected)?;
        let outcome = match self.on_provider(case, graph, &expected, effect) {
            // It is the same for every model.
            Err(Error::Runtime(error @ runtime::Error::Provider { .. })) => return Err(error.into()),
            outcome => outcome.map_err(|error| error.to_string()),
        };
        if graph == Graph::F {
            self.maps = expected.into_iter().filter(|(name, _)| name.starts_with(OURS)).collect();
        }
        let checked = Checked { name: case.name.clone(), file: case.file.clone(), outcome };
        (self.told)(&checked);
        self.done.push(checked);
        Ok(())
    }

    fn on_provider(
        &mut self,
        case: &Case,
        graph: Graph,
        expected: &[(String, Tensor)],
        effect: Option<f32>,
    ) -> Result<Compared> {
        let options = SessionOptions {
            provider: self.provider.clone(),
            shapes: case.shapes.clone(),
            record: case.record,
            ..self.options.session.clone()
        };
        let started = Instant::now();
        let session = Session::open(&case.prepared, &options)?;
        let load_s = started.elapsed().as_secs_f64();

        let started = Instant::now();
        let mut outputs = session.run_fetching(&self.feeds(case), |name| match name.ends_with(".probs") {
            true => Fetch::Device,
            false => Fetch::Host,
        })?;
        let first_run_s = started.elapsed().as_secs_f64();
        let mut difference = 0.0_f32;
        self.device_maps.clear();
        for (name, wanted) in expected {
            let found = match name.ends_with(".probs") {
                true => {
                    let map = outputs.take_device(name)?;
                    let found = map.to_tensor()?;
                    self.device_maps.push((name.clone(), map));
                    found
                }
                false => outputs.take(name)?,
            };
            difference = difference.max(apart(found, wanted));
        }
        let mut run_s = first_run_s;
        if let Some((name, wanted)) = expected.first().filter(|_| graph != Graph::C) {
            let (found, seconds) = resident(&session, case, name, wanted.shape())?;
            difference = difference.max(apart(found, wanted));
            run_s = seconds;
        }
        let tolerance = tolerance_beside(effect, self.tolerance(session.outputs().iter().cloned()));
        let assignment = session.assignment().cloned();
        Ok(Compared { difference, tolerance, load_s, first_run_s, run_s, assignment, maps: self.maps_kept() })
    }

    fn maps_kept(&self) -> Option<MapsKept> {
        let on_host = self.device_maps.first()?.1.is_on_host();
        Some(MapsKept { bytes: self.device_maps.iter().map(|(_, map)| map.byte_count()).sum(), on_host })
    }

    /// The case's feeds, with maps that are on the device already from there.
    fn feeds<'c>(&'c self, case: &'c Case) -> Vec<(&'c str, Feed<'c>)> {
        let kept = |name: &str| self.device_maps.iter().find(|(known, _)| known == name);
        let feeds = case.feeds.iter().map(|(name, tensor)| match kept(name) {
            Some((_, map)) => (name.as_str(), Feed::from(map)),
            None => (name.as_str(), Feed::from(tensor)),
        });
        feeds.collect()
    }

    /// What rounding explains of a model with such tensors.
    pub(super) fn tolerance(&self, mut tensors: impl Iterator<Item = TensorSpec>) -> f32 {
        let says = |option: &str, word: &str| self.provider.option(option).is_some_and(|text| text == word);
        let half = tensors.any(|tensor| tensor.element_type == ElementType::F16);
        match self.provider.kind {
            _ if half || says("fp16", "yes") || says("bf16", "yes") || says("precision", "fp16") => HALF_TOLERANCE,
            ProviderKind::CoreMl | ProviderKind::OpenVino => HALF_TOLERANCE,
            ProviderKind::TensorRt => TF32_TOLERANCE,
            ProviderKind::Cuda if !says("tf32", "no") => TF32_TOLERANCE,
            _ => TOLERANCE,
        }
    }
}

/// Every output of the model as it is, on the CPU, in its order.
fn on_cpu(case: &Case) -> Result<Vec<(String, Tensor)>> {
    let session = Session::open(&case.file, &SessionOptions::default())?;
    let feeds: Vec<(&str, &Tensor)> = case.feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut outputs = session.run(&feeds)?;
    session.outputs().iter().map(|spec| Ok((spec.name.clone(), outputs.take(&spec.name)?))).collect()
}

/// How far the first output is from that without Δ, where the model takes one.
fn effect_on_cpu(case: &Case, expected: &[(String, Tensor)]) -> Result<Option<f32>> {
    let mask = format!("{OURS}mask");
    let closed = case.feeds.iter().find(|(name, _)| *name == mask);
    let (Some((_, mask_fed)), Some((output, wanted))) = (closed, expected.first()) else { return Ok(None) };
    let closed = Tensor::filled(mask_fed.shape(), mask_fed.element_type(), 0.0);
    let session = Session::open(&case.file, &SessionOptions::default())?;
    let feeds = case.feeds.iter().map(|(name, tensor)| (name.as_str(), if *name == mask { &closed } else { tensor }));
    let feeds: Vec<(&str, &Tensor)> = feeds.collect();
    Ok(Some(apart(session.run(&feeds)?.take(output)?, wanted)))
}

/// The tolerance beside a concept of this effect: a provider that takes Δ for a constant is off by all of it.
pub(super) fn tolerance_beside(effect: Option<f32>, tolerance: f32) -> f32 {
    effect.map_or(tolerance, |effect| tolerance.min(effect / 2.0))
}

/// The first output after other numbers were fed in between, and the seconds of its run: what stays on the
/// device must follow what is fed.
fn resident(session: &Session, case: &Case, output: &str, shape: &[usize]) -> Result<(Tensor, f64)> {
    let feeds: Vec<(&str, &Tensor)> = case.feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut others = feeds.clone();
    let halved = case.feeds.iter().position(|(_, tensor)| tensor.element_type().is_float() && tensor.shape().len() > 1);
    let other = halved.map(|position| {
        let (_, tensor) = &case.feeds[position];
        Tensor::from(tensor.clone().into_f32() * 0.5).cast(tensor.element_type())
    });
    if let (Some(position), Some(other)) = (halved, &other) {
        others[position].1 = other;
    }
    session.run_resident(&feeds, output, shape)?;
    session.run_resident(&others, output, shape)?;
    let started = Instant::now();
    let found = session.run_resident(&feeds, output, shape)?;
    Ok((found, started.elapsed().as_secs_f64()))
}

/// The largest difference, relative to the largest element; infinite where the shapes differ or a number is
/// none.
pub(super) fn apart(found: Tensor, expected: &Tensor) -> f32 {
    let (found, expected) = (found.into_f32(), expected.clone().into_f32());
    if found.shape() != expected.shape() {
        return f32::INFINITY;
    }
    let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let differences = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    let most = differences.fold(0.0_f32, |most, it| if it.is_nan() { f32::INFINITY } else { most.max(it) });
    if most == 0.0 { 0.0 } else { most / largest }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ndarray::arr1;

    use super::*;

    #[test]
    fn differences_are_relative_and_never_lost() {
        let expected = Tensor::from(arr1(&[1.0_f32, -4.0]));
        assert_eq!(apart(Tensor::from(arr1(&[1.0_f32, -3.0])), &expected), 0.25);
        assert_eq!(apart(expected.clone(), &expected), 0.0);
        assert_eq!(apart(Tensor::from(arr1(&[f32::NAN, -4.0])), &expected), f32::INFINITY);
        assert_eq!(apart(Tensor::from(arr1(&[1.0_f32])), &expected), f32::INFINITY);
    }

    #[test]
    fn a_concept_without_effect_never_passes() {
        assert_eq!(tolerance_beside(None, HALF_TOLERANCE), HALF_TOLERANCE);
        assert_eq!(tolerance_beside(Some(1.0), HALF_TOLERANCE), HALF_TOLERANCE);
        let effect = 1e-2;
        assert!(tolerance_beside(Some(effect), HALF_TOLERANCE) < effect);
    }

    #[test]
    fn a_model_passes_within_its_tolerance_only() {
        let compared = |difference: f32| Compared {
            difference,
            tolerance: TOLERANCE,
            load_s: 0.0,
            first_run_s: 0.0,
            run_s: 0.0,
            assignment: None,
            maps: None,
        };
        let checked = |outcome| Checked { name: "unet".to_owned(), file: PathBuf::new(), outcome };
        assert!(checked(Ok(compared(1e-4))).passed());
        assert!(!checked(Ok(compared(2e-3))).passed() && !checked(Ok(compared(f32::NAN))).passed());
        assert!(!checked(Err("no kernel".to_owned())).passed());
    }
}
