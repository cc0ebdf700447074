use std::path::{Path, PathBuf};

use anyhow::Result;
use infusion::concept::{Concept, LayerSpec};
use infusion::onnx::Model;
use infusion::onnx::infer::infer;
use infusion::patch::{FindOptions, base_model_hash, find};
use ndarray::Array2;
use serde_json::{Value, json};

/// Print what concept files hold
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Concept files (.safetensors)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also say whether the concepts go with this model: a pipeline's folder, or a UNet's .onnx file
    #[arg(short, long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Print one JSON object a file and line
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result<()> {
    let model = arguments.model.as_deref().map(Base::of).transpose()?;
    for file in &arguments.files {
        let concept = Concept::load(file)?;
        let bytes = std::fs::metadata(file)?.len();
        if arguments.json {
            let mut described = describe(&concept, bytes);
            if let Some(model) = &model {
                described["fits"] = model.refusal(&concept).is_none().into();
            }
            println!("{described}");
        } else {
            print(&concept, bytes);
            if let Some(model) = &model {
                let verdict = model.refusal(&concept).unwrap_or_else(|| "fits".to_owned());
                println!("  {}: {verdict}", model.unet.display());
            }
        }
    }
    Ok(())
}

/// A model that concepts may have been learned on.
struct Base {
    unet: PathBuf,
    layers: Vec<LayerSpec>,
    hash: Option<String>,
}

impl Base {
    fn of(model: &Path) -> Result<Self> {
        let unet = super::import::unet_of(model)?;
        let source = Model::open(&unet)?;
        let survey = find(&source, &infer(&source), &FindOptions::default())?;
        let layers = survey.layers.iter();
        let layers = layers.map(|it| LayerSpec { module_path: it.module_path.clone(), width: it.width }).collect();
        Ok(Self { layers, hash: base_model_hash(&source, &survey)?, unet })
    }

    /// Why the concept does not go with it.
    fn refusal(&self, concept: &Concept) -> Option<String> {
        let hash = self.hash.as_deref().unwrap_or("unknown (its weights are quantised or packed)");
        let other = concept.check_base(hash, false).err();
        other.or_else(|| concept.matrix(&self.layers).err()).map(|error| error.to_string())
    }
}

fn describe(concept: &Concept, bytes: u64) -> Value {
    let layer = |(path, delta): (&String, &Array2<f32>)| json!({ "module_path": path, "width": delta.ncols(), "rms": rms(delta) });
    json!({
        "file": concept.origin(),
        "bytes": bytes,
        "precision": concept.stored_as.map(|precision| precision.name()),
        "concept": concept.word,
        "class": concept.class,
        "tokens": concept.tokens(),
        "parameters": concept.parameters(),
        "base_model_hash": concept.base_model_hash,
        "training": concept.training,
        "metadata": concept.extra,
        "layers": concept.layers.iter().map(layer).collect::<Vec<_>>(),
    })
}

fn print(concept: &Concept, bytes: u64) {
    println!("{}", concept.origin());
    let line = |key: &str, value: &str| println!("  {key:<12}{value}");
    line("concept", &concept.word);
    line("class", &concept.class);
    line("base model", concept.base_model_hash.as_deref().unwrap_or("not named"));
    let precision = concept.stored_as.map_or("", |precision| precision.name());
    line("size", &format!("{bytes} bytes, {precision}"));
    let (tokens, layers) = (concept.tokens(), concept.layers.len());
    line("numbers", &format!("{} in {layers} layers, {tokens} token(s)", concept.parameters()));
    if let Some(training) = &concept.training {
        line("training", &training.to_string());
    }
    for (key, value) in &concept.extra {
        line(key, value);
    }
    println!("  {:<10}{:>6}  layer", "rms of Δ", "width");
    for (path, delta) in &concept.layers {
        println!("  {:<10.5}{:>6}  {path}", rms(delta), delta.ncols());
    }
}

/// √(mean of Δ²).
fn rms(delta: &Array2<f32>) -> f64 {
    let squares: f64 = delta.iter().map(|&value| f64::from(value).powi(2)).sum();
    (squares / delta.len().max(1) as f64).sqrt()
}
