//! `infusion eval fisher`: how far a customised model's predictions lie from the original's.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use infusion::metrics::{Draw, noised};
use infusion::picture;
use infusion::pipeline::{Caption, Denoiser, Marking, NoisedLatents, Pipeline};
use infusion::schedulers::{NoiseSchedule, PredictionType};
use ndarray::Array3;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::model::{ConceptArg, ModelArgs};
use super::pairs::{self, Pair};
use super::state::Kept;
use crate::interrupt;

/// Latent Fisher divergence between the original model and a customised one
///
/// ½ E‖ε(z_t, t, c) − ε'(z_t, t, c)‖² over pairs of a picture and a caption that do not show the concept, t
/// uniform. The noise and t of a pair come from seed and pair number alone, so the result is the same for
/// every batch size (to rounding), and a stopped run goes on where it was.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder of pictures with metadata.jsonl: {"file_name": "a.png", "text": "a red ball on the grass"} a line
    #[arg(long, value_name = "DIR")]
    pairs: PathBuf,
    /// The captions' file, if it is not metadata.jsonl in the folder
    #[arg(long, value_name = "FILE")]
    captions: Option<PathBuf>,
    #[command(flatten)]
    subject: Subject,
    /// Put the concept on captions that do not ask for it: on every occurrence of this word, or on all tokens (*)
    #[arg(long, value_name = "WORD", requires = "concept")]
    apply_to: Option<String>,
    /// How many pairs; pictures are taken again, with other noise, when there are fewer [default: each once]
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// Seed of noise and timesteps: pair i draws from seed + i
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Pairs that are predicted at once
    #[arg(short, long, value_name = "N", default_value_t = 4)]
    batch: u64,
    /// Pixels a side that pictures are cut and resized to [default: the model's own size, or 512]
    #[arg(long, value_name = "PIXELS")]
    size: Option<u32>,
    /// Keep the measurement in this file, and go on from it if it exists
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Use a concept that was learned on another model
    #[arg(long)]
    force: bool,
    /// Say nothing but the result and errors
    #[arg(short, long)]
    quiet: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The customised model.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Subject {
    /// A concept file, with its strength
    #[arg(long, value_name = "FILE[:STRENGTH]")]
    concept: Option<ConceptArg>,
    /// Another UNet in ONNX, such as a fine-tuned one; all else is the original's
    #[arg(long, value_name = "FILE")]
    unet: Option<PathBuf>,
    /// Another pipeline's folder, whose UNet, tokenizer and text encoder are used
    #[arg(long, value_name = "DIR")]
    other: Option<PathBuf>,
}

pub fn run(arguments: Arguments) -> Result<()> {
    let pairs = pairs::read(&arguments.pairs, arguments.captions.as_deref())?;
    let count = arguments.count.unwrap_or(pairs.len() as u64);
    if count == 0 || arguments.batch == 0 {
        bail!("--count and --batch must be at least 1");
    }
    let mut kept = Kept::open(arguments.state.as_deref(), arguments.settings(&pairs)?)?;
    let measure = Measure::new(&arguments, &pairs)?;
    interrupt::listen();
    let bar = bar(count, arguments.quiet || arguments.json);
    while kept.state.next < count {
        if interrupt::requested() {
            bar.finish_and_clear();
            return stopped(&mut kept, count);
        }
        let end = count.min(kept.state.next + arguments.batch);
        for pair in measure.predictions(kept.state.next..end)? {
            kept.state.fisher.push(pair.original.view(), pair.customised.view())?;
            kept.state.marked += u64::from(pair.marked);
        }
        kept.state.next = end;
        bar.set_position(end);
        kept.tick()?;
    }
    bar.finish_and_clear();
    kept.save()?;
    print(&arguments, &kept);
    Ok(())
}

