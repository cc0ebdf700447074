use std::collections::HashMap;
use std::ops::Range;

use ndarray::{Array3, Axis, Ix3, concatenate, s};

use crate::pipeline::heat::HeatCollector;
use crate::pipeline::injection::Injection;
use crate::pipeline::unet::{OURS, Rows, UnetModel};
use crate::pipeline::{Error, Result};
use crate::runtime::{DeviceTensor, Feed, Fetch, Outputs, Tensor};
use crate::schedulers::Latents;

use super::plain::in_groups;
use super::{Plain, Separate, Shared, StepContext};

/// `f`, then `c` with `f`'s maps, which stay in the memory of the device.
///
/// Values depend on the prompt alone, so they are fetched and added to once, at the first step.
#[derive(Debug)]
pub(in crate::pipeline) struct TwoGraphs {
    f: UnetModel,
    c: UnetModel,
    plain: Plain,
    layers: usize,
    /// V `[rows, L, d]` of each layer, by the group's first row.
    values: HashMap<usize, Vec<Array3<f32>>>,
    /// V̄ as `c` wants it, by variation (`None`: Δ is zero) and the group's first row.
    injected: HashMap<(Option<usize>, usize), Vec<Tensor>>,
}

impl TwoGraphs {
    pub fn new(f: UnetModel, c: UnetModel, layers: usize) -> Self {
        let plain = Plain::new(f.clone());
        Self { f, c, plain, layers, values: HashMap::new(), injected: HashMap::new() }
    }

