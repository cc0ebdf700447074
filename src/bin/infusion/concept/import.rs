use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use infusion::concept::{Concept, TextDelta, ValueWeight};
use infusion::onnx::Model;
use infusion::onnx::infer::infer;
use infusion::patch::{FindOptions, base_model_hash, find, value_weights};
use infusion::pipeline::Folder;

/// Make a concept of a residual as wide as the text features (768 in SD-1.5), folded through W_V exactly
///
/// The file holds one tensor [T, text width] for all layers, or one a layer, named as in concept files.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The residual in front of the value projections (.safetensors)
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// The model whose value projections fold it: a pipeline's folder, or a UNet's .onnx file
    #[arg(short, long, value_name = "MODEL")]
    model: PathBuf,
    /// The concept's name, as in <name> [default: the file's name]
    #[arg(long, value_name = "WORD")]
    name: Option<String>,
    /// The super-class word that stands for it in a prompt, e.g. ball
    #[arg(long, value_name = "WORD")]
    class: String,
    #[command(flatten)]
    output: super::Output,
}

pub fn run(arguments: Arguments) -> Result<()> {
    let delta = TextDelta::load(&arguments.input)?;
    let (weights, hash) = projections(&unet_of(&arguments.model)?)?;
    let stem = || arguments.input.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut concept = Concept::new(arguments.name.clone().unwrap_or_else(stem), &arguments.class);
    concept.layers = delta.fold(&weights, &arguments.input.display().to_string())?;
    concept.base_model_hash = hash;
    arguments.output.save(&concept)
}

/// The UNet of a pipeline's folder, or the file itself.
pub fn unet_of(model: &Path) -> Result<PathBuf> {
    Ok(if model.is_dir() { Folder::find(model)?.unet } else { model.to_owned() })
}

fn projections(unet: &Path) -> Result<(Vec<ValueWeight>, Option<String>)> {
    let model = Model::open(unet)?;
    let survey = find(&model, &infer(&model), &FindOptions::default())?;
    let weights = value_weights(&model, &survey)?.with_context(|| {
        format!("{}: its value projections cannot be read (quantised weights?); name the float export", unet.display())
    })?;
    let named = survey.layers.iter().zip(weights);
    let named = named.map(|(layer, weight)| ValueWeight { module_path: layer.module_path.clone(), weight });
    Ok((named.collect(), base_model_hash(&model, &survey)?))
}
