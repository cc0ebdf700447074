use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use infusion::concept::Precision;
use infusion::patch::Memory;
use infusion::train::LrScheduler;

use crate::runtime_args::RuntimeArgs;

/// Learn a concept from a few pictures
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Folder of the pipeline in ONNX (model_index.json, unet/model.onnx, …) [default: INFUSION_MODEL]
    #[arg(short, long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Folder of photographs (PNG, JPEG, WebP); with NAME=, they go only with prompts that mark <NAME>
    #[arg(short, long, value_name = "[NAME=]DIR", required = true)]
    pub images: Vec<String>,
    /// What the photographs show, the concept marked: "a photo of a <ball>"; may be repeated
    #[arg(short, long = "prompt", value_name = "TEXT", required_unless_present = "templates")]
    pub prompts: Vec<String>,
    /// File with a prompt on each line, instead of or beside --prompt
    #[arg(long, value_name = "FILE")]
    pub templates: Option<PathBuf>,
    /// What kind of thing it is, the word that prompts read in place of <NAME>; with several concepts
    /// NAME=WORD for each
    #[arg(long = "class", value_name = "[NAME=]WORD", required = true)]
    pub classes: Vec<String>,
    /// The concept file to write (.safetensors); with several concepts NAME=FILE for each
    #[arg(short, long = "output", value_name = "[NAME=]FILE", required = true)]
    pub outputs: Vec<String>,
    /// How to store the numbers: f32, f16, i8 or i4
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::F16)]
    pub precision: Precision,
    /// Folder of masks, of the same file names as the photographs: white is learned, black is not
    #[arg(long, value_name = "[NAME=]DIR")]
    pub masks: Vec<String>,
    /// Pixels a side that photographs are cut and resized to, a multiple of 8 [default: the model's own size]
    #[arg(long, value_name = "PIXELS")]
    pub size: Option<u32>,
    /// Also learn from mirror images
    #[arg(long)]
    pub flip: bool,
    /// Refuse to go on when a photograph or mask cannot be read, instead of leaving it out
    #[arg(long)]
    pub strict: bool,
    /// Steps in all
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub steps: usize,
    /// Learning rate of Adam
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    pub lr: f64,
    /// How the learning rate goes over the steps, as in diffusers: constant, linear or cosine
    #[arg(long, value_name = "NAME", default_value_t = LrScheduler::Constant)]
    pub lr_scheduler: LrScheduler,
    /// Rows of a batch
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub batch: usize,
    /// Rows computed at once, the gradients of a batch averaged: less memory [default: the whole batch]
    #[arg(long, value_name = "N")]
    pub micro_batch: Option<usize>,
    /// Timesteps that noise is drawn for; the upper half says more about a look, and less about its edges
    /// [default: all of the scheduler's]
    #[arg(long, value_name = "FROM..TO", value_parser = range)]
    pub timesteps: Option<Range<usize>>,
    /// What is kept for the way back: low keeps the inputs of blocks and takes about a fifth more time,
    /// balanced keeps all but the probabilities of attention, fast keeps everything
    #[arg(long, value_name = "MODE", default_value_t = Memory::Balanced)]
    pub memory: Memory,
    /// Seed of all draws [default: random, and printed]
    #[arg(short, long, value_name = "N")]
    pub seed: Option<u64>,
    /// Stop when the mean loss of N steps is not lower than that of the N before
    #[arg(long, value_name = "N")]
    pub early_stop: Option<usize>,
    /// Save the state every N steps, to go on from after an interruption; 0 saves it only on Ctrl-C
    #[arg(long, value_name = "N", default_value_t = 50, help_heading = "Checkpoints")]
    pub checkpoint_every: usize,
    /// The checkpoint's file; it is removed once the concept is written
    /// [default: beside the concept, as .checkpoint]
    #[arg(long, value_name = "FILE", help_heading = "Checkpoints")]
    pub checkpoint: Option<PathBuf>,
    /// Go on from the checkpoint, with the same result as without the interruption
    #[arg(long, help_heading = "Checkpoints")]
    pub resume: bool,
    /// Draw the validation prompts every N steps, beside the concept
    #[arg(long, value_name = "N", help_heading = "Pictures")]
    pub validate_every: Option<usize>,
    /// A prompt to draw for validation and for the sheet; may be repeated [default: the first four prompts]
    #[arg(long = "validation-prompt", value_name = "TEXT", help_heading = "Pictures")]
    pub validation_prompts: Vec<String>,
    /// Sampling steps of those pictures
    #[arg(long, value_name = "N", default_value_t = 25, help_heading = "Pictures")]
    pub validation_steps: usize,
    /// Weight of the prompt in those pictures, as in `infusion generate`
    #[arg(short, long, value_name = "FACTOR", default_value_t = 8.0, help_heading = "Pictures")]
    pub guidance_scale: f32,
    /// Write the curve of the loss
    #[arg(long, value_name = "FILE", help_heading = "Pictures")]
    pub curve: Option<PathBuf>,
    /// Write a sheet: photographs, validation pictures, and what the concept changes in the end
    #[arg(long, value_name = "FILE", help_heading = "Pictures")]
    pub sheet: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    pub overwrite: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Print what was made as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

fn range(text: &str) -> Result<Range<usize>, String> {
    let ends = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.ok_or_else(|| "two numbers with .. between them, such as 400..1000".to_owned())
}
