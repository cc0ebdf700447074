use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use infusion::picture::{self, Parameters};
use infusion::pipeline::{GraphChoice, LayerScale, Mode};
use infusion::schedulers;
use serde::{Deserialize, Serialize};

use super::args::{Arguments, Graphs, Streams};

/// Everything that decides a picture: what is written into it, and read back by `--from`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    pub version: u32,
    pub model: PathBuf,
    pub prompt: String,
    #[serde(default)]
    pub negative_prompt: String,
    #[serde(default)]
    pub concepts: Vec<ConceptFile>,
    pub seed: u64,
    pub width: Option<usize>,
    pub height: Option<usize>,
    pub steps: usize,
    pub guidance_scale: f32,
    pub scheduler: String,
    pub streams: String,
    pub start: f64,
    pub end: f64,
    #[serde(default)]
    pub layer_scales: Vec<(usize, f32)>,
    pub init_image: Option<PathBuf>,
    pub strength: Option<f64>,
    pub noise: Option<PathBuf>,
}

/// A concept's file under the name that the prompt marks it by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConceptFile {
    pub name: String,
    pub file: PathBuf,
    pub strength: f32,
}

impl Settings {
    /// The arguments over the settings of `--from`, over the defaults.
    pub fn resolve(arguments: &Arguments) -> Result<Self> {
        let mut settings = match &arguments.from {
            Some(path) => Self::of_picture(path, arguments)?,
            None => Self::defaults(arguments)?,
        };
        macro_rules! take {
            ($($field:ident),*) => { $(if let Some(value) = &arguments.$field { settings.$field = value.clone(); })* };
        }
        macro_rules! take_some {
            ($($field:ident),*) => { $(if arguments.$field.is_some() { settings.$field = arguments.$field.clone(); })* };
        }
        take!(model, negative_prompt, seed, steps, guidance_scale, scheduler, start, end);
        take_some!(width, height, init_image, strength, noise);
        if let Some(streams) = arguments.streams {
            settings.streams = match streams {
                Streams::Separate => "separate".to_owned(),
                Streams::Shared => "shared".to_owned(),
            };
        }
        if !arguments.concepts.is_empty() {
            settings.concepts = arguments.concepts.iter().map(|text| concept(text)).collect::<Result<_>>()?;
        }
        if !arguments.layer_scales.is_empty() {
            settings.layer_scales =
                arguments.layer_scales.iter().map(|text| layer_scale(text)).collect::<Result<_>>()?;
        }
        Ok(settings)
    }

    /// The settings of each prompt: those given, or the one of `--from`.
    ///
    /// # Errors
    /// A prompt marks a concept that is neither given nor in the folder of concepts.
    pub fn of_prompts(&self, arguments: &Arguments) -> Result<Vec<Self>> {
        let own = std::slice::from_ref(&self.prompt);
        let prompts = if arguments.prompts.is_empty() { own } else { &arguments.prompts };
        let with = |prompt: &String| {
            let mut settings = Self { prompt: prompt.clone(), ..self.clone() };
            if let Some(folder) = &arguments.concept_folder {
                settings.find_concepts(folder, &arguments.variation)?;
            }
            Ok(settings)
        };
        prompts.iter().map(with).collect()
    }

    /// The concepts of each picture on one foundation; none where there are no concepts.
    pub fn variations(&self, arguments: &Arguments) -> Result<Vec<Vec<ConceptFile>>> {
        let factors = if arguments.variations.is_empty() { vec![1.0] } else { arguments.variations.clone() };
        if self.concepts.is_empty() && !arguments.variations.is_empty() {
            bail!("--variations: there is no concept to vary");
        }
        let scaled = |factor: &f32| {
            let scaled = self.concepts.iter().cloned();
            scaled.map(|concept| ConceptFile { strength: concept.strength * factor, ..concept }).collect()
        };
        let mut variations: Vec<Vec<ConceptFile>> = factors.iter().map(scaled).collect();
        for text in &arguments.variation {
            variations.push(text.split(',').map(concept).collect::<Result<_>>()?);
        }
        variations.retain(|concepts| !concepts.is_empty());
        Ok(variations)
    }