fn bar(count: u64, hidden: bool) -> ProgressBar {
    let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::new(count) };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} pairs, {per_sec}, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn stopped(kept: &mut Kept, count: u64) -> Result<()> {
    kept.save()?;
    let advice = match kept.file() {
        Some(file) => format!("the same command goes on from {}", file.display()),
        None => "nothing was kept; --state FILE keeps a measurement".to_owned(),
    };
    eprintln!("stopped after {} of {count} pairs; {advice}", kept.state.next);
    std::process::exit(130);
}

fn print(arguments: &Arguments, kept: &Kept) {
    let statistics = kept.state.fisher.statistics();
    let (mean, error) = (statistics.mean().unwrap_or_default(), statistics.standard_error());
    if arguments.json {
        let report = json!({
            "measure": "latent Fisher divergence",
            "divergence": mean,
            "standard_error": error,
            "pairs": statistics.count(),
            "marked": kept.state.marked,
            "seed": arguments.seed,
            "customised": arguments.subject.describe(),
            "applied_to": arguments.apply_to,
        });
        println!("{report}");
        return;
    }
    let error = error.map(|error| format!(" ± {error:.6}")).unwrap_or_default();
    println!("latent Fisher divergence {mean:.6}{error} (mean and standard error, {} pairs)", statistics.count());
    println!("customised: {}; seed {}", arguments.subject.describe(), arguments.seed);
    match &arguments.apply_to {
        Some(word) => println!("the concept was put on '{word}' in {} pairs", kept.state.marked),
        None if arguments.subject.concept.is_some() => {
            println!("no caption marks the concept, so the foundation alone answered");
        }
        None => {}
    }
}

impl Subject {
    fn describe(&self) -> String {
        match (&self.concept, &self.unet, &self.other) {
            (Some(concept), ..) => format!("{} at {}", concept.file.display(), concept.strength),
            (_, Some(path), _) | (_, _, Some(path)) => path.display().to_string(),
            _ => String::new(),
        }
    }
}

impl Arguments {
    fn marking(&self) -> Marking {
        match self.apply_to.as_deref() {
            None => Marking::Nowhere,
            Some("*") => Marking::Everywhere,
            Some(word) => Marking::Phrase(word.to_owned()),
        }
    }

    /// What decides the number, for a run that goes on.
    fn settings(&self, pairs: &[Pair]) -> Result<Value> {
        let mut digest = Sha256::new();
        for pair in pairs {
            digest.update(format!("{}\n{}\n", pair.picture.display(), pair.caption));
        }
        let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(json!({
            "model": self.model.folder()?,
            "customised": self.subject.describe(),
            "applied_to": self.apply_to,
            "pairs": digest,
            "seed": self.seed,
            "size": self.size,
        }))
    }
}

/// A picture's latents, and what each model reads of its caption.
struct Encoded {
    latents: Array3<f32>,
    original: Caption,
    customised: Caption,
}

/// What both models say of one noised latent, and whether Δ was added.
struct Predicted {
    original: Array3<f32>,
    customised: Array3<f32>,
    marked: bool,
}

struct Measure<'a> {
    pairs: &'a [Pair],
    pipeline: Pipeline,
    /// Encodes the customised model's captions, where they are others.
    other: Option<Pipeline>,
    original: Denoiser,
    customised: Denoiser,
    schedule: NoiseSchedule,
    marking: Marking,
    tokens: usize,
    seed: u64,
    size: (u32, u32),
    cache: std::cell::RefCell<HashMap<usize, Arc<Encoded>>>,
    reused: bool,
}