    /// Runs `f` for some rows and returns their noise and maps.
    fn foundation(&mut self, rows: Rows<'_>, first: usize) -> Result<(Latents, Vec<DeviceTensor>)> {
        let feeds = self.f.feeds(rows);
        let feeds: Vec<(&str, Feed<'_>)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor.into())).collect();
        let values_known = self.values.contains_key(&first);
        let fetch = |name: &str| match name.strip_prefix(OURS) {
            Some(ours) if ours.ends_with(".probs") => Fetch::Device,
            Some(_) if values_known => Fetch::Skip,
            Some(_) => Fetch::Host,
            None if name == self.f.output() => Fetch::Host,
            None => Fetch::Skip,
        };
        let mut outputs = self.f.session.run_fetching(&feeds, fetch)?;
        let noise = self.f.latents(outputs.take(self.f.output())?)?;
        if !values_known {
            let values = self.take_values(&mut outputs)?;
            self.values.insert(first, values);
        }
        let probs = (0..self.layers).map(|layer| outputs.take_device(&probs_name(layer)));
        Ok((noise, probs.collect::<Result<_, _>>()?))
    }

    fn take_values(&self, outputs: &mut Outputs) -> Result<Vec<Array3<f32>>> {
        let wrong = |error: ndarray::ShapeError| Error::model(self.f.session.model(), format!("values: {error}"));
        let values = (0..self.layers)
            .map(|layer| outputs.take(&value_name(layer))?.into_f32().into_dimensionality::<Ix3>().map_err(wrong));
        values.collect()
    }

    /// Makes V̄ of a variation for a group of rows, once.
    fn inject(&mut self, injection: Option<(usize, &Injection)>, first: usize) -> Result<(Option<usize>, usize)> {
        let key = (injection.map(|(variation, _)| variation), first);
        if self.injected.contains_key(&key) {
            return Ok(key);
        }
        let known = self.values.get(&first).map(Vec::as_slice).unwrap_or_default();
        let tensors = known.iter().enumerate().map(|(layer, values)| {
            let injected = match injection {
                Some((_, injection)) => injection.values(layer, first, values.view()),
                None => values.clone(),
            };
            let spec = self.c.session.input(&value_name(layer));
            let spec =
                spec.ok_or_else(|| Error::model(self.c.session.model(), format!("has no {}", value_name(layer))))?;
            Ok(Tensor::from(injected).cast(spec.element_type))
        });
        let tensors = tensors.collect::<Result<_>>()?;
        self.injected.insert(key, tensors);
        Ok(key)
    }

    /// Runs `c` for some rows, with the maps of the same rows of F.
    fn customised(&self, rows: Rows<'_>, probs: &[DeviceTensor], values: (Option<usize>, usize)) -> Result<Latents> {
        let feeds = self.c.feeds(rows);
        let mut feeds: Vec<(&str, Feed<'_>)> =
            feeds.iter().map(|(name, tensor)| (name.as_str(), tensor.into())).collect();
        let names: Vec<(String, String)> =
            (0..self.layers).map(|layer| (probs_name(layer), value_name(layer))).collect();
        let values = self.injected.get(&values).map(Vec::as_slice).unwrap_or_default();
        for ((probs_name, value_name), (probs, value)) in names.iter().zip(probs.iter().zip(values)) {
            feeds.push((probs_name, probs.into()));
            feeds.push((value_name, value.into()));
        }
        let output = self.c.output();
        let fetch = |name: &str| if name == output { Fetch::Host } else { Fetch::Skip };
        self.c.latents(self.c.session.run_fetching(&feeds, fetch)?.take(output)?)
    }
}

impl Separate for TwoGraphs {
    fn predict(
        &mut self,
        foundation: &Latents,
        customised: &[Latents],
        step: &StepContext<'_>,
        mut heat: Option<&mut HeatCollector>,
    ) -> Result<(Latents, Vec<Latents>)> {
        let mut parts: Vec<Vec<Latents>> = vec![Vec::new(); customised.len()];
        let f = self.f.clone();
        let noise = in_groups(&f, foundation.shape()[0], |group| {
            let context = step.context.slice(s![group.clone(), .., ..]).to_owned();
            let (noise, probs) = self.foundation(rows(foundation, &context, &group, step).view(), group.start)?;
            if let Some(heat) = heat.as_deref_mut() {
                heat.add(&probs, &group)?;
            }
            for (variation, latents) in customised.iter().enumerate() {
                let injection = step.open.then(|| (variation, &step.injections[variation]));
                let values = self.inject(injection, group.start)?;
                let owned = rows(latents, &context, &group, step);
                parts[variation].push(self.customised(owned.view(), &probs, values)?);
            }
            Ok(noise)
        })?;
        let joined = parts.iter().map(|groups| {
            let views: Vec<_> = groups.iter().map(|group| group.view()).collect();
            concatenate(Axis(0), &views).map_err(|error| Error::model(self.c.session.model(), error.to_string()))
        });
        Ok((noise, joined.collect::<Result<_>>()?))
    }
}

impl Shared for TwoGraphs {
    fn predict(
        &mut self,
        variation: usize,
        latents: &Latents,
        prompt_rows: Range<usize>,
        step: &StepContext<'_>,
        heat: Option<&mut HeatCollector>,
    ) -> Result<Latents> {
        if self.f.fixed_rows().is_some() {
            let (_, mut customised) = self.predict_all(variation, latents, step, heat)?;
            return Ok(customised.swap_remove(0));
        }
        let mut noise = Latents::zeros(latents.dim());
        if prompt_rows.start > 0 {
            let others = 0..prompt_rows.start;
            let unconditional = latents.slice(s![others.clone(), .., .., ..]).to_owned();
            let context = step.context.slice(s![others.clone(), .., ..]).to_owned();
            let predicted = self.plain.predict(&unconditional, &StepContext { context: &context, ..*step })?;
            noise.slice_mut(s![others, .., .., ..]).assign(&predicted);
        }
        let context = step.context.slice(s![prompt_rows.clone(), .., ..]).to_owned();
        let owned = rows(latents, &context, &prompt_rows, step);
        let (_, probs) = self.foundation(owned.view(), prompt_rows.start)?;
        if let Some(heat) = heat {
            heat.add(&probs, &prompt_rows)?;
        }
        let values = self.inject(Some((variation, &step.injections[variation])), prompt_rows.start)?;
        let predicted = self.customised(owned.view(), &probs, values)?;
        noise.slice_mut(s![prompt_rows, .., .., ..]).assign(&predicted);
        Ok(noise)
    }
}

impl TwoGraphs {
    /// Both streams on the same latents, for exports whose number of rows is fixed.
    fn predict_all(
        &mut self,
        variation: usize,
        latents: &Latents,
        step: &StepContext<'_>,
        heat: Option<&mut HeatCollector>,
    ) -> Result<(Latents, Vec<Latents>)> {
        self.injected.clear();
        let injections = std::slice::from_ref(&step.injections[variation]);
        Separate::predict(self, latents, std::slice::from_ref(latents), &StepContext { injections, ..*step }, heat)
    }
}

/// Rows of a run that own their sample.
struct OwnedRows<'a> {
    sample: Latents,
    context: &'a Array3<f32>,
    step: &'a StepContext<'a>,
}

impl OwnedRows<'_> {
    fn view(&self) -> Rows<'_> {
        Rows {
            sample: &self.sample,
            context: self.context,
            timestep: self.step.timestep,
            guidance_scale: self.step.guidance_scale,
        }
    }
}

fn rows<'a>(
    latents: &Latents,
    context: &'a Array3<f32>,
    group: &Range<usize>,
    step: &'a StepContext<'a>,
) -> OwnedRows<'a> {
    OwnedRows { sample: latents.slice(s![group.clone(), .., .., ..]).to_owned(), context, step }
}

fn probs_name(layer: usize) -> String {
    format!("{OURS}{layer}.probs")
}

fn value_name(layer: usize) -> String {
    format!("{OURS}{layer}.value")
}
