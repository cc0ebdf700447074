use ndarray::Array1;

use crate::pipeline::Result;
use crate::pipeline::heat::HeatCollector;
use crate::pipeline::unet::{OURS, UnetModel};
use crate::runtime::Tensor;
use crate::schedulers::Latents;

use super::dual::optional_inputs;
use super::{Shared, StepContext};

/// Both streams in one run of `shared`: rows without a concept once.
#[derive(Debug)]
pub(in crate::pipeline) struct OneGraph {
    model: UnetModel,
}

impl OneGraph {
    pub fn new(model: UnetModel) -> Self {
        Self { model }
    }
}

impl Shared for OneGraph {
    fn predict(
        &mut self,
        variation: usize,
        rows: &Latents,
        concept_rows: &[usize],
        step: &StepContext<'_>,
        _: Option<&mut HeatCollector>,
    ) -> Result<Latents> {
        let mut feeds = self.model.feeds(step.rows(rows));
        feeds.extend(optional_inputs(&self.model, &step.injections[variation]));
        let concept_rows: Array1<i64> = concept_rows.iter().map(|&row| row as i64).collect();
        feeds.push((format!("{OURS}rows"), Tensor::from(concept_rows)));
        self.model.noise(&feeds)
    }
}
