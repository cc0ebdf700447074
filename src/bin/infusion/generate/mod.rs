//! `infusion generate`: pictures from a prompt, with concepts.

mod args;
mod output;
mod progress;
mod settings;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use infusion::concept::Concept;
use infusion::pipeline::{ConceptUse, Generated, InitImage, Pipeline, PipelineOptions, Request, Variation};
use infusion::runtime::{ProviderKind, providers};
use infusion::schedulers::Latents;
use ndarray::Array4;
use safetensors::SafeTensors;
use serde_json::json;

pub use args::Arguments;
use output::{Output, Written};
use progress::{Previews, Progress};
pub use settings::marked_names;
use settings::{ConceptFile, Settings};

use crate::interrupt;

pub fn run(arguments: &Arguments) -> Result<()> {
    let settings = Settings::resolve(arguments)?;
    let factors = if arguments.variations.is_empty() { vec![1.0] } else { arguments.variations.clone() };
    if factors.len() > 1 && settings.concepts.is_empty() {
        bail!("--variations: there is no concept to vary");
    }
    let output = Output::new(arguments, arguments.batch.unwrap_or(1) * factors.len())?;
    arguments.runtime.load()?;
    tell_provider(arguments)?;
    let pipeline = open(arguments, &settings)?;
    let request = request(arguments, &settings, &factors, &pipeline)?;
    interrupt::listen();
    let started = Instant::now();
    let previews = arguments.preview_every.map(|every| {
        let path = output::beside(&arguments.output, "-preview");
        Previews { pipeline: &pipeline, every, path }
    });
    let mut progress = Progress::new(!arguments.quiet && !arguments.json, previews);
    let made = pipeline.generate(&request, &mut progress);
    progress.finish();
    let made = made?;
    if made.cancelled {
        eprintln!("stopped after {} steps; no picture was written (previews that were are kept)", made.steps);
        std::process::exit(130);
    }
    let written = output.write(&made, &settings, &factors)?;
    report(arguments, &pipeline, &made, &written, started);
    Ok(())
}

fn tell_provider(arguments: &Arguments) -> Result<()> {
    let asked = &arguments.runtime.provider;
    if asked.kind == ProviderKind::Auto && !arguments.quiet && !arguments.json {
        let choice = providers::choose(asked)?;
        let reason = choice.reason.lines().next().unwrap_or_default().trim_end_matches(':');
        eprintln!("provider: {} ({reason}; `infusion providers` tells more)", choice.spec);
    }
    Ok(())
}

fn open(arguments: &Arguments, settings: &Settings) -> Result<Pipeline> {
    let cache = arguments.runtime.cache_folder();
    let options = PipelineOptions {
        session: arguments.runtime.session_options(),
        low_memory: arguments.low_memory,
        graph_folder: cache.map(|cache| cache.join("graphs")),
    };
    Ok(Pipeline::open(&settings.model, &options)?)
}

fn request(arguments: &Arguments, settings: &Settings, factors: &[f32], pipeline: &Pipeline) -> Result<Request> {
    let concepts: Vec<(&ConceptFile, Arc<Concept>)> =
        settings.concepts.iter().map(|used| Ok((used, Arc::new(Concept::load(&used.file)?)))).collect::<Result<_>>()?;
    let variation = |&factor: &f32| Variation {
        concepts: concepts
            .iter()
            .map(|(used, concept)| ConceptUse {
                name: used.name.clone(),
                concept: Arc::clone(concept),
                strength: used.strength * factor,
            })
            .collect(),
    };
    let variations = if concepts.is_empty() { Vec::new() } else { factors.iter().map(variation).collect() };
    let (width, height) = pipeline.usual_size();
    let init_image = match &settings.init_image {
        Some(path) => {
            Some(InitImage { picture: infusion::picture::open(path)?, strength: settings.strength.unwrap_or(0.8) })
        }
        None => None,
    };
    Ok(Request {
        prompt: settings.prompt.clone(),
        negative_prompt: settings.negative_prompt.clone(),
        variations,
        seed: settings.seed,
        batch: arguments.batch.unwrap_or(1),
        width: settings.width.unwrap_or(width),
        height: settings.height.unwrap_or(height),
        num_inference_steps: settings.steps,
        guidance_scale: settings.guidance_scale,
        scheduler: settings.scheduler.clone(),
        mode: settings.mode()?,
        graphs: arguments.graphs.map(Into::into).unwrap_or_default(),
        start: settings.start,
        end: settings.end,
        layer_scales: settings.scales(),
        init_image,
        noise: settings.noise.as_deref().map(noise).transpose()?,
        foundation: arguments.foundation.is_some(),
        attention_maps: arguments.attention_maps,
        force: arguments.force,
    })
}

/// The one tensor of a `.safetensors` file, or the one called `noise`.
fn noise(path: &Path) -> Result<Latents> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let file = SafeTensors::deserialize(&bytes).with_context(|| format!("{}: no .safetensors file", path.display()))?;
    let names = file.names();
    let name = if names.len() == 1 { names[0] } else { "noise" };
    let tensor = file.tensor(name).with_context(|| format!("{}: holds no tensor 'noise'", path.display()))?;
    let shape: [usize; 4] = match (tensor.dtype(), <[usize; 4]>::try_from(tensor.shape())) {
        (safetensors::Dtype::F32, Ok(shape)) => shape,
        _ => bail!("{}: '{name}' must be F32 of shape [batch, 4, height/8, width/8]", path.display()),
    };
    let values =
        tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    Ok(Array4::from_shape_vec(shape, values.collect())?)
}

fn report(arguments: &Arguments, pipeline: &Pipeline, made: &Generated, written: &[Written], started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    let sessions = pipeline.loaded();
    if arguments.json {
        let parts = sessions.iter().map(|(part, session)| {
            let nodes = session.assignment().map(|it| it.nodes.clone().into_iter().collect::<BTreeMap<_, _>>());
            json!({"part": part, "provider": session.provider().to_string(), "nodes": nodes,
                   "cache": format!("{:?}", session.cache_use())})
        });
        let parts: Vec<_> = parts.collect();
        let report = json!({"files": written, "graphs": made.graphs, "steps": made.steps,
                            "seconds": seconds, "sessions": parts});
        println!("{report:#}");
    } else if !arguments.quiet {
        for file in written {
            let seed = file.get("seed").map(|seed| format!(", seed {seed}")).unwrap_or_default();
            println!(
                "{} ({}{seed})",
                file["file"].as_str().unwrap_or_default(),
                file["kind"].as_str().unwrap_or_default()
            );
        }
        for (part, session) in &sessions {
            match session.assignment() {
                Some(assignment) => eprintln!("{part}: {assignment}"),
                None => eprintln!("{part}: on {}", session.provider()),
            }
            if let infusion::runtime::CacheUse::Failed(reason) = session.cache_use() {
                eprintln!("{part}: not cached: {reason}");
            }
        }
        eprintln!("{seconds:.1} s, {} steps by {}", made.steps, made.graphs);
    }
}