    fn defaults(arguments: &Arguments) -> Result<Self> {
        let from_environment = || std::env::var_os("INFUSION_MODEL").map(PathBuf::from);
        let Some(model) = arguments.model.clone().or_else(from_environment) else {
            bail!("--model: name the folder of a pipeline in ONNX (or set INFUSION_MODEL)");
        };
        Ok(Self {
            version: 1,
            model,
            prompt: String::new(),
            negative_prompt: String::new(),
            concepts: Vec::new(),
            seed: random_seed(),
            width: None,
            height: None,
            steps: 50,
            guidance_scale: 8.0,
            scheduler: "ddim".to_owned(),
            streams: "separate".to_owned(),
            start: 0.0,
            end: 1.0,
            layer_scales: Vec::new(),
            init_image: None,
            strength: None,
            noise: None,
        })
    }

    fn of_picture(path: &Path, arguments: &Arguments) -> Result<Self> {
        let text = picture::read_text(path)?;
        if let Some(settings) = text.infusion()? {
            let unreadable = || format!("{}: its settings cannot be read", path.display());
            return serde_json::from_value(settings).with_context(unreadable);
        }
        match text.parameters() {
            Some(parameters) => Self::of_parameters(&parameters, arguments),
            None => bail!("{}: holds no settings (`infusion inspect` prints what it holds)", path.display()),
        }
    }

    /// The settings that other tools write into pictures, too.
    fn of_parameters(parameters: &Parameters, arguments: &Arguments) -> Result<Self> {
        let mut settings = Self::defaults(arguments)?;
        settings.prompt.clone_from(&parameters.prompt);
        settings.negative_prompt.clone_from(&parameters.negative_prompt);
        settings.seed = parameters.get("Seed").unwrap_or(settings.seed);
        settings.steps = parameters.get("Steps").unwrap_or(settings.steps);
        settings.guidance_scale = parameters.get("CFG scale").unwrap_or(settings.guidance_scale);
        settings.strength = parameters.get("Denoising strength");
        if let Some((width, height)) = parameters.size() {
            (settings.width, settings.height) = (Some(width as usize), Some(height as usize));
        }
        if let Some(sampler) = parameters.settings.get("Sampler") {
            let schedule = parameters.settings.get("Schedule type").map(String::as_str);
            settings.scheduler = scheduler_of(sampler, schedule)?;
        }
        Ok(settings)
    }

    /// Looks up every `<name>` of the prompt that neither `--concept` nor `--variation` gives.
    fn find_concepts(&mut self, folder: &Path, variations: &[String]) -> Result<()> {
        let varied: Vec<_> = variations.iter().flat_map(|text| text.split(',')).map(concept).collect::<Result<_>>()?;
        for name in marked_names(&self.prompt) {
            let file = folder.join(format!("{name}.safetensors"));
            if self.concepts.iter().chain(&varied).any(|known| known.name == name) {
                continue;
            }
            if !file.is_file() {
                bail!("<{name}>: {} holds {}", folder.display(), concepts_in(folder));
            }
            self.concepts.push(ConceptFile { name, file, strength: 1.0 });
        }
        Ok(())
    }

    pub fn mode(&self) -> Result<Mode> {
        match self.streams.as_str() {
            "separate" => Ok(Mode::Separate),
            "shared" => Ok(Mode::Shared),
            other => bail!("streams '{other}': there are separate and shared"),
        }
    }

    pub fn scales(&self) -> Vec<LayerScale> {
        self.layer_scales.iter().map(|&(layer, scale)| LayerScale { layer, scale }).collect()
    }
}

impl From<Graphs> for GraphChoice {
    fn from(graphs: Graphs) -> Self {
        match graphs {
            Graphs::Auto => Self::Auto,
            Graphs::Two => Self::Two,
            Graphs::Dual => Self::Dual,
            Graphs::Shared => Self::Shared,
        }
    }
}

