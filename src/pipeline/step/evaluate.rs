use std::sync::{Mutex, PoisonError};

use ndarray::{Array3, Array4, Axis};

use super::marks::Marked;
use super::{Inputs, Predicted, StepGraphs};
use crate::pipeline::graphs::Graph;
use crate::pipeline::injection::Injection;
use crate::pipeline::rows::{Conditions, Timesteps};
use crate::pipeline::sizes::padded_slots;
use crate::pipeline::streams::{Dual, OneGraph, Plain, Separate, Shared, StepContext, TwoGraphs};
use crate::pipeline::unet::{Unet, UnetModel};
use crate::pipeline::{Error, Result};
use crate::runtime::ProviderKind;
use crate::schedulers::Latents;

/// The graphs, and which of them are wanted.
pub(super) struct Evaluator {
    pub unet: Unet,
    pub graphs: StepGraphs,
    pub provider: ProviderKind,
    /// `f` and `c` with the values that they were last given.
    kept: Mutex<Option<Kept>>,
}

/// Values depend on the prompts alone, so they are good for the next step of the same picture.
struct Kept {
    sample: (usize, usize, usize, usize),
    context: Array3<f32>,
    injection: Option<Injection>,
    concept_rows: Vec<usize>,
    two: TwoGraphs,
}

impl Evaluator {
    pub fn new(unet: Unet, graphs: StepGraphs, provider: ProviderKind) -> Self {
        Self { unet, graphs, provider, kept: Mutex::new(None) }
    }

    /// F alone.
    pub fn plain(&self, sample: &Latents, inputs: &Inputs) -> Result<Latents> {
        let model = self.checked(self.unet.plain_model()?, sample, inputs)?;
        Plain::new(model).predict(sample, &context(inputs, &[]))
    }

    /// C's noise of all rows, F on the same latents.
    pub fn shared(&self, sample: &Latents, inputs: &Inputs, marked: &Marked) -> Result<Latents> {
        let rows = marked.rows();
        let all: Vec<usize> = (0..sample.shape()[0]).collect();
        let Some(injection) = self.injection(marked, &all) else { return self.plain(sample, inputs) };
        let injections = [injection];
        let context = context(inputs, &injections);
        match self.uses_one(Graph::Shared)? {
            true => {
                let model = self.checked(self.unet.model(Graph::Shared)?, sample, inputs)?;
                OneGraph::new(model).predict(0, sample, &rows, &context, None)
            }
            false => self.with_two(sample, inputs, injections.first(), &rows, |two| {
                Shared::predict(two, 0, sample, &rows, &context, None)
            }),
        }
    }

    /// F's noise on F's latents and C's on C's. `apart` are the rows whose streams differ; of all others,
    /// F's noise is C's.
    pub fn separate(
        &self,
        foundation: &Latents,
        sample: &Latents,
        inputs: &Inputs,
        marked: &Marked,
        apart: &[usize],
    ) -> Result<Predicted> {
        let together: Vec<usize> = (0..sample.shape()[0]).filter(|row| !apart.contains(row)).collect();
        let mut predicted =
            Predicted { foundation: Array4::zeros(sample.dim()), customised: Array4::zeros(sample.dim()) };
        let mut put = |rows: &[usize], foundation: &Latents, customised: &Latents| {
            for (from, &to) in rows.iter().enumerate() {
                let row = |noise: &Latents| noise.index_axis(Axis(0), from).to_owned();
                predicted.foundation.index_axis_mut(Axis(0), to).assign(&row(foundation));
                predicted.customised.index_axis_mut(Axis(0), to).assign(&row(customised));
            }
        };
        if !together.is_empty() {
            let noise = self.plain(&sample.select(Axis(0), &together), &inputs.select(&together))?;
            put(&together, &noise, &noise);
        }
        if !apart.is_empty() {
            let samples = [foundation.select(Axis(0), apart), sample.select(Axis(0), apart)];
            let (foundation, customised) = self.both(samples, &inputs.select(apart), self.injection(marked, apart))?;
            put(apart, &foundation, &customised);
        }
        Ok(predicted)
    }

