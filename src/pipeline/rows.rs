use ndarray::{Array3, ArrayD, Axis};

use crate::schedulers::{Latents, Timestep};

/// What every row of a run is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    /// `[rows, 4, h, w]`
    pub sample: &'a Latents,
    pub given: Conditions<'a>,
}

/// What rows are given beside their latents: the same for both streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions<'a> {
    /// `[rows, L, C]`, where the graph reads it.
    pub context: &'a Array3<f32>,
    pub timesteps: Timesteps<'a>,
    pub guidance_scale: f32,
    /// Inputs that Stable Diffusion 1.x itself does not have, by name, with a row for each row.
    pub further: &'a [(String, ArrayD<f32>)],
}

/// The timestep of all rows, or of each.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timesteps<'a> {
    All(Timestep),
    Each(&'a [Timestep]),
}

/// Some rows of a run, on their own.
#[derive(Debug)]
pub(crate) struct OwnedRows {
    sample: Latents,
    context: Array3<f32>,
    timesteps: OwnedTimesteps,
    guidance_scale: f32,
    further: Vec<(String, ArrayD<f32>)>,
}

#[derive(Debug)]
enum OwnedTimesteps {
    All(Timestep),
    Each(Vec<Timestep>),
}

impl Rows<'_> {
    /// A copy of those rows that `indices` name, in their order.
    pub fn select(&self, indices: &[usize]) -> OwnedRows {
        let Conditions { context, timesteps, guidance_scale, further } = self.given;
        OwnedRows {
            sample: self.sample.select(Axis(0), indices),
            context: context.select(Axis(0), indices),
            timesteps: match timesteps {
                Timesteps::All(timestep) => OwnedTimesteps::All(timestep),
                Timesteps::Each(each) => OwnedTimesteps::Each(indices.iter().map(|&row| each[row]).collect()),
            },
            guidance_scale,
            further: further.iter().map(|(name, rows)| (name.clone(), rows.select(Axis(0), indices))).collect(),
        }
    }
}

impl OwnedRows {
    pub fn view(&self) -> Rows<'_> {
        let timesteps = match &self.timesteps {
            OwnedTimesteps::All(timestep) => Timesteps::All(*timestep),
            OwnedTimesteps::Each(each) => Timesteps::Each(each),
        };
        let given = Conditions {
            context: &self.context,
            timesteps,
            guidance_scale: self.guidance_scale,
            further: &self.further,
        };
        Rows { sample: &self.sample, given }
    }
}
