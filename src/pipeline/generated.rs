use image::RgbImage;

use crate::schedulers::Latents;

use super::HeatMap;

/// What a run made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Generated {
    /// The pictures: for each variation, those of the batch. Without concepts, F's alone.
    pub pictures: Vec<Picture>,
    /// F's pictures, one for each of the batch, where they were asked for.
    pub foundation: Vec<RgbImage>,
    /// Heat maps, where they were asked for.
    pub heat_maps: Vec<HeatMap>,
    /// C's final latents of each variation `[batch, 4, h, w]`.
    pub latents: Vec<Latents>,
    /// F's final latents, where F was run to the end.
    pub foundation_latents: Option<Latents>,
    /// Steps that were run.
    pub steps: usize,
    /// Whether an observer stopped the run; there are no pictures then.
    pub cancelled: bool,
    /// Which graphs ran, e.g. `f+c`.
    pub graphs: &'static str,
}

impl Generated {
    /// What a run made that was stopped before its first step.
    pub(super) fn nothing() -> Self {
        Self {
            pictures: Vec::new(),
            foundation: Vec::new(),
            heat_maps: Vec::new(),
            latents: Vec::new(),
            foundation_latents: None,
            steps: 0,
            cancelled: true,
            graphs: "none",
        }
    }
}

/// A picture and where it comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Picture {
    /// The picture.
    pub image: RgbImage,
    /// The variation's index in the request; 0 without concepts.
    pub variation: usize,
    /// The seed of its start noise.
    pub seed: u64,
}
