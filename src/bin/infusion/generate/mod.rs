//! `infusion generate`: pictures from a prompt, with concepts.

mod args;
mod output;
mod progress;
mod settings;
mod sheet;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use infusion::concept::Concept;
use infusion::pipeline::{ConceptUse, InitImage, Mode, Pipeline, PipelineOptions, Request, Variation};
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

/// Share of the steps that img2img runs unless told otherwise.
const STRENGTH: f64 = 0.8;

pub fn run(arguments: &Arguments) -> Result<()> {
    let settings = Settings::resolve(arguments)?;
    let prompts = settings.of_prompts(arguments)?;
    let variations: Vec<_> = prompts.iter().map(|it| it.variations(arguments)).collect::<Result<_>>()?;
    let each = variations.iter().map(|it| it.len().max(1)).max().unwrap_or(1);
    let mut output = Output::new(arguments, &settings, prompts.len(), each)?;
    arguments.runtime.load()?;
    tell_provider(arguments)?;
    let pipeline = open(arguments, &settings)?;
    interrupt::listen();
    let started = Instant::now();
    let mut last = None;
    for (index, (settings, variations)) in prompts.iter().zip(&variations).enumerate() {
        let request = request(arguments, settings, variations, &pipeline)?;
        let mut progress = Progress::new(!arguments.quiet && !arguments.json, previews(arguments, &pipeline));
        let made = pipeline.generate(&request, &mut progress);
        progress.finish();
        let made = made?;
        if made.cancelled {
            eprintln!("stopped after {} of {} steps; {}", made.steps, settings.steps, output.kept(&progress));
            std::process::exit(130);
        }
        output.write(index, &made, settings, variations)?;
        last = Some((made.graphs, made.steps));
    }
    let written = output.finish()?;
    report(arguments, &pipeline, last.unwrap_or_default(), &written, started);
    Ok(())
}

fn previews<'a>(arguments: &Arguments, pipeline: &'a Pipeline) -> Option<Previews<'a>> {
    let path = output::beside(&arguments.output, "-preview");
    arguments.preview_every.map(|every| Previews { pipeline, every, path, written: false })
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

fn request(
    arguments: &Arguments,
    settings: &Settings,
    variations: &[Vec<ConceptFile>],
    pipeline: &Pipeline,
) -> Result<Request> {
    let mut files: BTreeMap<&Path, Arc<Concept>> = BTreeMap::new();
    for used in variations.iter().flatten() {
        if !files.contains_key(used.file.as_path()) {
            files.insert(&used.file, Arc::new(Concept::load(&used.file)?));
        }
    }
    let use_of = |used: &ConceptFile| {
        let concept = files.get(used.file.as_path()).map(Arc::clone);
        concept.map(|concept| ConceptUse { name: used.name.clone(), concept, strength: used.strength })
    };
    let variations =
        variations.iter().map(|used| Variation { concepts: used.iter().filter_map(use_of).collect() }).collect();
    let (width, height) = pipeline.usual_size();
    let init_image = match &settings.init_image {
        Some(path) => {
            Some(InitImage { picture: infusion::picture::open(path)?, strength: settings.strength.unwrap_or(STRENGTH) })
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
        foundation: arguments.foundation.is_some() || (arguments.sheet.is_some() && settings.mode()? == Mode::Separate),
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

fn report(
    arguments: &Arguments,
    pipeline: &Pipeline,
    (graphs, steps): (&str, usize),
    written: &[Written],
    started: Instant,
) {
    let seconds = started.elapsed().as_secs_f64();
    let sessions = pipeline.loaded();
    if arguments.json {
        let parts = sessions.iter().map(|(part, session)| {
            let nodes = session.assignment().map(|it| it.nodes.clone().into_iter().collect::<BTreeMap<_, _>>());
            json!({"part": part, "provider": session.provider().to_string(), "nodes": nodes,
                   "cache": format!("{:?}", session.cache_use())})
        });
        let parts: Vec<_> = parts.collect();
        let report = json!({"files": written, "graphs": graphs, "steps": steps,
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
        eprintln!("{seconds:.1} s, {steps} steps by {graphs}");
    }
}