impl<'a> Measure<'a> {
    fn new(arguments: &Arguments, pairs: &'a [Pair]) -> Result<Self> {
        let pipeline = arguments.model.open()?;
        let marking = arguments.marking();
        if let Marking::Phrase(word) = &marking
            && !pairs.iter().any(|pair| pipeline.occurs(word, &pair.caption).unwrap_or(false))
        {
            bail!("--apply-to {word}: no caption has this word");
        }
        let other = arguments.subject.other.as_ref().map(|folder| arguments.model.open_folder(folder)).transpose()?;
        let (customised, tokens) = match (&arguments.subject.concept, &arguments.subject.unet, &other) {
            (Some(given), ..) => {
                let concept = given.load()?;
                (pipeline.denoiser_with(&concept, given.strength, arguments.force)?, concept.tokens())
            }
            (_, Some(unet), _) => (Denoiser::open(unet, &arguments.model.runtime.session_options())?, 1),
            (_, _, Some(other)) => (other.denoiser()?, 1),
            _ => bail!("name a customised model: --concept, --unet or --other"),
        };
        let schedule = NoiseSchedule::new(pipeline.scheduler_config())?;
        for config in [Some(&pipeline), other.as_ref()].into_iter().flatten().map(Pipeline::scheduler_config) {
            if !matches!(config.prediction_type, None | Some(PredictionType::Epsilon)) {
                bail!("the measure is of models that predict ε; a scheduler_config.json says that this one does not");
            }
        }
        let (width, height) = pipeline.usual_size();
        let size = arguments.size.map_or((width as u32, height as u32), |side| (side, side));
        let reused = arguments.count.is_some_and(|count| count > pairs.len() as u64);
        Ok(Self {
            pairs,
            original: pipeline.denoiser()?,
            customised,
            schedule,
            marking,
            tokens,
            seed: arguments.seed,
            size,
            cache: Default::default(),
            reused,
            other,
            pipeline,
        })
    }

    /// Both models' predictions for these pairs.
    fn predictions(&self, range: std::ops::Range<u64>) -> Result<Vec<Predicted>> {
        let mut drawn = Vec::new();
        for index in range {
            let encoded = self.encoded(index)?;
            let draw = Draw::new(self.seed, index, self.schedule.num_train_timesteps(), encoded.latents.dim());
            let alpha = self.schedule.alphas_cumprod().get(draw.timestep).copied().unwrap_or_default();
            drawn.push((noised(encoded.latents.view(), draw.noise.view(), alpha), draw.timestep, encoded));
        }
        let mut rows: Vec<NoisedLatents<'_>> = Vec::new();
        for (latents, timestep, encoded) in &drawn {
            rows.push(NoisedLatents { latents: latents.view(), timestep: *timestep, caption: &encoded.original });
        }
        let original = self.original.predict(&rows)?;
        for (row, (.., encoded)) in rows.iter_mut().zip(&drawn) {
            row.caption = &encoded.customised;
        }
        let customised = self.customised.predict(&rows)?;
        let predicted = original.into_iter().zip(customised).zip(&drawn);
        let predicted = predicted.map(|((original, customised), (.., encoded))| Predicted {
            original,
            customised,
            marked: encoded.customised.is_marked(),
        });
        Ok(predicted.collect())
    }

    fn encoded(&self, index: u64) -> Result<Arc<Encoded>> {
        let place = (index % self.pairs.len() as u64) as usize;
        if let Some(known) = self.cache.borrow().get(&place) {
            return Ok(Arc::clone(known));
        }
        let pair = &self.pairs[place];
        let shown = picture::fit(&picture::open(&pair.picture)?, self.size.0, self.size.1)?;
        let latents = self.pipeline.encode_picture(&shown)?;
        let caption = |pipeline: &Pipeline, marking: &Marking| {
            let encoded = pipeline.caption(&pair.caption, marking, self.tokens);
            encoded.with_context(|| format!("the caption of {}", pair.picture.display()))
        };
        let original = caption(&self.pipeline, &Marking::Nowhere)?;
        let customised = caption(self.other.as_ref().unwrap_or(&self.pipeline), &self.marking)?;
        let encoded = Arc::new(Encoded { latents, original, customised });
        if self.reused {
            self.cache.borrow_mut().insert(place, Arc::clone(&encoded));
        }
        Ok(encoded)
    }
}
