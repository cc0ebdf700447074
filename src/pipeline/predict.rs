//! Single predictions of the noise, at any timestep and on any latents: what measures of a model need, and
//! no trajectory gives.

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use ndarray::{Array3, ArrayView3, Axis, concatenate, stack};

use crate::concept::Concept;
use crate::prompt::{MarkedTokens, Prompt, Tokens};
use crate::runtime::{Dim, Session, SessionOptions, Tensor};
use crate::schedulers::{Latents, Timestep};

use super::graphs::{Graph, UnetGraphs};
use super::guidance::Guidance;
use super::injection::Injection;
use super::request::{ConceptUse, Variation};
use super::rows::{Conditions, Rows, Timesteps};
use super::streams::optional_inputs;
use super::unet::{OURS, UnetModel};
use super::{Error, Pipeline, Result};

/// How the marks of a caption name the one concept of a [`Denoiser`].
const NAME: &str = "concept";

/// Which tokens of a caption get Δ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Marking {
    /// None: the caption is about something else, and F alone answers.
    #[default]
    Nowhere,
    /// Every occurrence of this phrase.
    Phrase(String),
    /// Every token of the text; a concept of T tokens goes to each T of them in turn.
    Everywhere,
}

/// A caption as the UNet reads it, and the tokens of it that get Δ.
#[derive(Clone, Debug)]
pub struct Caption {
    tokens: Tokens,
    /// `[1, L, C]`
    context: Array3<f32>,
}

impl Caption {
    /// Whether some token gets Δ.
    pub fn is_marked(&self) -> bool {
        !self.tokens.marks.is_empty()
    }
}

/// One latent whose noise is to be predicted.
#[derive(Clone, Copy, Debug)]
pub struct NoisedLatents<'a> {
    /// z_t `[4, h, w]`.
    pub latents: ArrayView3<'a, f32>,
    /// t, a training timestep.
    pub timestep: usize,
    /// What the picture shows.
    pub caption: &'a Caption,
}

/// A UNet that predicts noise: the original, another one, or the original with a concept.
#[derive(Clone, Debug)]
pub struct Denoiser {
    plain: UnetModel,
    customised: Option<Customised>,
}

#[derive(Clone, Debug)]
struct Customised {
    shared: UnetModel,
    variation: Variation,
    graphs: UnetGraphs,
}

impl Pipeline {
    /// Encodes a caption, in which no character has a meaning of its own. `tokens_of_concept` is how many
    /// tokens the concept has that is to be marked.
    ///
    /// # Errors
    /// The text encoder fails.
    pub fn caption(&self, text: &str, marking: &Marking, tokens_of_concept: usize) -> Result<Caption> {
        let mut tokens = self.tokenizer.tokenize(&Prompt::plain(text))?;
        tokens.marks = self.marks(&tokens, text, marking, tokens_of_concept)?;
        let context = self.text_encoder.encode(&tokens)?;
        Ok(Caption { tokens, context })
    }

    /// Whether the phrase occurs in the caption, as tokens.
    ///
    /// # Errors
    /// The text cannot be tokenised.
    pub fn occurs(&self, phrase: &str, caption: &str) -> Result<bool> {
        let tokens = self.tokenizer.tokenize(&Prompt::plain(caption))?;
        Ok(!tokens.find(&self.tokenizer.encode(phrase)?).is_empty())
    }

    fn marks(&self, tokens: &Tokens, text: &str, marking: &Marking, width: usize) -> Result<Vec<MarkedTokens>> {
        let phrases = match marking {
            Marking::Nowhere => Vec::new(),
            Marking::Phrase(phrase) => tokens.find(&self.tokenizer.encode(phrase)?),
            Marking::Everywhere => {
                let positions = positions(tokens, &self.tokenizer.encode(text)?);
                positions.chunks_exact(width.max(1)).map(<[usize]>::to_vec).collect()
            }
        };
        let mark =
            |positions| MarkedTokens { concept: NAME.to_owned(), text: text.to_owned(), strength: 1.0, positions };
        Ok(phrases.into_iter().map(mark).collect())
    }

    /// The latents `[4, height / 8, width / 8]` of a picture: the mean of the VAE's posterior, scaled.
    ///
    /// # Errors
    /// The pipeline has no VAE encoder, or it fails.
    pub fn encode_picture(&self, picture: &RgbImage) -> Result<Array3<f32>> {
        Ok(self.vae.encode_mean(picture)?.index_axis_move(Axis(0), 0))
    }

    /// The UNet as it is.
    ///
    /// # Errors
    /// It cannot be loaded.
    pub fn denoiser(&self) -> Result<Denoiser> {
        Ok(Denoiser { plain: self.unet.plain_model()?, customised: None })
    }

    /// The UNet with a concept: captions that mark it get Δ (F on the same latents gives the maps), all others
    /// are answered by F alone, as in [`Pipeline::generate`].
    ///
    /// # Errors
    /// The concept does not go with the model (`force` overrides another base model), or the export has a fixed
    /// batch and so no graph `shared`.
    pub fn denoiser_with(&self, concept: &Arc<Concept>, strength: f32, force: bool) -> Result<Denoiser> {
        let concept = ConceptUse { name: NAME.to_owned(), concept: Arc::clone(concept), strength };
        let variation = Variation { concepts: vec![concept] };
        self.check_base(&variation, force)?;
        let graphs = self.unet.graphs().clone();
        let customised = Customised { shared: self.unet.model(Graph::Shared)?, variation, graphs };
        Ok(Denoiser { plain: self.unet.plain_model()?, customised: Some(customised) })
    }
}

