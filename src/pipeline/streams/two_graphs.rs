use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ndarray::{Array3, Axis, Ix3, concatenate};

use crate::pipeline::heat::HeatCollector;
use crate::pipeline::injection::Injection;
use crate::pipeline::rows::Rows;
use crate::pipeline::unet::{OURS, UnetModel};
use crate::pipeline::{Error, Result};
use crate::runtime::{DeviceTensor, Feed, Fetch, Outputs, Tensor};
use crate::schedulers::Latents;

use super::plain::in_groups;
use super::{Plain, Separate, Shared, StepContext};

/// `f`, then `c` with `f`'s maps, which stay in the memory of the device.
///
/// Values depend on the prompt alone, so they are fetched and added to once, at the first step, and stay on
/// the device from there on, as does the context. The first step also tells how large the maps are, so that
/// sessions that record CUDA graphs can replay the later ones.
#[derive(Debug)]
pub(in crate::pipeline) struct TwoGraphs {
    f: UnetModel,
    c: UnetModel,
    plain: Plain,
    layers: usize,
    /// V `[rows, L, d]` of each layer, by the group's first row.
    values: HashMap<usize, Vec<Array3<f32>>>,
    /// V̄ as `c` wants it, by variation (`None`: Δ is zero) and the group's first row.
    injected: HashMap<(Option<usize>, usize), Vec<DeviceTensor>>,
    /// The context as `f` wants it, by the group's first row.
    contexts: HashMap<usize, DeviceTensor>,
    /// The shapes of the maps, by the group's first row.
    map_shapes: HashMap<usize, Vec<Vec<usize>>>,
}

impl TwoGraphs {
    pub fn new(f: UnetModel, c: UnetModel, layers: usize) -> Self {
        let plain = Plain::new(f.clone());
        let (values, injected, contexts, map_shapes) = Default::default();
        Self { f, c, plain, layers, values, injected, contexts, map_shapes }
    }

    /// The model of F's stream.
    pub fn foundation_model(&self) -> &UnetModel {
        &self.f
    }

