use ndarray::{Axis, concatenate, s};

use crate::pipeline::heat::HeatCollector;
use crate::pipeline::injection::Injection;
use crate::pipeline::rows::{Conditions, Rows, Timesteps};
use crate::pipeline::sizes::padded_slots;
use crate::pipeline::unet::{OURS, UnetModel};
use crate::pipeline::{Error, Result};
use crate::runtime::Tensor;
use crate::schedulers::Latents;

use super::{Separate, StepContext};

/// Both streams in one run of `dual`: F's rows first, then C's.
#[derive(Debug)]
pub(in crate::pipeline) struct Dual {
    model: UnetModel,
}

impl Dual {
    pub fn new(model: UnetModel) -> Self {
        Self { model }
    }
}

impl Separate for Dual {
    fn predict(
        &mut self,
        foundation: &Latents,
        customised: &[Latents],
        step: &StepContext<'_>,
        _: Option<&mut HeatCollector>,
    ) -> Result<(Latents, Vec<Latents>)> {
        let wrong = |reason: String| Error::model(self.model.session.model(), reason);
        let [customised] = customised else {
            return Err(wrong(format!("runs one variation at a time, and there are {}", customised.len())));
        };
        let twice = |error: ndarray::ShapeError| wrong(error.to_string());
        let sample = concatenate(Axis(0), &[foundation.view(), customised.view()]).map_err(twice)?;
        let given = step.given;
        let further = given.further.iter().map(|(name, rows)| {
            let both = concatenate(Axis(0), &[rows.view(), rows.view()]).map_err(twice)?;
            Ok((name.clone(), both))
        });
        let further: Vec<_> = further.collect::<Result<_>>()?;
        let each = match given.timesteps {
            Timesteps::All(_) => Vec::new(),
            Timesteps::Each(each) => each.repeat(2),
        };
        let timesteps = if each.is_empty() { given.timesteps } else { Timesteps::Each(&each) };
        let given = Conditions { timesteps, further: &further, ..given };
        let mut feeds = self.model.feeds(Rows { sample: &sample, given });
        match step.injections.first() {
            Some(injection) if step.open => feeds.extend(optional_inputs(&self.model, injection)),
            Some(injection) if self.model.requires(&format!("{OURS}mask")) => {
                feeds.extend(optional_inputs(&self.model, &injection.closed()));
            }
            None if self.model.requires(&format!("{OURS}mask")) => {
                let (rows, tokens, _) = given.context.dim();
                let width = self.model.session.input(&format!("{OURS}delta")).and_then(|delta| delta.fixed(1));
                let nothing = Injection::nothing(rows, tokens, padded_slots(0), width.unwrap_or(0));
                feeds.extend(optional_inputs(&self.model, &nothing));
            }
            _ => {}
        }
        let noise = self.model.noise(&feeds)?;
        let half = foundation.shape()[0];
        let (first, second) = (noise.slice(s![..half, .., .., ..]), noise.slice(s![half.., .., .., ..]));
        Ok((first.to_owned(), vec![second.to_owned()]))
    }
}

/// `infusion.mask` and `infusion.delta`, which are inputs, so that a new concept rebuilds nothing.
pub(in crate::pipeline) fn optional_inputs(model: &UnetModel, injection: &Injection) -> Vec<(String, Tensor)> {
    let pairs = [("mask", Tensor::from(injection.mask.clone())), ("delta", Tensor::from(injection.delta.clone()))];
    let named = pairs.into_iter().filter_map(|(name, tensor)| {
        let spec = model.session.input(&format!("{OURS}{name}"))?;
        Some((spec.name.clone(), tensor.cast(spec.element_type)))
    });
    named.collect()
}
