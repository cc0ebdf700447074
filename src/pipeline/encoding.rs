//! Prompts and pictures as the UNet sees them, for those who train or measure it.

use std::path::Path;

use image::RgbImage;
use ndarray::Array3;

use crate::noise::TorchGenerator;
use crate::prompt::Tokens;
use crate::runtime::SessionOptions;
use crate::schedulers::Latents;

use super::graphs::Graph;
use super::{Pipeline, Result};

/// The normal distribution of the latents that the VAE's encoder finds a picture to have, times the
/// scaling factor: what the UNet works on.
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior {
    /// `[1, 4, height / 8, width / 8]`
    pub mean: Latents,
    /// The standard deviation in the same shape; `None` where the encoder gives single latents.
    pub deviation: Option<Latents>,
}

impl Posterior {
    /// One draw, as diffusers' `latent_dist.sample(generator)`.
    pub fn sample(&self, generator: &mut TorchGenerator) -> Latents {
        match &self.deviation {
            Some(deviation) => &self.mean + deviation * &generator.randn(self.mean.dim()),
            None => self.mean.clone(),
        }
    }
}

impl Pipeline {
    /// The context `[1, 77 · chunks, C]` of a tokenised prompt, with its weights put in.
    ///
    /// # Errors
    /// The text encoder fails.
    pub fn encode_prompt(&self, tokens: &Tokens) -> Result<Array3<f32>> {
        self.text_encoder.encode(tokens)
    }

    /// What the VAE says of a picture, whose sides must be multiples of 8.
    ///
    /// # Errors
    /// The pipeline has no VAE encoder, or it fails.
    pub fn posterior(&self, picture: &RgbImage) -> Result<Posterior> {
        self.vae.posterior(picture)
    }

    /// Drops every model that is loaded; the next use loads it again.
    pub fn release(&self) {
        self.text_encoder.release();
        self.vae.release();
        self.unet.release();
    }

    /// How its sessions are made.
    pub(crate) fn session_options(&self) -> &SessionOptions {
        &self.session
    }

    /// Where its patched graphs are.
    pub(crate) fn graph_folder(&self) -> &Path {
        let path = self.unet.graphs().path(Graph::F).unwrap_or(&self.folder.unet);
        path.parent().unwrap_or(Path::new(""))
    }
}