    fn both(
        &self,
        [foundation, customised]: [Latents; 2],
        inputs: &Inputs,
        injection: Option<Injection>,
    ) -> Result<(Latents, Latents)> {
        let injections: Vec<Injection> = injection.into_iter().collect();
        let context = context(inputs, &injections);
        let streams = std::slice::from_ref(&customised);
        let (foundation, mut customised) = match self.uses_one(Graph::Dual)? {
            true => {
                let model = self.checked(self.unet.model(Graph::Dual)?, &foundation, inputs)?;
                Dual::new(model).predict(&foundation, streams, &context, None)?
            }
            false => self.with_two(&foundation, inputs, injections.first(), &[], |two| {
                Separate::predict(two, &foundation, streams, &context, None)
            })?,
        };
        Ok((foundation, customised.swap_remove(0)))
    }

    /// What the rows are given; of one number of slots where models are compiled ahead, so that another concept
    /// or mix compiles nothing.
    fn injection(&self, marked: &Marked, rows: &[usize]) -> Option<Injection> {
        let injection = marked.injection(rows)?;
        match self.unet.keeps_defaults() {
            true => Some(injection),
            false => Some(injection.padded(padded_slots(injection.delta.nrows()))),
        }
    }

    /// Runs `f` and `c`, with what they know of the values from the last step where that was of the same
    /// prompts and concepts.
    fn with_two<T>(
        &self,
        sample: &Latents,
        inputs: &Inputs,
        injection: Option<&Injection>,
        concept_rows: &[usize],
        predict: impl FnOnce(&mut TwoGraphs) -> Result<T>,
    ) -> Result<T> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let kept = kept.filter(|kept| {
            kept.sample == sample.dim()
                && kept.concept_rows == concept_rows
                && kept.injection.as_ref() == injection
                && kept.context == inputs.context
        });
        let mut kept = match kept {
            Some(kept) => kept,
            None => Kept {
                sample: sample.dim(),
                context: inputs.context.clone(),
                injection: injection.cloned(),
                concept_rows: concept_rows.to_vec(),
                two: self.two()?,
            },
        };
        self.check(kept.two.foundation_model(), sample, inputs)?;
        let predicted = predict(&mut kept.two)?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(predicted)
    }

    fn two(&self) -> Result<TwoGraphs> {
        let layers = self.unet.graphs().layers.len();
        Ok(TwoGraphs::new(self.unet.model(Graph::F)?, self.unet.model(Graph::C)?, layers))
    }

    /// Whether `single`, one graph with both streams, is run, and not `f` and `c`.
    pub fn uses_one(&self, single: Graph) -> Result<bool> {
        let has = self.unet.has(single);
        Ok(match self.graphs {
            StepGraphs::Two => false,
            StepGraphs::One if has => true,
            StepGraphs::One => {
                let reason = format!("this UNet has no graph `{}`: its batch is fixed; use f and c", single.name());
                return Err(Error::setting("graphs", reason));
            }
            // On a processor the two cost the same time, and two runs of half the rows take less memory.
            StepGraphs::Auto if single == Graph::Dual && self.provider == ProviderKind::Cpu => false,
            StepGraphs::Auto => has,
        })
    }

    fn checked(&self, model: UnetModel, sample: &Latents, inputs: &Inputs) -> Result<UnetModel> {
        self.check(&model, sample, inputs)?;
        Ok(model)
    }

    fn check(&self, model: &UnetModel, sample: &Latents, inputs: &Inputs) -> Result<()> {
        let (_, channels, height, width) = sample.dim();
        model.check_sizes([channels, height, width], inputs.context.shape()[1])?;
        let differ = inputs.timesteps.windows(2).any(|pair| pair[0] != pair[1]);
        if differ && model.timestep_per_row() == Some(false) {
            let reason = "this export takes one for all rows, and those given differ";
            return Err(Error::setting("timestep", reason));
        }
        Ok(())
    }
}

/// What both streams are given.
fn context<'a>(inputs: &'a Inputs, injections: &'a [Injection]) -> StepContext<'a> {
    let timesteps = match inputs.timesteps.as_slice() {
        [first, rest @ ..] if rest.iter().all(|other| other == first) => Timesteps::All(*first),
        each => Timesteps::Each(each),
    };
    let given = Conditions { context: &inputs.context, timesteps, guidance_scale: 1.0, further: &inputs.further };
    StepContext { given, injections, open: !injections.is_empty() }
}

impl Inputs {
    fn select(&self, rows: &[usize]) -> Self {
        let each = self.timesteps.len() > 1;
        Self {
            timesteps: match each {
                true => rows.iter().map(|&row| self.timesteps[row]).collect(),
                false => self.timesteps.clone(),
            },
            context: self.context.select(Axis(0), rows),
            further: self.further.iter().map(|(name, all)| (name.clone(), all.select(Axis(0), rows))).collect(),
        }
    }
}
