use infusion::picture::{Cell, Picture, SheetRow};
use infusion::pipeline::Generated;

use super::settings::{ConceptFile, Settings};

/// The pictures of a run for the contact sheet: F's above those of each variation, prompts and seeds side by side.
#[derive(Default)]
pub struct Sheet {
    foundation: Vec<Drawn>,
    variations: Vec<(String, Vec<Drawn>)>,
}

struct Drawn {
    prompt: String,
    seed: u64,
    picture: Picture,
}

impl Sheet {
    pub fn add(&mut self, made: &Generated, settings: &Settings, variations: &[Vec<ConceptFile>]) {
        let drawn = |seed, picture: &Picture| Drawn { prompt: settings.prompt.clone(), seed, picture: picture.clone() };
        if !variations.is_empty() {
            let seeds = (0..).map(|picture| settings.seed.wrapping_add(picture));
            self.foundation.extend(made.foundation.iter().zip(seeds).map(|(picture, seed)| drawn(seed, picture)));
        }
        for picture in &made.pictures {
            while self.variations.len() <= picture.variation {
                let concepts = variations.get(self.variations.len());
                self.variations.push((concepts.map_or(String::new(), |it| label(it)), Vec::new()));
            }
            if let Some((_, cells)) = self.variations.get_mut(picture.variation) {
                cells.push(drawn(picture.seed, &picture.image));
            }
        }
    }

    /// Captions say what differs between the pictures of this run.
    pub fn rows(&self, prompts: usize, seeds: usize) -> Vec<SheetRow> {
        let caption = |drawn: &Drawn| match (prompts > 1, seeds > 1) {
            (true, false) => drawn.prompt.clone(),
            (true, true) => format!("{} {}", drawn.seed, drawn.prompt),
            (false, _) => format!("seed {}", drawn.seed),
        };
        let cell = |drawn: &Drawn| Cell { caption: caption(drawn), picture: drawn.picture.clone() };
        let row = |label: &str, cells: &[Drawn]| SheetRow {
            label: label.to_owned(),
            cells: cells.iter().map(cell).collect(),
        };
        let foundation = (!self.foundation.is_empty()).then(|| row("F: foundation", &self.foundation));
        foundation.into_iter().chain(self.variations.iter().map(|(label, cells)| row(label, cells))).collect()
    }
}

fn label(concepts: &[ConceptFile]) -> String {
    let each: Vec<String> = concepts.iter().map(|used| format!("<{}> {}", used.name, used.strength)).collect();
    format!("C: {}", each.join(", "))
}
