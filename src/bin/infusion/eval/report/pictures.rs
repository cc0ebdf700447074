use std::sync::Arc;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use infusion::picture::{self, Picture};
use infusion::pipeline::{ConceptUse, Pipeline, Request, Variation};
use infusion::prompt::{Prompt, Words};
use serde_json::{Value, json};

use super::{Arguments, Named};
use crate::eval::stop;
use crate::interrupt;

/// A prompt's picture by both streams from the same noise.
pub struct Scene {
    pub prompt: String,
    /// The prompt with super-class words in place of marks: what CLIP is asked.
    pub text: String,
    pub seed: u64,
    pub foundation: Picture,
    pub customised: Picture,
    /// Where the foundation attends to each concept, over its own picture.
    pub heat_maps: Vec<(String, Picture)>,
}

impl Scene {
    pub fn describe(&self) -> Value {
        let concepts: Vec<_> = self.heat_maps.iter().map(|(name, _)| name).collect();
        json!({"prompt": self.prompt, "text": self.text, "seed": self.seed, "concepts": concepts})
    }
}

/// The scenes of all prompts; `None` when stopped.
pub fn make(
    arguments: &Arguments,
    pipeline: &Pipeline,
    named: &[Named],
    prompts: &[String],
) -> Result<Option<Vec<Scene>>> {
    let words = named.iter().fold(Words::new(), |words, it| words.with(&it.name, &it.concept.class));
    let total = prompts.len() * arguments.pictures;
    let bar = if arguments.quiet { ProgressBar::hidden() } else { ProgressBar::new(total as u64) };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} pictures, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut scenes = Vec::new();
    for source in prompts {
        let prompt = Prompt::parse(source, &words)?;
        let variation = variation(&prompt, named)?;
        for seed in (0..arguments.pictures as u64).map(|index| arguments.seed.wrapping_add(index)) {
            let Some(scene) = scene(arguments, pipeline, &prompt, variation.clone(), seed)? else { return Ok(None) };
            scenes.push(scene);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(Some(scenes))
}

/// The concepts that the prompt marks.
fn variation(prompt: &Prompt, named: &[Named]) -> Result<Variation> {
    let marked = prompt.concepts();
    if marked.is_empty() {
        let names: Vec<_> = named.iter().map(|it| format!("<{}>", it.name)).collect();
        bail!("--prompt \"{}\": marks no concept; write {} in it", prompt.source(), names.join(" or "));
    }
    let used = named.iter().filter(|it| marked.contains(&it.name.as_str()));
    let concepts =
        used.map(|it| ConceptUse { name: it.name.clone(), concept: Arc::clone(&it.concept), strength: it.strength });
    Ok(Variation { concepts: concepts.collect() })
}

fn scene(
    arguments: &Arguments,
    pipeline: &Pipeline,
    prompt: &Prompt,
    variation: Variation,
    seed: u64,
) -> Result<Option<Scene>> {
    let (width, height) = arguments.size(pipeline);
    let request = Request {
        prompt: prompt.source().to_owned(),
        variations: vec![variation],
        seed,
        width,
        height,
        num_inference_steps: arguments.steps,
        guidance_scale: arguments.guidance_scale,
        scheduler: arguments.scheduler.clone(),
        foundation: true,
        attention_maps: true,
        force: arguments.force,
        ..Default::default()
    };
    let made = pipeline.generate(&request, &mut stop::UntilStopped)?;
    if made.cancelled || interrupt::requested() {
        return Ok(None);
    }
    let customised = made.pictures.into_iter().next().context("a run without a picture")?.image;
    let foundation = made.foundation.into_iter().next().context("a run without the foundation's picture")?;
    let heat = |map: &infusion::pipeline::HeatMap| {
        Ok((map.concept.clone(), picture::heat_map(&foundation, map.map.view(), 0.6)?))
    };
    let heat_maps = made.heat_maps.iter().map(heat).collect::<Result<_>>()?;
    let (prompt, text) = (prompt.source().to_owned(), prompt.text());
    Ok(Some(Scene { prompt, text, seed, foundation, customised, heat_maps }))
}
