use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use infusion::files::Existing;
use infusion::picture::{self, Cell, Parameters, PictureText, SheetRow};
use infusion::pipeline::Generated;
use infusion::schedulers;
use serde_json::json;

use super::args::Arguments;
use super::settings::Settings;

/// The files of a run: their names are known, and checked, before any work is done.
pub struct Output<'a> {
    arguments: &'a Arguments,
    existing: Existing,
}

/// A file that was written, for `--json`.
pub type Written = serde_json::Value;

impl<'a> Output<'a> {
    pub fn new(arguments: &'a Arguments, pictures: usize) -> Result<Self> {
        let existing = if arguments.overwrite { Existing::Replace } else { Existing::Keep };
        let output = Self { arguments, existing };
        let single = (pictures == 1).then(|| arguments.output.clone());
        for path in [single, arguments.foundation.clone(), arguments.sheet.clone()].into_iter().flatten() {
            output.check(&path)?;
        }
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

    pub fn write(&self, made: &Generated, settings: &Settings, factors: &[f32]) -> Result<Vec<Written>> {
        let mut written = Vec::new();
        let several = made.pictures.len() > 1;
        for picture in &made.pictures {
            let settings = varied(settings, picture.seed, factors.get(picture.variation).copied());
            let mut name = String::new();
            if several {
                name = format!("-{}", picture.seed);
                if factors.len() > 1 {
                    name.push_str(&format!("-v{}", picture.variation + 1));
                }
            }
            let path = beside(&self.arguments.output, &name);
            self.save(&path, &picture.image, &text(&settings, &picture.image)?)?;
            written
                .push(json!({"kind": "picture", "file": path, "seed": picture.seed, "variation": picture.variation}));
        }
        self.write_foundation(made, settings, &mut written)?;
        self.write_heat_maps(made, settings, &mut written)?;
        self.write_sheet(made, settings, &mut written)?;
        Ok(written)
    }

    fn write_foundation(&self, made: &Generated, settings: &Settings, written: &mut Vec<Written>) -> Result<()> {
        let Some(path) = &self.arguments.foundation else { return Ok(()) };
        for (picture, index) in made.foundation.iter().zip(0..) {
            let seed = settings.seed.wrapping_add(index);
            let settings = varied(settings, seed, Some(0.0));
            let path = if made.foundation.len() > 1 { beside(path, &format!("-{seed}")) } else { path.clone() };
            self.save(&path, picture, &text(&settings, picture)?)?;
            written.push(json!({"kind": "foundation", "file": path, "seed": seed}));
        }
        Ok(())
    }

    fn write_heat_maps(&self, made: &Generated, settings: &Settings, written: &mut Vec<Written>) -> Result<()> {
        for heat in &made.heat_maps {
            let Some(under) = made.pictures.get(heat.picture) else { continue };
            let drawn = picture::heat_map(&under.image, heat.map.view(), 0.6)?;
            let seed = settings.seed.wrapping_add(heat.picture as u64);
            let mut name = format!("-attention-{}", heat.concept);
            if made.pictures.len() > 1 {
                name = format!("-{seed}{name}");
            }
            let path = beside(&self.arguments.output, &name);
            self.save(&path, &drawn, &PictureText::default())?;
            written.push(json!({"kind": "attention map", "file": path, "seed": seed, "concept": heat.concept}));
        }
        Ok(())
    }

    fn write_sheet(&self, made: &Generated, settings: &Settings, written: &mut Vec<Written>) -> Result<()> {
        let Some(path) = &self.arguments.sheet else { return Ok(()) };
        let cell = |caption: String, picture: &picture::Picture| Cell { caption, picture: picture.clone() };
        let mut rows = Vec::new();
        if !made.foundation.is_empty() {
            let cells = made.foundation.iter().zip(0..);
            let cells = cells.map(|(it, index)| cell(format!("seed {}", settings.seed.wrapping_add(index)), it));
            rows.push(SheetRow { label: "foundation".to_owned(), cells: cells.collect() });
        }
        let variations = made.pictures.iter().map(|picture| picture.variation).max().unwrap_or(0);
        for variation in 0..=variations {
            let of_this = made.pictures.iter().filter(|picture| picture.variation == variation);
            let cells = of_this.map(|it| cell(format!("seed {}", it.seed), &it.image)).collect();
            rows.push(SheetRow { label: settings.prompt.clone(), cells });
        }
        self.save(path, &picture::contact_sheet(&rows)?, &PictureText::default())?;
        written.push(json!({"kind": "sheet", "file": path}));
        Ok(())
    }

    fn save(&self, path: &Path, picture: &picture::Picture, text: &PictureText) -> Result<()> {
        Ok(picture::save(path, picture, text, self.existing)?)
    }
}

/// The settings that make one of several pictures alone.
fn varied(settings: &Settings, seed: u64, factor: Option<f32>) -> Settings {
    let mut settings = Settings { seed, ..settings.clone() };
    if let Some(factor) = factor {
        settings.concepts.iter_mut().for_each(|concept| concept.strength *= factor);
    }
    settings
}

/// A1111's text for other tools, and all settings for this one.
fn text(settings: &Settings, picture: &picture::Picture) -> Result<PictureText> {
    let sampler = schedulers::find(&settings.scheduler).map_or(settings.scheduler.clone(), |it| it.label.to_owned());
    let mut parameters = Parameters {
        prompt: settings.prompt.clone(),
        negative_prompt: settings.negative_prompt.clone(),
        ..Default::default()
    };
    parameters = parameters
        .with("Steps", settings.steps)
        .with("Sampler", sampler)
        .with("CFG scale", settings.guidance_scale)
        .with("Seed", settings.seed)
        .with("Size", format!("{}x{}", picture.width(), picture.height()));
    Ok(PictureText::new(&parameters, &serde_json::to_value(settings)?))
}

/// `picture.png` with `-7` between stem and extension.
pub fn beside(path: &Path, addition: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or("png".into(), |extension| extension.to_string_lossy());
    path.with_file_name(format!("{stem}{addition}.{extension}"))
}
