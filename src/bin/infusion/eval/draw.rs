//! Samples of two models under the same prompts and start noise.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use infusion::pipeline::{ConceptUse, Pipeline, Request, Variation};
use infusion::schedulers::Latents;
use ndarray::{Array2, Axis, concatenate};
use serde_json::{Value, json};

use super::model::{ConceptArg, ModelArgs};
use super::stop;
use super::store::Store;
use crate::interrupt;

/// How samples are drawn; the defaults are the paper's.
#[derive(Debug, clap::Args)]
pub struct DrawArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// A prompt, with the concept marked: "a photo of a <ball> in the snow"; may be repeated
    #[arg(long = "prompt", value_name = "TEXT")]
    prompts: Vec<String>,
    /// File of prompts, one a line; behind a tab may follow what --other is asked instead
    #[arg(long = "prompts", value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// The customised model: the original with this concept; may be repeated
    #[arg(long = "concept", value_name = "[NAME=]FILE[:STRENGTH]", conflicts_with = "other")]
    concepts: Vec<ConceptArg>,
    /// The customised model: another pipeline's folder
    #[arg(long, value_name = "DIR")]
    other: Option<PathBuf>,
    /// Samples of each model, over all prompts
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1000)]
    samples: usize,
    /// Sample i starts from the noise of seed + i, in both models; the floor's seeds follow after
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Samples that are computed together
    #[arg(short, long, value_name = "N", default_value_t = 4)]
    batch: usize,
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
    /// Keep the samples in this folder, and go on from those that are there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Draw no samples for the floor
    #[arg(long)]
    no_floor: bool,
    /// Use concepts that were learned on another model
    #[arg(long)]
    force: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Latents of both models, one row each, and of the original under other seeds.
pub struct Drawn {
    pub original: Array2<f32>,
    pub customised: Array2<f32>,
    pub floor: Option<Array2<f32>>,
    pub settings: Value,
}

/// What to ask the original, and what the customised model.
#[derive(Clone, Debug)]
struct Asked {
    original: String,
    customised: String,
}

/// Which streams a run of the original model gives.
#[derive(Clone, Copy, PartialEq)]
enum Streams {
    Foundation,
    Both,
}

pub fn draw(arguments: &DrawArgs) -> Result<Drawn> {
    if arguments.concepts.is_empty() && arguments.other.is_none() {
        bail!("name the customised model: --concept or --other (or two files of latents)");
    }
    if arguments.samples < 2 || arguments.batch == 0 {
        bail!("--samples must be at least 2 and --batch at least 1");
    }
    let asked = arguments.asked()?;
    let settings = arguments.settings(&asked)?;
    let store = arguments.keep.as_deref().map(|folder| Store::open(folder, &settings)).transpose()?;
    let pipeline = arguments.model.open()?;
    let other = arguments.other.as_ref().map(|folder| arguments.model.open_folder(folder)).transpose()?;
    interrupt::listen();
    let drawer = Drawer { arguments, asked: &asked, store, variations: arguments.variations()? };
    let (original, customised) = match &other {
        Some(other) => {
            let original = drawer.set("original", &pipeline, Streams::Foundation, 0)?;
            (original, drawer.set("customised", other, Streams::Foundation, 0)?)
        }
        None => drawer.both(&pipeline)?,
    };
    let floor = match arguments.no_floor {
        true => None,
        false => Some(drawer.set("floor", &pipeline, Streams::Foundation, arguments.samples as u64)?),
    };
    Ok(Drawn { original, customised, floor, settings })
}

struct Drawer<'a> {
    arguments: &'a DrawArgs,
    asked: &'a [Asked],
    store: Option<Store>,
    variations: Vec<Variation>,
}