/// Where the tokens of the whole text stand among starts, ends and padding.
fn positions(tokens: &Tokens, text: &[i64]) -> Vec<usize> {
    let mut rest = text.iter().peekable();
    let stands = |(position, id): (usize, &i64)| (rest.next_if(|next| *next == id)).map(|_| position);
    tokens.ids.iter().enumerate().filter_map(stands).collect()
}

impl Denoiser {
    /// Any other UNet of Stable Diffusion 1.x in ONNX, such as a fine-tuned one.
    ///
    /// # Errors
    /// It cannot be loaded, or is no such UNet.
    pub fn open(unet: &Path, options: &SessionOptions) -> Result<Self> {
        Ok(Self { plain: UnetModel::new(Arc::new(Session::open(unet, options)?))?, customised: None })
    }

    /// The predicted noise `[4, h, w]` of each latent, in as few runs as the export allows.
    ///
    /// # Errors
    /// Latents or captions are of sizes that the export does not take, or a run fails.
    pub fn predict(&self, rows: &[NoisedLatents<'_>]) -> Result<Vec<Array3<f32>>> {
        let mut predicted = Vec::with_capacity(rows.len());
        let mut rest = rows;
        while let Some(first) = rest.first() {
            let model = self.model_for(first);
            let alike = rest.iter().take_while(|row| self.runs_with(first, row)).count();
            let (group, later) = rest.split_at(alike.min(model.fixed_rows().unwrap_or(alike)).max(1));
            predicted.extend(self.predict_group(group)?);
            rest = later;
        }
        Ok(predicted)
    }

    fn model_for(&self, row: &NoisedLatents<'_>) -> &UnetModel {
        match &self.customised {
            Some(customised) if row.caption.is_marked() => &customised.shared,
            _ => &self.plain,
        }
    }

    fn runs_with(&self, first: &NoisedLatents<'_>, row: &NoisedLatents<'_>) -> bool {
        row.latents.dim() == first.latents.dim()
            && row.caption.context.dim() == first.caption.context.dim()
            && row.caption.is_marked() == first.caption.is_marked()
            && (row.timestep == first.timestep || takes_timesteps(self.model_for(first)))
    }

    fn predict_group(&self, group: &[NoisedLatents<'_>]) -> Result<Vec<Array3<f32>>> {
        let Some(first) = group.first() else { return Ok(Vec::new()) };
        let model = self.model_for(first);
        let wanted = model.fixed_rows().unwrap_or(group.len());
        let rows: Vec<_> = group.iter().chain(std::iter::repeat(first)).take(wanted).collect();
        let feeds = self.feeds(model, &rows)?;
        let predicted = model.noise(&feeds)?;
        Ok(predicted.axis_iter(Axis(0)).take(group.len()).map(|row| row.to_owned()).collect())
    }

    fn feeds(&self, model: &UnetModel, rows: &[&NoisedLatents<'_>]) -> Result<Vec<(String, Tensor)>> {
        let wrong = |error: ndarray::ShapeError| Error::setting("predictions", error.to_string());
        let sample: Vec<_> = rows.iter().map(|row| row.latents).collect();
        let sample: Latents = stack(Axis(0), &sample).map_err(wrong)?;
        let context: Vec<_> = rows.iter().map(|row| row.caption.context.view()).collect();
        let context = concatenate(Axis(0), &context).map_err(wrong)?;
        let (_, channels, height, width) = sample.dim();
        model.check_sizes([channels, height, width], context.shape()[1])?;
        let each: Vec<Timestep> = rows.iter().map(|row| Timestep::from(row.timestep)).collect();
        let timesteps = match each.first() {
            Some(&first) if !takes_timesteps(model) => Timesteps::All(first),
            _ => Timesteps::Each(&each),
        };
        let given = Conditions { context: &context, timesteps, guidance_scale: 1.0, further: &[] };
        let mut feeds = model.feeds(Rows { sample: &sample, given });
        if let Some(customised) = self.customised.as_ref().filter(|it| std::ptr::eq(model, &it.shared)) {
            feeds.extend(optional_inputs(model, &customised.injection(rows)?));
            let all: ndarray::Array1<i64> = (0..rows.len() as i64).collect();
            feeds.push((format!("{OURS}rows"), Tensor::from(all)));
        }
        Ok(feeds)
    }
}

impl Customised {
    /// Δ of the concept, and the mask of every row's caption.
    fn injection(&self, rows: &[&NoisedLatents<'_>]) -> Result<Injection> {
        let one = Guidance::new(1.0, 1);
        let of =
            |row: &&NoisedLatents<'_>| Injection::new(&self.variation, &row.caption.tokens, &self.graphs, &[], one);
        let mut injections = rows.iter().map(of).collect::<Result<Vec<_>>>()?;
        let masks: Vec<_> = injections.iter().map(|injection| injection.mask.view()).collect();
        let mask = concatenate(Axis(0), &masks).map_err(|error| Error::setting("captions", error.to_string()))?;
        let mut injection = injections.swap_remove(0);
        injection.mask = mask;
        Ok(injection)
    }
}

/// Whether rows of one run may have timesteps of their own.
fn takes_timesteps(model: &UnetModel) -> bool {
    match model.timestep.dims.first() {
        Some(Dim::Symbolic(_)) => true,
        Some(Dim::Fixed(rows)) => *rows > 1 && model.fixed_rows() == Some(*rows),
        None => false,
    }
}
