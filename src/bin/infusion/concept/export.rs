use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use infusion::concept::{Concept, adapter};
use ndarray::Array3;

/// Write a concept as an ONNX Runtime adapter (.onnx_adapter) that feeds infusion.delta
///
/// A host that knows ONNX Runtime's adapters activates the file in its run options, on a `dual`, `shared`
/// or `train` graph of infusion-patch, and feeds infusion.mask, or has it fed from the file too: --tokens.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The concept file to read (.safetensors)
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// The adapter to write (.onnx_adapter)
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The graph's float type
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    float: Float,
    /// Also feed infusion.mask: the concept stands at these rows of the context, 0 being the start token
    #[arg(long, value_name = "ROW,…", value_delimiter = ',')]
    tokens: Vec<usize>,
    /// Rows of the context, in tokens, for --tokens
    #[arg(long, value_name = "TOKENS", default_value_t = 77)]
    length: usize,
    /// Rows of the batch, for --tokens; only the last carries the concept, as guidance needs it
    #[arg(long, value_name = "ROWS", default_value_t = 2)]
    batch: usize,
    /// How strongly, for --tokens: 1 is as learned
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    strength: f32,
    /// Replace the file if it exists
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Float {
    F32,
    F16,
}

pub fn run(arguments: Arguments) -> Result<()> {
    let concept = Concept::load(&arguments.input)?;
    let float = match arguments.float {
        Float::F32 => adapter::FloatType::F32,
        Float::F16 => adapter::FloatType::F16,
    };
    let delta = concept.matrix(&concept.layer_specs())?;
    let mut parameters = vec![adapter::Parameter::new("infusion.delta", &delta, float)?];
    if !arguments.tokens.is_empty() {
        parameters.push(adapter::Parameter::new("infusion.mask", &mask(&arguments, concept.tokens())?, float)?);
    }
    let bytes = adapter::save(&arguments.output, &parameters, super::existing(arguments.overwrite))?;
    println!("{}: {bytes} bytes, infusion.delta [{}, {}]", arguments.output.display(), delta.nrows(), delta.ncols());
    Ok(())
}

/// `[B, L, S]` with the concept's tokens in the last row of the batch.
fn mask(arguments: &Arguments, slots: usize) -> Result<Array3<f32>> {
    let rows = &arguments.tokens;
    ensure!(arguments.batch > 0, "--batch 0: there is no row for the concept");
    ensure!(
        slots == 1 || slots == rows.len(),
        "--tokens names {} rows, but the concept has {slots} tokens: name as many",
        rows.len()
    );
    let mut mask = Array3::zeros((arguments.batch, arguments.length, slots));
    for (token, &row) in rows.iter().enumerate() {
        ensure!(row < arguments.length, "--tokens {row}: the context has only {} rows (--length)", arguments.length);
        mask[(arguments.batch - 1, row, if slots == 1 { 0 } else { token })] = arguments.strength;
    }
    Ok(mask)
}
