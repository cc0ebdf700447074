use std::path::PathBuf;

use anyhow::Result;
use infusion::concept::Concept;

/// Store a concept in another precision and print what that costs
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The concept file to read (.safetensors)
    #[arg(value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    output: super::Output,
}

pub fn run(arguments: Arguments) -> Result<()> {
    arguments.output.save(&Concept::load(&arguments.input)?)
}
