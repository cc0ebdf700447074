use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use infusion::files::Existing;
use infusion::picture::{self, Parameters, PictureText};
use infusion::pipeline::Generated;
use infusion::schedulers;
use serde_json::json;

use super::args::Arguments;
use super::progress::Progress;
use super::settings::{ConceptFile, Settings};
use super::sheet::Sheet;

/// The files of a run: their names are known, and checked, before any work is done.
pub struct Output<'a> {
    arguments: &'a Arguments,
    existing: Existing,
    prompts: usize,
    seeds: usize,
    variations: usize,
    sheet: Sheet,
    written: Vec<Written>,
}

/// A file that was written, for `--json`.
pub type Written = serde_json::Value;

impl<'a> Output<'a> {
    pub fn new(arguments: &'a Arguments, settings: &Settings, prompts: usize, variations: usize) -> Result<Self> {
        let existing = if arguments.overwrite { Existing::Replace } else { Existing::Keep };
        let seeds = arguments.batch.unwrap_or(1);
        let (sheet, written) = (Sheet::default(), Vec::new());
        let output = Self { arguments, existing, prompts, seeds, variations, sheet, written };
        let all = (0..prompts).flat_map(|prompt| (0..seeds as u64).map(move |picture| (prompt, picture)));
        for (prompt, picture) in all {
            let seed = settings.seed.wrapping_add(picture);
            for variation in 0..variations {
                output.check(&output.picture_path(prompt, seed, variation))?;
            }
            arguments
                .foundation
                .iter()
                .try_for_each(|path| output.check(&output.foundation_path(path, prompt, seed)))?;
        }
        arguments.sheet.iter().try_for_each(|path| output.check(path))?;
        Ok(output)
    }