impl Drawer<'_> {
    /// F's and C's samples, from one run of both streams.
    fn both(&self, pipeline: &Pipeline) -> Result<(Array2<f32>, Array2<f32>)> {
        let [mut original, mut customised] = [self.kept("original")?, self.kept("customised")?];
        let done = original.iter().map(Array2::nrows).sum::<usize>().min(customised.iter().map(Array2::nrows).sum());
        truncate(&mut original, done);
        truncate(&mut customised, done);
        self.each_batch("both models", done, |first, count| {
            let request = self.request(pipeline, first, count, 0, Streams::Both, false);
            let Some((foundation, concept)) = sample(pipeline, &request)? else { return Ok(false) };
            let foundation = foundation.context("the foundation stream was not run to its end")?;
            self.keep("original", first, &foundation)?;
            self.keep("customised", first, &concept)?;
            original.push(rows(foundation));
            customised.push(rows(concept));
            Ok(true)
        })?;
        Ok((joined(&original)?, joined(&customised)?))
    }

    /// One set of one model without concepts.
    fn set(&self, name: &'static str, pipeline: &Pipeline, streams: Streams, seed_offset: u64) -> Result<Array2<f32>> {
        let mut batches = self.kept(name)?;
        let done = batches.iter().map(Array2::nrows).sum();
        self.each_batch(name, done, |first, count| {
            let request = self.request(pipeline, first, count, seed_offset, streams, name == "customised");
            let Some((_, latents)) = sample(pipeline, &request)? else { return Ok(false) };
            self.keep(name, first, &latents)?;
            batches.push(rows(latents));
            Ok(true)
        })?;
        joined(&batches)
    }

    fn each_batch(
        &self,
        name: &'static str,
        done: usize,
        mut batch: impl FnMut(usize, usize) -> Result<bool>,
    ) -> Result<()> {
        let samples = self.arguments.samples;
        let bar = if self.arguments.quiet { ProgressBar::hidden() } else { ProgressBar::new(samples as u64) };
        let style = ProgressStyle::with_template("{msg:12} {bar:30} {pos}/{len} samples, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(name);
        let mut first = done;
        while first < samples {
            bar.set_position(first as u64);
            let same_prompt = (first..samples).take_while(|&at| self.prompt(at) == self.prompt(first)).count();
            let count = same_prompt.min(self.arguments.batch);
            if !batch(first, count)? {
                bar.finish_and_clear();
                let kept =
                    if self.store.is_some() { "the same command goes on from there" } else { "--keep DIR keeps them" };
                eprintln!("stopped after {first} of {samples} samples ({name}); {kept}");
                std::process::exit(130);
            }
            first += count;
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The prompt of a sample: each prompt has a run of samples, all as many.
    fn prompt(&self, sample: usize) -> usize {
        sample * self.asked.len() / self.arguments.samples
    }

    fn request(
        &self,
        pipeline: &Pipeline,
        first: usize,
        count: usize,
        seed_offset: u64,
        streams: Streams,
        customised: bool,
    ) -> Request {
        let (width, height) = self.arguments.size.map_or(pipeline.usual_size(), |side| (side, side));
        let asked = &self.asked[self.prompt(first)];
        Request {
            prompt: if customised { asked.customised.clone() } else { asked.original.clone() },
            variations: self.variations.clone(),
            seed: self.arguments.seed.wrapping_add(seed_offset).wrapping_add(first as u64),
            batch: count,
            width,
            height,
            num_inference_steps: self.arguments.steps,
            guidance_scale: self.arguments.guidance_scale,
            scheduler: self.arguments.scheduler.clone(),
            // Closed from the first step to the last, only the foundation is run.
            start: if streams == Streams::Foundation { 1.0 } else { 0.0 },
            foundation: true,
            force: self.arguments.force,
            ..Default::default()
        }
    }

    fn kept(&self, set: &str) -> Result<Vec<Array2<f32>>> {
        Ok(self.store.as_ref().map(|store| store.load(set)).transpose()?.flatten().into_iter().collect())
    }

    fn keep(&self, set: &str, first: usize, latents: &Latents) -> Result<()> {
        self.store.as_ref().map_or(Ok(()), |store| store.append(set, first, latents))
    }
}

/// Final latents of F and of the first variation; `None` when stopped.
fn sample(pipeline: &Pipeline, request: &Request) -> Result<Option<(Option<Latents>, Latents)>> {
    let made = pipeline.sample(request, &mut stop::UntilStopped)?;
    if made.cancelled || interrupt::requested() {
        return Ok(None);
    }
    let latents = made.latents.into_iter().next().context("a run without latents")?;
    Ok(Some((made.foundation_latents, latents)))
}

fn rows(latents: Latents) -> Array2<f32> {
    let (count, width) = (latents.shape()[0], latents.len() / latents.shape()[0].max(1));
    Array2::from_shape_vec((count, width), latents.iter().copied().collect()).unwrap_or_default()
}

fn joined(batches: &[Array2<f32>]) -> Result<Array2<f32>> {
    let views: Vec<_> = batches.iter().map(|batch| batch.view()).collect();
    Ok(concatenate(Axis(0), &views)?)
}

fn truncate(batches: &mut [Array2<f32>], rows: usize) {
    for batch in batches {
        *batch = batch.slice(ndarray::s![..rows.min(batch.nrows()), ..]).to_owned();
    }
}

impl DrawArgs {
    fn asked(&self) -> Result<Vec<Asked>> {
        let text = match &self.prompt_file {
            Some(file) => std::fs::read_to_string(file).with_context(|| file.display().to_string())?,
            None => String::new(),
        };
        let lines = self.prompts.iter().map(String::as_str).chain(text.lines().filter(|line| !line.trim().is_empty()));
        let asked: Vec<Asked> = lines
            .map(|line| {
                let (original, customised) = line.split_once('\t').unwrap_or((line, line));
                Asked { original: original.trim().to_owned(), customised: customised.trim().to_owned() }
            })
            .collect();
        match asked.len() {
            0 => bail!("--prompt or --prompts: what do the samples show?"),
            count if count > self.samples => bail!("--samples {} are too few for {count} prompts", self.samples),
            _ => Ok(asked),
        }
    }

    fn variations(&self) -> Result<Vec<Variation>> {
        let mut concepts = Vec::new();
        for given in &self.concepts {
            let concept = given.load()?;
            concepts.push(ConceptUse { name: given.marked_by(&concept), concept, strength: given.strength });
        }
        Ok(if concepts.is_empty() { Vec::new() } else { vec![Variation { concepts }] })
    }

    fn settings(&self, asked: &[Asked]) -> Result<Value> {
        let concepts: Vec<_> =
            self.concepts.iter().map(|it| json!({"file": it.file, "name": it.name, "strength": it.strength})).collect();
        let prompts: Vec<_> = asked.iter().map(|it| json!([it.original, it.customised])).collect();
        Ok(json!({
            "model": self.model.folder()?,
            "concepts": concepts,
            "other": self.other,
            "prompts": prompts,
            "samples": self.samples,
            "seed": self.seed,
            "steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "scheduler": self.scheduler,
            "size": self.size,
        }))
    }
}
