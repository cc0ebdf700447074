//! From a prompt to pictures: text encoder, two streams through the UNet, VAE.
//!
//! Uses `runtime`, `patch`, `concept`, `prompt`, `schedulers` and `noise`; the C library, the
//! trainer's samples and the programs use it. Data goes one way:
//!
//! 1. [`Folder`] finds a pipeline's models; [`graphs`] finds or makes the patched UNets.
//! 2. [`text`] makes a context of the prompt, [`injection`] a Δ and a mask of its concepts.
//! 3. [`start`] draws or encodes the first latents.
//! 4. [`generate`] moves the [`trajectory`]s step by step; [`streams`] predicts the noise of
//!    both streams with the graphs that suit mode and machine.
//! 5. [`vae`] decodes the latents.
//!
//! [`step`] is the fourth of these alone, for hosts that do the rest. [`predict`] is beside that way: single
//! predictions of the noise, as measures need them.
//!
//! [`check_provider`] holds a provider against the CPU; `sizes` tells providers that build engines how
//! long every input will be.
//!
//! What the trainer needs of single parts is in [`encoding`].

mod check;
mod encoding;
mod error;
mod folder;
mod generate;
mod generated;
mod graphs;
mod guidance;
mod heat;
mod injection;
mod observer;
mod part;
mod plan;
mod predict;
mod request;
mod rows;
mod sizes;
mod start;
pub mod step;
mod streams;
mod text;
mod trajectory;
mod unet;
mod vae;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::prompt::Tokenizer;
use crate::runtime::{ProviderSpec, Session, SessionOptions, providers};
use crate::schedulers::SchedulerConfig;

pub use check::{CheckOptions, Checked, Compared, MapsKept, check_provider};
pub use encoding::Posterior;
pub use error::{Error, Result};
pub use folder::Folder;
pub use generated::{Generated, Picture};
pub use graphs::UnetGraphs;
pub use heat::HeatMap;
pub use observer::{Control, Observer, Silent, Stage, StepReport};
pub use predict::{Caption, Denoiser, Marking, NoisedLatents};
pub use request::{ConceptUse, GraphChoice, InitImage, LayerScale, Mode, Request, Variation};

use part::Part;
pub(crate) use rows::{Conditions, Rows, Timesteps};
use text::TextEncoder;
use unet::Unet;
pub(crate) use unet::UnetModel;
use vae::Vae;

/// How a pipeline is opened.
#[derive(Clone, Debug, Default)]
pub struct PipelineOptions {
    /// How its sessions are made: provider, threads, cache of optimised models.
    pub session: SessionOptions,
    /// Load text encoder, UNet and VAE one after the other, and drop each when it is done.
    pub low_memory: bool,
    /// Where patched graphs go when the UNet's own folder cannot be written.
    pub graph_folder: Option<PathBuf>,
}

/// A Stable Diffusion pipeline in ONNX, with its UNet patched for concepts.
///
/// Models are loaded when they are first needed. Any number of threads may share a pipeline;
/// their runs of one model take turns.
#[derive(Debug)]
pub struct Pipeline {
    folder: Folder,
    tokenizer: Tokenizer,
    text_encoder: TextEncoder,
    unet: Unet,
    vae: Vae,
    scheduler: SchedulerConfig,
    session: SessionOptions,
    low_memory: bool,
}

impl Pipeline {
    /// Opens the pipeline in `folder` (`model_index.json`, `unet/model.onnx`, …), and patches its UNet
    /// unless that was done before.
    ///
    /// # Errors
    /// A part is missing or of a kind that this crate does not run, or the UNet cannot be patched.
    pub fn open(folder: impl AsRef<Path>, options: &PipelineOptions) -> Result<Self> {
        let folder = Folder::find(folder.as_ref())?;
        let session = SessionOptions { low_memory: options.low_memory, ..options.session.clone() };
        let scheduler = match &folder.scheduler_config {
            Some(path) => SchedulerConfig::open(path)?,
            None => SchedulerConfig::stable_diffusion(),
        };
        Ok(Self {
            tokenizer: Tokenizer::open(&folder.tokenizer)?,
            text_encoder: TextEncoder::new(Part::new(&folder.text_encoder, &session)),
            unet: Unet::new(&folder.unet, options.graph_folder.as_deref(), &session)?,
            vae: Vae::new(&folder, &session)?,
            scheduler,
            session,
            low_memory: options.low_memory,
            folder,
        })
    }

    /// The provider that runs, `auto` resolved.
    fn provider(&self) -> Result<ProviderSpec> {
        Ok(providers::choose(&self.session.provider)?.spec)
    }

    /// Where the pipeline's parts are.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The patched graphs of the UNet, its layers and its hash.
    pub fn graphs(&self) -> &UnetGraphs {
        self.unet.graphs()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The scheduler's configuration.
    pub fn scheduler_config(&self) -> &SchedulerConfig {
        &self.scheduler
    }

    /// Width and height in pixels that the model was trained for (`sample_size` of the UNet), or 512.
    pub fn usual_size(&self) -> (usize, usize) {
        let latents = self.folder.config_number("unet", "sample_size").filter(|size| *size >= 1.0 && *size <= 1024.0);
        let pixels = latents.map_or(512, |size| size as usize * 8);
        (pixels, pixels)
    }

    /// The sessions that are loaded, by the names of their parts: `text_encoder`, `unet f`, ….
    pub fn loaded(&self) -> Vec<(String, Arc<Session>)> {
        let text = self.text_encoder.loaded().map(|session| ("text_encoder".to_owned(), session));
        let unet = self.unet.loaded().into_iter().map(|(name, session)| (format!("unet {name}"), session));
        let vae = self.vae.loaded().map(|session| ("vae_decoder".to_owned(), session));
        text.into_iter().chain(unet).chain(vae).collect()
    }
}
