//! `infusion concept`: look at concept files, convert, merge, import and export them.
//!
//! One file a command; each has its arguments and a `run`.

mod convert;
mod export;
mod import;
mod merge;
mod show;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use infusion::concept::{Encoded, Existing, Precision};

/// The commands under `infusion concept`.
#[derive(Debug, Subcommand)]
pub enum Command {
    Show(show::Arguments),
    Convert(convert::Arguments),
    Merge(merge::Arguments),
    Import(import::Arguments),
    Export(export::Arguments),
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Show(arguments) => show::run(arguments),
        Command::Convert(arguments) => convert::run(arguments),
        Command::Merge(arguments) => merge::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Export(arguments) => export::run(arguments),
    }
}

/// Where and how a command writes its concept file.
#[derive(Debug, Args)]
struct Output {
    /// The concept file to write (.safetensors)
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How to store the numbers: f32, f16, i8 or i4
    #[arg(short, long, value_name = "PRECISION", default_value_t = Precision::F16)]
    precision: Precision,
    /// Replace the file if it exists
    #[arg(long)]
    overwrite: bool,
}

impl Output {
    fn save(&self, concept: &infusion::concept::Concept) -> Result<()> {
        let encoded = concept.save(&self.output, self.precision, existing(self.overwrite))?;
        report(&self.output, self.precision, &encoded);
        Ok(())
    }
}

fn existing(overwrite: bool) -> Existing {
    if overwrite { Existing::Replace } else { Existing::Keep }
}

/// Prints the file's size and what its precision costs, layer by layer where it costs something.
fn report(path: &std::path::Path, precision: Precision, encoded: &Encoded) {
    println!("{}: {} bytes, {precision}", path.display(), encoded.bytes.len());
    println!("relative error (RMS): {:.3} %", 100.0 * encoded.error);
    if encoded.error > 0.0 {
        for (layer, error) in &encoded.layer_errors {
            println!("  {:>7.3} %  {layer}", 100.0 * error);
        }
    }
}
