#![allow(rustdoc::invalid_html_tags, reason = "these comments are the help text, where <stem> is a placeholder")]
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use infusion::patch::{FindOptions, Memory, Variant};

/// Rewrite an exported Stable Diffusion UNet into the graphs of both streams
///
/// Writes <stem>.f.onnx, .c.onnx, .dual.onnx and .shared.onnx with the manifest <stem>.infusion.json.
/// The weights stay in the exported file; beside it, nothing is copied.
#[derive(Debug, Parser)]
#[command(name = "infusion-patch", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub patch: PatchArguments,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the attention layers of a model, what would be patched, and why the rest would not
    Inspect(InspectArguments),
    /// Run patched graphs and their source on random input and print the largest differences
    Check(CheckArguments),
}

#[derive(Debug, Args)]
pub struct PatchArguments {
    /// The exported UNet (.onnx)
    #[arg(value_name = "UNET", required = true)]
    pub model: Option<PathBuf>,
    /// Where to write; the model's own folder by default. Weights are then hard-linked or copied once
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Which graphs to write, e.g. f,c; by default all that the export allows
    #[arg(long, value_name = "GRAPHS", value_delimiter = ',', value_parser = variant)]
    pub emit: Vec<Variant>,
    /// Copy the weights into each graph (above 2 GB, into one file beside it)
    #[arg(long)]
    pub self_contained: bool,
    /// Write attention as com.microsoft.MultiHeadAttention where that is exact: less memory and
    /// faster on CPU and CUDA, unknown to TensorRT
    #[arg(long)]
    pub fuse: bool,
    /// What the train graph keeps for its way back: low keeps the inputs of blocks, balanced all but
    /// the probabilities of attention, fast everything
    #[arg(long, value_name = "MODE", default_value_t = Memory::Balanced)]
    pub memory: Memory,
    /// Run the graphs and their source on random input afterwards and print the largest differences
    #[arg(long, conflicts_with = "json")]
    pub check: bool,
    #[command(flatten)]
    pub bake: BakeArguments,
    #[command(flatten)]
    pub find: FindArguments,
    /// Replace files that this program did not write, and bake concepts of other models
    #[arg(long)]
    pub force: bool,
    /// Print nothing but errors
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
    /// Print the manifest as JSON
    #[arg(long)]
    pub json: bool,
}

/// A concept that a graph carries without being fed.
#[derive(Debug, Args)]
pub struct BakeArguments {
    /// Write only <stem>.shared.<name>.onnx, which applies this concept by itself, for hosts that
    /// cannot be changed
    #[arg(long, value_name = "CONCEPT", requires = "token_rows", conflicts_with_all = ["emit", "check"])]
    pub bake: Option<PathBuf>,
    /// The rows of the prompt's hidden states that hold the concept's tokens, e.g. 5,6 (the start
    /// token is row 0)
    #[arg(long, value_name = "ROWS", value_delimiter = ',', requires = "bake")]
    pub token_rows: Vec<usize>,
    /// How strongly the baked concept acts
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0, requires = "bake")]
    pub strength: f32,
    /// The rows of the batch that carry the baked concept, negative ones from the end
    #[arg(long, value_name = "ROWS", value_delimiter = ',', default_value = "-1", allow_hyphen_values = true)]
    pub rows: Vec<i64>,
}

#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The exported UNets (.onnx) whose patched graphs are checked
    #[arg(value_name = "MODEL", required = true)]
    pub models: Vec<PathBuf>,
    /// Where the patched graphs are; the model's own folder by default
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The exported UNet (.onnx)
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    #[command(flatten)]
    pub find: FindArguments,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How layers are looked for.
#[derive(Debug, Args)]
pub struct FindArguments {
    /// The graph input that holds the prompt's hidden states, where it is not found by itself
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// A folder with recipes of further dialects (.json), tried before the built-in ones
    #[arg(long, value_name = "DIR")]
    pub graph_patches: Option<PathBuf>,
}

impl From<&FindArguments> for FindOptions {
    fn from(arguments: &FindArguments) -> Self {
        Self { context: arguments.context.clone(), recipes: arguments.graph_patches.clone() }
    }
}

fn variant(name: &str) -> Result<Variant, String> {
    let names = || Variant::ALL.map(Variant::name).join(", ");
    let found = Variant::ALL.into_iter().find(|variant| variant.name() == name);
    found.ok_or_else(|| format!("there is no graph '{name}'; the graphs are {}", names()))
}