/// The names that a folder has concepts for, in words.
fn concepts_in(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let concepts = files.filter(|file| file.extension().is_some_and(|extension| extension == "safetensors"));
    let mut names: Vec<_> = concepts.filter_map(|file| Some(format!("<{}>", file.file_stem()?.to_str()?))).collect();
    names.sort();
    if names.is_empty() { "no concepts (.safetensors)".to_owned() } else { format!("only {}", names.join(", ")) }
}

/// A1111 writes `DPM++ 2M` and, since 1.9, `Karras` apart.
fn scheduler_of(sampler: &str, schedule: Option<&str>) -> Result<String> {
    let own_schedule = |schedule: &&str| !matches!(*schedule, "Automatic" | "Uniform" | "Normal");
    let name = match schedule.filter(own_schedule) {
        Some(schedule) if !sampler.ends_with(schedule) => format!("{sampler} {schedule}"),
        _ => sampler.to_owned(),
    };
    Ok(schedulers::find(&name)?.name.to_owned())
}

/// `NAME=FILE[:STRENGTH]`; a colon that is not followed by a number belongs to the file.
fn concept(text: &str) -> Result<ConceptFile> {
    let (name, rest) = text.split_once('=').with_context(|| format!("--concept {text}: write NAME=FILE[:STRENGTH]"))?;
    let strength = rest.rsplit_once(':').and_then(|(file, number)| Some((file, number.parse::<f32>().ok()?)));
    let (file, strength) = strength.unwrap_or((rest, 1.0));
    if name.trim().is_empty() || file.is_empty() {
        bail!("--concept {text}: write NAME=FILE[:STRENGTH]");
    }
    Ok(ConceptFile { name: name.trim().to_owned(), file: file.into(), strength })
}

fn layer_scale(text: &str) -> Result<(usize, f32)> {
    let pair = text.split_once(':').and_then(|(layer, scale)| Some((layer.parse().ok()?, scale.parse().ok()?)));
    pair.with_context(|| format!("--layer-scale {text}: write LAYER:FACTOR, e.g. 6:0.5"))
}

/// The names between `<` and `>`, which the prompt gives to concepts.
pub fn marked_names(prompt: &str) -> Vec<String> {
    let marks = prompt.split('<').skip(1).filter_map(|rest| rest.split_once('>'));
    marks.filter_map(|(mark, _)| mark.split([':', '|']).next()).map(|name| name.trim().to_owned()).collect()
}

/// 32 bits, as many as PyTorch's generator heeds, from the keys that the standard library draws.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concepts_are_named_files_with_a_strength() {
        let parsed = |text: &str| concept(text).map(|it| (it.name, it.file.display().to_string(), it.strength)).ok();
        assert_eq!(parsed("ball=a.safetensors:0.9"), Some(("ball".into(), "a.safetensors".into(), 0.9)));
        assert_eq!(parsed("ball=C:\\a.safetensors"), Some(("ball".into(), "C:\\a.safetensors".into(), 1.0)));
        assert_eq!(parsed("ball=a:-1"), Some(("ball".into(), "a".into(), -1.0)));
        assert_eq!(parsed("ball"), None);
        assert_eq!(parsed("=a"), None);
    }

    #[test]
    fn layer_scales_are_pairs() {
        assert_eq!(layer_scale("6:0.5").unwrap(), (6, 0.5));
        assert!(layer_scale("6").unwrap_err().to_string().contains("LAYER:FACTOR"));
    }

    #[test]
    fn samplers_of_the_web_ui_are_known_by_both_spellings() {
        for (sampler, schedule, name) in [
            ("DPM++ 2M", Some("Karras"), "dpmpp_2m_karras"),
            ("DPM++ 2M Karras", None, "dpmpp_2m_karras"),
            ("Euler a", Some("Automatic"), "euler_a"),
            ("DDIM", None, "ddim"),
        ] {
            assert_eq!(scheduler_of(sampler, schedule).unwrap(), name);
        }
        assert!(scheduler_of("DDIM", Some("Exponential")).unwrap_err().to_string().contains("DDIM Exponential"));
    }

    #[test]
    fn marks_name_concepts() {
        assert_eq!(marked_names("a <ball:0.5> and <cup|cups> 1 < 2"), ["ball", "cup"]);
    }
}
