use ndarray::{Axis, concatenate};

use crate::pipeline::unet::UnetModel;
use crate::pipeline::{Error, Result};
use crate::schedulers::Latents;

use super::StepContext;

/// One stream as the exported UNet runs it.
#[derive(Debug)]
pub(in crate::pipeline) struct Plain {
    model: UnetModel,
}

impl Plain {
    pub fn new(model: UnetModel) -> Self {
        Self { model }
    }

    /// Noise of all rows.
    pub fn predict(&self, rows: &Latents, step: &StepContext<'_>) -> Result<Latents> {
        in_groups(&self.model, rows.shape()[0], |group| {
            let group: Vec<usize> = group.collect();
            self.model.noise(&self.model.feeds(step.rows(rows).select(&group).view()))
        })
    }
}

/// Runs all rows at once, or as many at a time as the export fixed.
pub(super) fn in_groups(
    model: &UnetModel,
    rows: usize,
    mut run: impl FnMut(std::ops::Range<usize>) -> Result<Latents>,
) -> Result<Latents> {
    let size = model.fixed_rows().unwrap_or(rows).max(1);
    if !rows.is_multiple_of(size) {
        let reason = format!(
            "runs {size} rows at once, and {rows} are needed: change the batch, or export it with a free batch"
        );
        return Err(Error::model(model.session.model(), reason));
    }
    let groups: Vec<Latents> = (0..rows).step_by(size).map(|first| run(first..first + size)).collect::<Result<_>>()?;
    let views: Vec<_> = groups.iter().map(|group| group.view()).collect();
    concatenate(Axis(0), &views).map_err(|error| Error::model(model.session.model(), error.to_string()))
}
