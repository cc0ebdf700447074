//! `infusion eval report`: pictures, heat maps and measures of concepts on one page.
//!
//! [`pictures`] makes F's and C's pictures, [`measures`] scores them and takes in what other commands
//! measured, [`page`] writes all of it as HTML.

mod measures;
mod page;
mod pictures;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use infusion::concept::Concept;
use infusion::files::{Existing, write_whole};
use infusion::pipeline::Pipeline;
use serde_json::{Value, json};

use super::model::{ConceptArg, ModelArgs};
use crate::interrupt;
use measures::Measure;
use pictures::Scene;

/// One page about concepts: pictures beside the foundation's, heat maps, measures, settings
///
/// Writes one HTML file that needs no other (pictures are inside), and the same as JSON beside it. Scores of
/// CLIP and DINO are computed where their models are given; long measures are made by their own commands with
/// --json and taken in by --include.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArgs,
    /// A concept; may be repeated
    #[arg(long = "concept", value_name = "[NAME=]FILE[:STRENGTH]", required = true)]
    concepts: Vec<ConceptArg>,
    /// A prompt that marks one of the concepts, or several; may be repeated
    #[arg(long = "prompt", value_name = "TEXT")]
    prompts: Vec<String>,
    /// File of prompts, one a line
    #[arg(long = "prompts", value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Pictures of each prompt, with seeds N, N+1, …
    #[arg(long, value_name = "N", default_value_t = 2)]
    pictures: usize,
    /// Seed of the first picture of each prompt
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Steps of the scheduler
    #[arg(long, value_name = "N", default_value_t = 50)]
    steps: usize,
    /// Weight of the prompt against no prompt
    #[arg(short, long, value_name = "FACTOR", default_value_t = 8.0)]
    guidance_scale: f32,
    /// Scheduler, as for `infusion generate`
    #[arg(long, value_name = "NAME", default_value = "ddim")]
    scheduler: String,
    /// Pixels a side [default: the model's own size, or 512]
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// The concept's own pictures, for CLIP-I and DINO: files and folders
    #[arg(long, value_name = "PICTURE", num_args = 1..)]
    references: Vec<PathBuf>,
    /// Folder of CLIP in ONNX, for CLIP-T and CLIP-I
    #[arg(long, value_name = "DIR")]
    clip: Option<PathBuf>,
    /// Folder of DINO in ONNX
    #[arg(long, value_name = "DIR", requires = "references")]
    dino: Option<PathBuf>,
    /// What another `infusion eval` command printed with --json; may be repeated
    #[arg(long, value_name = "FILE")]
    include: Vec<PathBuf>,
    /// The page; the JSON goes beside it
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    overwrite: bool,
    /// Use concepts that were learned on another model
    #[arg(long)]
    force: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// A concept and the name that prompts mark it by.
struct Named {
    name: String,
    concept: Arc<Concept>,
    strength: f32,
}

/// All that the page shows.
struct Report {
    concepts: Vec<Value>,
    scenes: Vec<Scene>,
    measures: Vec<Measure>,
    settings: Value,
    versions: Value,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let data = arguments.output.with_extension("json");
    arguments.check_free(&[&arguments.output, &data])?;
    let included = measures::read(&arguments.include)?;
    let prompts = arguments.all_prompts()?;
    let named = arguments.concepts.iter().map(Named::load).collect::<Result<Vec<_>>>()?;
    let pipeline = arguments.model.open()?;
    interrupt::listen();
    let Some(scenes) = pictures::make(arguments, &pipeline, &named, &prompts)? else {
        eprintln!("stopped; no report was written");
        std::process::exit(130);
    };
    let mut all = measures::score(arguments, &scenes)?;
    all.extend(included);
    let report = Report {
        concepts: named.iter().map(Named::describe).collect(),
        scenes,
        measures: all,
        settings: arguments.settings(&pipeline)?,
        versions: versions(&pipeline)?,
    };
    let existing = if arguments.overwrite { Existing::Replace } else { Existing::Keep };
    let write =
        |path: &Path, bytes: &[u8]| write_whole(path, bytes, existing).with_context(|| path.display().to_string());
    write(&data, &serde_json::to_vec_pretty(&report.data())?)?;
    write(&arguments.output, page::html(&report)?.as_bytes())?;
    println!("{}\n{}", arguments.output.display(), data.display());
    Ok(())
}

impl Arguments {
    fn check_free(&self, paths: &[&Path]) -> Result<()> {
        match paths.iter().find(|path| !self.overwrite && path.exists()) {
            Some(path) => bail!("{}: exists already; name another file, or use --overwrite", path.display()),
            None => Ok(()),
        }
    }

    fn all_prompts(&self) -> Result<Vec<String>> {
        let text = match &self.prompt_file {
            Some(file) => std::fs::read_to_string(file).with_context(|| file.display().to_string())?,
            None => String::new(),
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
        let prompts: Vec<String> = self.prompts.iter().cloned().chain(lines).collect();
        match prompts.is_empty() || self.pictures == 0 {
            true => bail!("--prompt or --prompts: what do the pictures show? (and --pictures at least 1)"),
            false => Ok(prompts),
        }
    }

    fn size(&self, pipeline: &Pipeline) -> (usize, usize) {
        self.size.map_or(pipeline.usual_size(), |side| (side, side))
    }

    fn settings(&self, pipeline: &Pipeline) -> Result<Value> {
        let (width, height) = self.size(pipeline);
        Ok(json!({
            "model": self.model.folder()?,
            "scheduler": self.scheduler,
            "steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "size": format!("{width}x{height}"),
            "seeds": format!("{} to {}", self.seed, self.seed.wrapping_add(self.pictures as u64 - 1)),
            "streams": "separate: each has its own latents from the same noise",
        }))
    }
}

fn versions(pipeline: &Pipeline) -> Result<Value> {
    let library = infusion::runtime::library::load(&Default::default())?;
    let sessions = pipeline.loaded();
    let provider = sessions.first().map(|(_, session)| session.provider().to_string());
    Ok(json!({
        "infusion": env!("CARGO_PKG_VERSION"),
        "onnxruntime": library.version,
        "provider": provider,
        "base_model_hash": pipeline.graphs().base_model_hash,
    }))
}

impl Named {
    fn load(given: &ConceptArg) -> Result<Self> {
        let concept = given.load()?;
        Ok(Self { name: given.marked_by(&concept), strength: given.strength, concept })
    }

    fn describe(&self) -> Value {
        let path = self.concept.path.as_deref();
        let bytes = path.and_then(|path| path.metadata().ok()).map(|metadata| metadata.len());
        json!({
            "name": self.name,
            "word": self.concept.word,
            "class": self.concept.class,
            "strength": self.strength,
            "file": path,
            "bytes": bytes,
            "precision": self.concept.stored_as.map(|precision| precision.name()),
            "parameters": self.concept.parameters(),
            "tokens": self.concept.tokens(),
            "base_model_hash": self.concept.base_model_hash,
            "training": self.concept.training,
        })
    }
}

impl Report {
    /// The page without its pictures.
    fn data(&self) -> Value {
        json!({
            "concepts": self.concepts,
            "pictures": self.scenes.iter().map(Scene::describe).collect::<Vec<_>>(),
            "measures": self.measures,
            "settings": self.settings,
            "versions": self.versions,
        })
    }
}
