use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use infusion::concept::Concept;
use infusion::files::Existing;
use infusion::picture::{self, Cell, Picture, PictureText, SheetRow, contact_sheet};
use infusion::pipeline::{ConceptUse, Pipeline, Request, Silent, Variation};
use infusion::train::Dataset;

use super::args::Arguments;
use super::plan::Plan;
use crate::generate::marked_names;

/// Photographs shown on the sheet.
const PHOTOGRAPHS: usize = 8;
/// Prompts drawn where none are named for it.
const PROMPTS: usize = 4;

/// The pictures that show how a training went.
pub struct Gallery<'a> {
    pipeline: &'a Pipeline,
    prompts: Vec<String>,
    size: usize,
    steps: usize,
    guidance_scale: f32,
    seed: u64,
    rows: Vec<SheetRow>,
}

/// What the validation prompts look like: one picture each.
struct Drawn {
    foundation: Vec<Picture>,
    customised: Vec<Picture>,
}

impl<'a> Gallery<'a> {
    pub fn new(arguments: &Arguments, plan: &Plan, pipeline: &'a Pipeline, size: u32) -> Self {
        let prompts = match arguments.validation_prompts.is_empty() {
            true => plan.prompts.iter().take(PROMPTS).cloned().collect(),
            false => arguments.validation_prompts.clone(),
        };
        Self {
            pipeline,
            prompts,
            size: size as usize,
            steps: arguments.validation_steps,
            guidance_scale: arguments.guidance_scale,
            seed: plan.settings.seed,
            rows: Vec::new(),
        }
    }

    pub fn photographs(&mut self, dataset: &Dataset) {
        let cell = |picture: &Picture| Cell { caption: String::new(), picture: picture.clone() };
        let cells = dataset.photos.iter().take(PHOTOGRAPHS).map(|photo| cell(&photo.picture)).collect();
        self.rows.push(SheetRow { label: "photographs".to_owned(), cells });
    }

    /// Draws the prompts with the concepts as they are, writes them, and keeps them for the sheet.
    pub fn validate(&mut self, step: usize, concepts: Vec<Concept>, path: &Path) -> Result<()> {
        let drawn = self.draw(concepts)?;
        let row = self.row(format!("after {step} steps"), drawn.customised);
        let sheet = contact_sheet(std::slice::from_ref(&row))?;
        picture::save(path, &sheet, &PictureText::default(), Existing::Replace)?;
        self.rows.push(row);
        Ok(())
    }

    /// The whole sheet; F's and C's pictures of the finished concepts come last.
    pub fn sheet(&mut self, concepts: Vec<Concept>) -> Result<Picture> {
        let drawn = self.draw(concepts)?;
        let rows = [("without the concept", drawn.foundation), ("with the concept", drawn.customised)];
        let rows = rows.map(|(label, pictures)| self.row(label.to_owned(), pictures));
        self.rows.extend(rows);
        Ok(contact_sheet(&self.rows)?)
    }

    fn row(&self, label: String, pictures: Vec<Picture>) -> SheetRow {
        let cell = |(prompt, picture): (&String, Picture)| Cell { caption: prompt.clone(), picture };
        SheetRow { label, cells: self.prompts.iter().zip(pictures).map(cell).collect() }
    }

    fn draw(&self, concepts: Vec<Concept>) -> Result<Drawn> {
        let concepts: Vec<Arc<Concept>> = concepts.into_iter().map(Arc::new).collect();
        let mut drawn = Drawn { foundation: Vec::new(), customised: Vec::new() };
        for prompt in &self.prompts {
            let marked = marked_names(prompt);
            let used = concepts.iter().filter(|concept| marked.contains(&concept.word));
            let concepts = used.map(|concept| ConceptUse {
                name: concept.word.clone(),
                concept: Arc::clone(concept),
                strength: 1.0,
            });
            let concepts: Vec<ConceptUse> = concepts.collect();
            let variations = if concepts.is_empty() { Vec::new() } else { vec![Variation { concepts }] };
            let request = Request {
                prompt: prompt.clone(),
                variations,
                seed: self.seed,
                width: self.size,
                height: self.size,
                num_inference_steps: self.steps,
                guidance_scale: self.guidance_scale,
                foundation: true,
                force: true,
                ..Request::default()
            };
            let made = self.pipeline.generate(&request, &mut Silent)?;
            let customised: Vec<Picture> = made.pictures.into_iter().map(|picture| picture.image).collect();
            // A prompt that marks no concept has F's picture alone.
            drawn.foundation.extend(if made.foundation.is_empty() { customised.clone() } else { made.foundation });
            drawn.customised.extend(customised);
        }
        Ok(drawn)
    }
}