    fn check(&self, path: &Path) -> Result<()> {
        if self.existing == Existing::Keep && path.exists() {
            bail!("{}: exists already; name another file, or use --overwrite", path.display());
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match folder.is_dir() {
            true => Ok(()),
            false => bail!("{}: the folder {} does not exist", path.display(), folder.display()),
        }
    }

    /// `-p1-7-v1`, of which only what tells the pictures of this run apart.
    fn addition(&self, prompt: usize, seed: u64, variation: Option<usize>) -> String {
        let variation = variation.filter(|_| self.variations > 1);
        let parts = [
            (self.prompts > 1).then(|| format!("-p{}", prompt + 1)),
            (self.seeds > 1 || variation.is_some()).then(|| format!("-{seed}")),
            variation.map(|variation| format!("-v{}", variation + 1)),
        ];
        parts.into_iter().flatten().collect()
    }

    fn picture_path(&self, prompt: usize, seed: u64, variation: usize) -> PathBuf {
        beside(&self.arguments.output, &self.addition(prompt, seed, Some(variation)))
    }

    fn foundation_path(&self, path: &Path, prompt: usize, seed: u64) -> PathBuf {
        beside(path, &self.addition(prompt, seed, None))
    }

    /// Writes the pictures of a prompt; they stay if a later one is stopped or fails.
    pub fn write(
        &mut self,
        prompt: usize,
        made: &Generated,
        settings: &Settings,
        variations: &[Vec<ConceptFile>],
    ) -> Result<()> {
        for picture in &made.pictures {
            let concepts = variations.get(picture.variation).cloned().unwrap_or_default();
            let settings = Settings { seed: picture.seed, concepts, ..settings.clone() };
            let path = self.picture_path(prompt, picture.seed, picture.variation);
            self.save(&path, &picture.image, &text(&settings, &picture.image)?)?;
            self.written.push(json!({"kind": "picture", "file": path, "seed": picture.seed, "prompt": settings.prompt,
                                     "variation": picture.variation}));
        }
        self.write_foundation(prompt, made, settings, variations)?;
        self.write_heat_maps(prompt, made, settings)?;
        if self.arguments.sheet.is_some() {
            self.sheet.add(made, settings, variations);
        }
        Ok(())
    }

    /// Writes what belongs to the whole run and says what there is.
    pub fn finish(mut self) -> Result<Vec<Written>> {
        if let Some(path) = &self.arguments.sheet {
            let rows = self.sheet.rows(self.prompts, self.seeds);
            self.save(path, &picture::contact_sheet(&rows)?, &PictureText::default())?;
            self.written.push(json!({"kind": "sheet", "file": path}));
        }
        Ok(self.written)
    }

    /// What a run that was stopped leaves behind, in words.
    pub fn kept(&self, progress: &Progress<'_>) -> String {
        let written = self.written.iter().filter_map(|file| file["file"].as_str()).map(str::to_owned);
        let preview = progress.preview().map(|path| path.display().to_string());
        let files: Vec<String> = written.chain(preview).collect();
        if files.is_empty() { "no picture was written".to_owned() } else { format!("kept: {}", files.join(", ")) }
    }

    fn write_foundation(
        &mut self,
        prompt: usize,
        made: &Generated,
        settings: &Settings,
        variations: &[Vec<ConceptFile>],
    ) -> Result<()> {
        let Some(path) = &self.arguments.foundation else { return Ok(()) };
        let mut concepts = variations.first().cloned().unwrap_or_default();
        concepts.iter_mut().for_each(|concept| concept.strength = 0.0);
        for (picture, index) in made.foundation.iter().zip(0..) {
            let seed = settings.seed.wrapping_add(index);
            let settings = Settings { seed, concepts: concepts.clone(), ..settings.clone() };
            let path = self.foundation_path(path, prompt, seed);
            self.save(&path, picture, &text(&settings, picture)?)?;
            self.written.push(json!({"kind": "foundation", "file": path, "seed": seed}));
        }
        Ok(())
    }

    fn write_heat_maps(&mut self, prompt: usize, made: &Generated, settings: &Settings) -> Result<()> {
        for heat in &made.heat_maps {
            let Some(under) = made.pictures.get(heat.picture) else { continue };
            let drawn = picture::heat_map(&under.image, heat.map.view(), 0.6)?;
            let seed = settings.seed.wrapping_add(heat.picture as u64);
            let name = format!("{}-attention-{}", self.addition(prompt, seed, None), heat.concept);
            let path = beside(&self.arguments.output, &name);
            self.save(&path, &drawn, &PictureText::default())?;
            self.written.push(json!({"kind": "attention map", "file": path, "seed": seed, "concept": heat.concept}));
        }
        Ok(())
    }

    fn save(&self, path: &Path, picture: &picture::Picture, text: &PictureText) -> Result<()> {
        Ok(picture::save(path, picture, text, self.existing)?)
    }
}

/// A1111's text for other tools, and all settings for this one.
fn text(settings: &Settings, picture: &picture::Picture) -> Result<PictureText> {
    let sampler = schedulers::find(&settings.scheduler)?.label;
    let parameters = Parameters {
        prompt: settings.prompt.clone(),
        negative_prompt: settings.negative_prompt.clone(),
        ..Default::default()
    };
    let parameters = parameters
        .with("Steps", settings.steps)
        .with("Sampler", sampler)
        .with("CFG scale", settings.guidance_scale)
        .with("Seed", settings.seed)
        .with("Size", format!("{}x{}", picture.width(), picture.height()));
    let parameters = match (&settings.init_image, settings.strength) {
        (Some(_), strength) => parameters.with("Denoising strength", strength.unwrap_or(super::STRENGTH)),
        (None, _) => parameters,
    };
    Ok(PictureText::new(&parameters, &serde_json::to_value(settings)?))
}

/// `picture.png` with `-7` between stem and extension.
pub fn beside(path: &Path, addition: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or("png".into(), |extension| extension.to_string_lossy());
    path.with_file_name(format!("{stem}{addition}.{extension}"))
}
