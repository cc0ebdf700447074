use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::runtime_args::RuntimeArgs;

/// Generate pictures from a prompt, with concepts
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// What the picture shows; <name> marks a concept: "a photo of a <ball> in the snow". Also
    /// <name:0.9> (strength), <name|plural> (another word form), (word:1.2) (weight), BREAK (next chunk
    /// of 77 tokens). Several prompts are drawn one after the other
    #[arg(required_unless_present = "from", value_name = "PROMPT")]
    pub prompts: Vec<String>,
    /// Folder of the pipeline in ONNX (model_index.json, unet/model.onnx, …) [default: INFUSION_MODEL]
    #[arg(short, long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// A concept and its strength [default strength: 1]; may be repeated
    #[arg(short, long = "concept", value_name = "NAME=FILE[:STRENGTH]")]
    pub concepts: Vec<String>,
    /// Folder in which <name> is looked up as NAME.safetensors
    #[arg(long = "concepts", value_name = "DIR")]
    pub concept_folder: Option<PathBuf>,
    /// Several pictures on one run of the foundation, one for each factor on all strengths, e.g. 1,0.5,-0.5;
    /// each costs one customised stream, and 4 MB for every 77 tokens of a row [default: 1]
    #[arg(long, value_name = "FACTORS", value_delimiter = ',', allow_hyphen_values = true)]
    pub variations: Vec<f32>,
    /// One more picture on the same run of the foundation, with these concepts; may be repeated
    #[arg(long, value_name = "NAME=FILE[:STRENGTH],…")]
    pub variation: Vec<String>,
    /// What the picture should not show [default: nothing]
    #[arg(short, long, value_name = "TEXT")]
    pub negative_prompt: Option<String>,
    /// Seed of the start noise, the same as PyTorch's on the CPU [default: random, and printed]
    #[arg(short, long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many pictures, with seeds N, N+1, … [default: 1]
    #[arg(short, long, value_name = "N")]
    pub batch: Option<usize>,
    /// Pixels, a multiple of 8 [default: the model's own size, or 512]
    #[arg(long, value_name = "PIXELS")]
    pub width: Option<usize>,
    /// Pixels, a multiple of 8 [default: the model's own size, or 512]
    #[arg(long, value_name = "PIXELS")]
    pub height: Option<usize>,
    /// Steps of the scheduler [default: 50]
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// Weight of the prompt against the negative prompt; 1 or less runs the prompt alone [default: 8]
    #[arg(short, long, value_name = "FACTOR")]
    pub guidance_scale: Option<f32>,
    /// Scheduler: ddim, ddpm, euler, euler_a, heun, dpmpp_2m_karras, dpmpp_sde, lms, unipc, lcm, … [default: ddim]
    #[arg(long, value_name = "NAME")]
    pub scheduler: Option<String>,
    /// Which latents the foundation runs on: its own, or those of the customised stream [default: separate]
    #[arg(long, value_enum)]
    pub streams: Option<Streams>,
    /// Which graphs compute the streams; all give the same picture [default: auto, the fastest]
    #[arg(long, value_enum)]
    pub graphs: Option<Graphs>,
    /// Fraction of the steps at which the injection opens, 0 to 1 [default: 0]
    #[arg(long, value_name = "FRACTION")]
    pub start: Option<f64>,
    /// Fraction of the steps at which the injection closes, 0 to 1 [default: 1]
    #[arg(long, value_name = "FRACTION")]
    pub end: Option<f64>,
    /// Factor on the concepts in one layer, counted from 0 in order of execution; may be repeated
    #[arg(long = "layer-scale", value_name = "LAYER:FACTOR")]
    pub layer_scales: Vec<String>,
    /// Picture to start from (img2img)
    #[arg(long, value_name = "FILE")]
    pub init_image: Option<PathBuf>,
    /// Share of the steps that change the init image, 0 to 1 [default: 0.8]
    #[arg(long, value_name = "FRACTION", requires = "init_image")]
    pub strength: Option<f64>,
    /// Start noise [batch, 4, height/8, width/8] from a .safetensors file, instead of the seed's
    #[arg(long, value_name = "FILE")]
    pub noise: Option<PathBuf>,
    /// The picture to write; with several, the prompt's number (-p1), seed (-7) and variation (-v1) are
    /// added to the name
    #[arg(short, long, value_name = "FILE", default_value = "infused.png")]
    pub output: PathBuf,
    /// Also write the foundation's picture; costs nothing with --streams separate
    #[arg(long, value_name = "FILE")]
    pub foundation: Option<PathBuf>,
    /// Also write all pictures on one sheet, the foundation's above
    #[arg(long, value_name = "FILE")]
    pub sheet: Option<PathBuf>,
    /// Also write heat maps of the attention to each concept over the picture, beside it
    /// (-attention-NAME)
    #[arg(long)]
    pub attention_maps: bool,
    /// Write the picture so far every N steps, beside the picture (-preview) [default: never]
    #[arg(long, value_name = "N")]
    pub preview_every: Option<usize>,
    /// Take all settings from a picture that this program made, or prompt, sampler, steps, seed and size
    /// from one with A1111's text; other options change them
    #[arg(long, value_name = "PICTURE")]
    pub from: Option<PathBuf>,
    /// Use concepts that were learned on another model
    #[arg(long)]
    pub force: bool,
    /// Replace files that exist
    #[arg(long)]
    pub overwrite: bool,
    /// Load text encoder, UNet and VAE one after the other, and drop each when done
    #[arg(long)]
    pub low_memory: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Print what was made as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Streams {
    Separate,
    Shared,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Graphs {
    Auto,
    #[value(name = "f+c")]
    Two,
    Dual,
    Shared,
}