    /// Runs `f` for some rows and returns their noise and maps.
    fn foundation(&mut self, rows: Rows<'_>, first: usize) -> Result<(Latents, Vec<DeviceTensor>)> {
        let feeds = self.f.feeds(rows);
        let context = feeds.iter().find(|(name, _)| Some(name.as_str()) == self.f.context());
        if let (Some((_, context)), Entry::Vacant(place)) = (context, self.contexts.entry(first)) {
            place.insert(self.f.session.upload(context)?);
        }
        let kept = self.contexts.get(&first);
        let named = feeds.iter().map(|(name, tensor)| match kept {
            Some(context) if Some(name.as_str()) == self.f.context() => (name.as_str(), Feed::from(context)),
            _ => (name.as_str(), Feed::from(tensor)),
        });
        let feeds: Vec<(&str, Feed<'_>)> = named.collect();
        if !self.map_shapes.contains_key(&first) {
            let mut outputs = self.f.session.run_fetching(&feeds, |name| self.fetch_first(name))?;
            let values = self.take_values(&mut outputs)?;
            self.values.insert(first, values);
            let (noise, probs) = self.noise_and_maps(outputs)?;
            self.map_shapes.insert(first, probs.iter().map(|map| map.shape().to_owned()).collect());
            if !self.f.session.records() {
                return Ok((noise, probs));
            }
        }
        let maps = self.map_shapes.get(&first).map(Vec::as_slice).unwrap_or_default();
        self.noise_and_maps(self.foundation_again(&feeds, rows.sample.shape(), maps)?)
    }

    fn noise_and_maps(&self, mut outputs: Outputs) -> Result<(Latents, Vec<DeviceTensor>)> {
        let noise = self.f.latents(outputs.take(self.f.output())?)?;
        let probs = (0..self.layers).map(|layer| outputs.take_device(&probs_name(layer)));
        Ok((noise, probs.collect::<Result<_, _>>()?))
    }

    /// What becomes of `f`'s outputs at the first step.
    fn fetch_first(&self, name: &str) -> Fetch {
        match name.strip_prefix(OURS) {
            Some(ours) if ours.ends_with(".probs") => Fetch::Device,
            Some(_) => Fetch::Host,
            None if name == self.f.output() => Fetch::Host,
            None => Fetch::Skip,
        }
    }

    /// A later run of `f`, for noise and maps alone.
    fn foundation_again(&self, feeds: &[(&str, Feed<'_>)], sample: &[usize], maps: &[Vec<usize>]) -> Result<Outputs> {
        let names: Vec<String> = (0..self.layers).map(probs_name).collect();
        let noise = std::iter::once((self.f.output(), sample, Fetch::Host));
        let maps = names.iter().zip(maps).map(|(name, shape)| (name.as_str(), shape.as_slice(), Fetch::Device));
        let wanted: Vec<_> = noise.chain(maps).collect();
        Ok(self.f.session.run_again(feeds, &wanted)?)
    }

    fn take_values(&self, outputs: &mut Outputs) -> Result<Vec<Array3<f32>>> {
        let wrong = |error: ndarray::ShapeError| Error::model(self.f.session.model(), format!("values: {error}"));
        let values = (0..self.layers)
            .map(|layer| outputs.take(&value_name(layer))?.into_f32().into_dimensionality::<Ix3>().map_err(wrong));
        values.collect()
    }

    /// Makes V̄ of a variation for a group of rows, once.
    fn inject(&mut self, injection: Option<(usize, &Injection)>, rows: &[usize]) -> Result<(Option<usize>, usize)> {
        let first = rows[0];
        let key = (injection.map(|(variation, _)| variation), first);
        if self.injected.contains_key(&key) {
            return Ok(key);
        }
        let known = self.values.get(&first).map(Vec::as_slice).unwrap_or_default();
        let tensors = known.iter().enumerate().map(|(layer, values)| {
            let injected = match injection {
                Some((_, injection)) => injection.values(layer, rows, values.view()),
                None => values.clone(),
            };
            let spec = self.c.session.input(&value_name(layer));
            let spec =
                spec.ok_or_else(|| Error::model(self.c.session.model(), format!("has no {}", value_name(layer))))?;
            Ok(self.c.session.upload(&Tensor::from(injected).cast(spec.element_type))?)
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
        let wanted = [(output, rows.sample.shape(), Fetch::Host)];
        self.c.latents(self.c.session.run_again(&feeds, &wanted)?.take(output)?)
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
            let heat_rows = group.clone();
            let group: Vec<usize> = group.collect();
            let _turn = f.session.turn();
            let (noise, probs) = self.foundation(step.rows(foundation).select(&group).view(), group[0])?;
            if let Some(heat) = heat.as_deref_mut() {
                heat.add(&probs, &heat_rows)?;
            }
            for (variation, latents) in customised.iter().enumerate() {
                let injection = step.open.then(|| (variation, &step.injections[variation]));
                let values = self.inject(injection, &group)?;
                parts[variation].push(self.customised(step.rows(latents).select(&group).view(), &probs, values)?);
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
        concept_rows: &[usize],
        step: &StepContext<'_>,
        mut heat: Option<&mut HeatCollector>,
    ) -> Result<Latents> {
        let others: Vec<usize> = (0..latents.shape()[0]).filter(|row| !concept_rows.contains(row)).collect();
        let size = self.f.fixed_rows().unwrap_or(1).max(1);
        if !others.len().is_multiple_of(size) || !concept_rows.len().is_multiple_of(size) {
            let (_, mut customised) = self.predict_all(variation, latents, step, heat)?;
            return Ok(customised.swap_remove(0));
        }
        let mut noise = Latents::zeros(latents.dim());
        if !others.is_empty() {
            let given = step.rows(latents).select(&others);
            let Rows { sample, given } = given.view();
            put(&mut noise, &others, &self.plain.predict(sample, &StepContext { given, ..*step })?);
        }
        let size = self.f.fixed_rows().unwrap_or(concept_rows.len()).max(1);
        let f = self.f.clone();
        for group in concept_rows.chunks(size) {
            let rows = step.rows(latents).select(group);
            let _turn = f.session.turn();
            let (_, probs) = self.foundation(rows.view(), group[0])?;
            if let Some(heat) = heat.as_deref_mut() {
                heat.add(&probs, &(group[0]..group[0] + group.len()))?;
            }
            let values = self.inject(Some((variation, &step.injections[variation])), group)?;
            put(&mut noise, group, &self.customised(rows.view(), &probs, values)?);
        }
        Ok(noise)
    }
}

impl TwoGraphs {
    /// Both streams on the same latents, for exports whose fixed number of rows mixes those with and
    /// without a concept.
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

/// Writes rows to their places.
fn put(all: &mut Latents, places: &[usize], rows: &Latents) {
    for (&place, row) in places.iter().zip(rows.axis_iter(Axis(0))) {
        all.index_axis_mut(Axis(0), place).assign(&row);
    }
}

fn probs_name(layer: usize) -> String {
    format!("{OURS}{layer}.probs")
}

fn value_name(layer: usize) -> String {
    format!("{OURS}{layer}.value")
}
