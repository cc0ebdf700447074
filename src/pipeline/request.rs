use std::sync::Arc;

use image::RgbImage;

use crate::concept::Concept;
use crate::schedulers::Latents;

/// What to generate. The defaults are the paper's: DDIM, 50 steps, guidance 8, 512 × 512.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt, in the syntax of [`crate::prompt`]: `a photo of a <ball> in the snow`.
    pub prompt: String,
    /// What the picture should not show; the unconditional row's prompt.
    pub negative_prompt: String,
    /// The concepts that the prompt marks, with their strengths: one C stream for each variation, all
    /// on one F stream. Empty: F alone.
    pub variations: Vec<Variation>,
    /// Picture `i` of the batch starts from the noise of `seed + i`.
    pub seed: u64,
    /// How many pictures, computed together.
    pub batch: usize,
    /// Pixels, a multiple of 8.
    pub width: usize,
    /// Pixels, a multiple of 8.
    pub height: usize,
    /// Steps of the scheduler.
    pub num_inference_steps: usize,
    /// Weight of the prompt against the negative prompt; at 1 or below, the latter is not run.
    pub guidance_scale: f32,
    /// A name of [`crate::schedulers::SCHEDULERS`].
    pub scheduler: String,
    /// Which latent F is evaluated on.
    pub mode: Mode,
    /// Which graphs compute the streams.
    pub graphs: GraphChoice,
    /// Fraction of the steps at which the injection opens; C is not run before.
    pub start: f64,
    /// Fraction of the steps at which the injection closes: Δ is zero from there on.
    pub end: f64,
    /// Factors on Δ of single layers.
    pub layer_scales: Vec<LayerScale>,
    /// The picture to start from, instead of noise alone.
    pub init_image: Option<InitImage>,
    /// Start noise `[batch, 4, height / 8, width / 8]`, instead of the seed's.
    pub noise: Option<Latents>,
    /// Whether F's picture is wanted, too. (It costs nothing in [`Mode::Separate`].)
    pub foundation: bool,
    /// Whether to keep heat maps of the attention to the concepts' tokens.
    pub attention_maps: bool,
    /// Whether to take concepts that were learned on another model.
    pub force: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: String::new(),
            variations: Vec::new(),
            seed: 0,
            batch: 1,
            width: 512,
            height: 512,
            num_inference_steps: 50,
            guidance_scale: 8.0,
            scheduler: "ddim".to_owned(),
            mode: Mode::default(),
            graphs: GraphChoice::default(),
            start: 0.0,
            end: 1.0,
            layer_scales: Vec::new(),
            init_image: None,
            noise: None,
            foundation: false,
            attention_maps: false,
            force: false,
        }
    }
}

/// One customised picture on the common foundation: which Δ each `<name>` of the prompt gets.
#[derive(Clone, Debug, Default)]
pub struct Variation {
    /// The concepts, by the names that the prompt marks.
    pub concepts: Vec<ConceptUse>,
}

/// A concept under the name that the prompt marks it by.
#[derive(Clone, Debug)]
pub struct ConceptUse {
    /// As in `<name>`.
    pub name: String,
    /// What it looks like.
    pub concept: Arc<Concept>,
    /// How much of its Δ is added; 1 is all of it.
    pub strength: f32,
}

/// Which latent the foundation stream is evaluated on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Its own, from the same start noise: F's picture is the ordinary one (the paper's §4).
    #[default]
    Separate,
    /// C's, as in training; rows without a concept are then run once for both.
    Shared,
}

/// Which patched graphs compute the streams; all of them give the same picture to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum GraphChoice {
    /// The fastest that model, mode and provider allow.
    #[default]
    Auto,
    /// `f`, then `c`, with the maps handed over in the device's memory.
    Two,
    /// `dual`: both streams in one run. Only in [`Mode::Separate`].
    Dual,
    /// `shared`: rows without a concept once. Only in [`Mode::Shared`].
    Shared,
}

/// A factor on Δ of one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerScale {
    /// The layer's index in order of execution.
    pub layer: usize,
    /// The factor; 0 switches the layer off.
    pub scale: f32,
}

/// Where img2img starts.
#[derive(Clone, Debug)]
pub struct InitImage {
    /// The picture; it is resized to the request's size.
    pub picture: RgbImage,
    /// Share of the steps that are run, 0 to 1: 1 forgets the picture, 0 changes nothing.
    pub strength: f64,
}
