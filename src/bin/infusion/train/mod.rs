//! `infusion train`: a concept from a few pictures.

mod args;
mod gallery;
mod plan;
mod progress;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use infusion::files::Existing;
use infusion::picture::{self, Picture, PictureText};
use infusion::pipeline::{Pipeline, PipelineOptions};
use infusion::train::{Checkpoint, Dataset, Material, Plateau, Trainer, loss_curve};
use serde_json::{Value, json};

pub use args::Arguments;
use gallery::Gallery;
use plan::Plan;
use progress::Progress;

use crate::interrupt;

/// Width and height of the loss curve.
const CURVE: (u32, u32) = (720, 420);

/// How the steps ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Steps,
    Plateau,
    Interrupted,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let plan = Plan::new(arguments)?;
    arguments.runtime.load()?;
    let started = Instant::now();
    let mut progress = Progress::new(!arguments.quiet && !arguments.json);
    let pipeline = open(arguments, &plan)?;
    let size = arguments.size.unwrap_or(pipeline.usual_size().0 as u32);
    let dataset = Dataset::read(&plan.folders, size)?;
    tell_skipped(arguments, &dataset, &progress)?;
    let mut gallery = Gallery::new(arguments, &plan, &pipeline, size);
    gallery.photographs(&dataset);

    progress.stage("encoding pictures and prompts");
    let material = Material::prepare(&pipeline, &plan.subjects, &dataset, &plan.prompts, arguments.flip)?;
    progress.stage("loading the train graph");
    let mut trainer = Trainer::new(&pipeline, material, plan.settings.clone())?;
    if arguments.resume {
        trainer.resume(Checkpoint::load(&plan.checkpoint)?)?;
    }
    interrupt::listen();
    progress.begin(trainer.losses().len(), plan.settings.steps);
    let resumed_at = trainer.losses().len();
    let learning = Instant::now();
    let end = learn(arguments, &plan, &mut trainer, &mut gallery, &mut progress);
    progress.finish();
    let end = end?;
    let seconds_a_step = learning.elapsed().as_secs_f64() / (trainer.losses().len() - resumed_at).max(1) as f64;
    if end == End::Interrupted {
        trainer.checkpoint().save(&plan.checkpoint)?;
        eprintln!(
            "stopped after {} of {} steps; {} holds them: the same command with --seed {} --resume goes on",
            trainer.losses().len(),
            plan.settings.steps,
            plan.checkpoint.display(),
            plan.settings.seed
        );
        std::process::exit(130);
    }
    let files = write(arguments, &plan, &trainer, &mut gallery)?;
    if plan.checkpoint.exists() {
        std::fs::remove_file(&plan.checkpoint)?;
    }
    report(arguments, &plan, &trainer, &dataset, &Done { files, end, seconds_a_step, started });
    Ok(())
}

fn open(arguments: &Arguments, plan: &Plan) -> Result<Pipeline> {
    let options = PipelineOptions {
        session: arguments.runtime.session_options(),
        low_memory: false,
        graph_folder: arguments.runtime.cache_folder().map(|cache| cache.join("graphs")),
    };
    Ok(Pipeline::open(&plan.model, &options)?)
}

fn tell_skipped(arguments: &Arguments, dataset: &Dataset, progress: &Progress) -> Result<()> {
    if let Some(skipped) = dataset.skipped.first().filter(|_| arguments.strict) {
        bail!("--strict: {skipped}");
    }
    if !arguments.json {
        for skipped in &dataset.skipped {
            progress.note(&format!("left out {skipped}"));
        }
    }
    Ok(())
}

fn learn(
    arguments: &Arguments,
    plan: &Plan,
    trainer: &mut Trainer,
    gallery: &mut Gallery<'_>,
    progress: &mut Progress,
) -> Result<End> {
    let plateau = arguments.early_stop.map(Plateau::new);
    while let Some(done) = trainer.step()? {
        progress.step(done);
        if done.step.is_multiple_of(arguments.checkpoint_every.max(1)) && arguments.checkpoint_every > 0 {
            trainer.checkpoint().save(&plan.checkpoint)?;
        }
        if arguments.validate_every.is_some_and(|every| done.step.is_multiple_of(every.max(1))) {
            gallery.validate(done.step, trainer.concepts(), &plan.validation_picture(done.step))?;
        }
        if interrupt::requested() && done.step < plan.settings.steps {
            return Ok(End::Interrupted);
        }
        if plateau.is_some_and(|plateau| plateau.reached(trainer.losses())) {
            return Ok(End::Plateau);
        }
    }
    Ok(End::Steps)
}

fn write(arguments: &Arguments, plan: &Plan, trainer: &Trainer, gallery: &mut Gallery<'_>) -> Result<Vec<Value>> {
    let existing = if arguments.overwrite { Existing::Replace } else { Existing::Keep };
    let mut files = Vec::new();
    for (concept, path) in trainer.concepts().iter().zip(&plan.outputs) {
        let encoded = concept.save(path, arguments.precision, existing)?;
        files.push(json!({"kind": "concept", "file": path, "concept": concept.word, "bytes": encoded.bytes.len(),
                          "tokens": concept.tokens(), "parameters": concept.parameters()}));
    }
    let mut save = |kind: &str, path: &Path, picture: &Picture| -> Result<()> {
        picture::save(path, picture, &PictureText::default(), existing)?;
        files.push(json!({"kind": kind, "file": path}));
        Ok(())
    };
    if let Some(path) = &arguments.curve {
        save("curve", path, &loss_curve(trainer.losses(), CURVE.0, CURVE.1)?)?;
    }
    if let Some(path) = &arguments.sheet {
        save("sheet", path, &gallery.sheet(trainer.concepts())?)?;
    }
    Ok(files)
}

/// What the report tells beside the trainer's own numbers.
struct Done {
    files: Vec<Value>,
    end: End,
    seconds_a_step: f64,
    started: Instant,
}

fn report(arguments: &Arguments, plan: &Plan, trainer: &Trainer, dataset: &Dataset, done: &Done) {
    let losses = trainer.losses();
    let tenth = (losses.len() / 10).max(1);
    let last = losses.iter().rev().take(tenth).sum::<f64>() / tenth as f64;
    let seconds = done.started.elapsed().as_secs_f64();
    if arguments.json {
        let skipped: Vec<_> = dataset
            .skipped
            .iter()
            .map(|skipped| json!({"file": skipped.path, "reason": skipped.error.to_string()}))
            .collect();
        let report = json!({
            "files": done.files, "steps": losses.len(), "loss": last, "losses": losses, "seed": plan.settings.seed,
            "stopped": if done.end == End::Plateau { "plateau" } else { "steps" },
            "seconds": seconds, "seconds_a_step": done.seconds_a_step, "pictures": dataset.photos.len(),
            "skipped": skipped, "provider": trainer.graph().session().provider().to_string(),
        });
        println!("{report:#}");
    } else if !arguments.quiet {
        for file in &done.files {
            let name = file["file"].as_str().unwrap_or_default();
            match (file["bytes"].as_u64(), file["parameters"].as_u64()) {
                (Some(bytes), Some(numbers)) => println!("{name}: {numbers} numbers, {bytes} bytes"),
                _ => println!("{name}"),
            }
        }
        let why = if done.end == End::Plateau { " (the loss no longer falls)" } else { "" };
        eprintln!(
            "{} steps{why} on {} pictures, seed {}, loss {last:.4}; {seconds:.1} s, {:.0} ms a step on {}",
            losses.len(),
            dataset.photos.len(),
            plan.settings.seed,
            done.seconds_a_step * 1e3,
            trainer.graph().session().provider()
        );
    }
}
