use ndarray::{Array2, Array3};

use super::{Dataset, Error, Photo, Result};
use crate::concept::LayerSpec;
use crate::pipeline::{Pipeline, Posterior};
use crate::prompt::{Prompt, Slots, Tokens, Words};
use crate::schedulers::NoiseSchedule;

/// A concept to learn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its name, as prompts mark it: `<name>`.
    pub name: String,
    /// The super-class word that prompts read in its place, e.g. `ball`.
    pub class: String,
}

/// A prompt, encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Caption {
    /// As it was written.
    pub prompt: String,
    /// The concepts that it marks.
    pub concepts: Vec<String>,
    /// The context `[1, L, C]`.
    pub context: Array3<f32>,
    /// What share of each row of Δ each row of the context gets, `[L, S]`.
    pub mask: Array2<f32>,
}

/// A photograph, encoded: what it can show in a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The photograph, and behind it, where flips are wanted, its mirror image.
    pub views: Vec<View>,
    /// Which captions go with it.
    pub captions: Vec<usize>,
}

/// One way to see a photograph.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Its latents.
    pub posterior: Posterior,
    /// How much each latent cell counts; `None`: all of it.
    pub weight: Option<Array2<f32>>,
}

/// Everything that a training needs of the pipeline but the UNet, computed once.
#[derive(Clone, Debug)]
pub struct Material {
    /// The concepts to learn, and how many rows of Δ each has: one for each token of its class.
    pub subjects: Vec<(Subject, usize)>,
    /// The prompts.
    pub captions: Vec<Caption>,
    /// The photographs.
    pub examples: Vec<Example>,
    /// The UNet's cross-attention layers.
    pub layers: Vec<LayerSpec>,
    /// The hash by which the concepts will know their model.
    pub base_model_hash: Option<String>,
    /// The noise that the model was trained with.
    pub schedule: NoiseSchedule,
}

impl Material {
    /// Encodes photographs and prompts, and drops the models that it needed for that.
    ///
    /// `prompts` mark the subjects (`a photo of a <ball>`); every one may be drawn for every photograph,
    /// but a photograph with a [`Photo::subject`] takes only those that mark it. With `flips`, a photograph
    /// is mirrored every other time.
    ///
    /// # Errors
    /// A prompt marks no or an unknown concept, a subject or photograph has no prompt, or a model fails.
    pub fn prepare(
        pipeline: &Pipeline,
        subjects: &[Subject],
        dataset: &Dataset,
        prompts: &[String],
        flips: bool,
    ) -> Result<Self> {
        let subjects = with_tokens(pipeline, subjects)?;
        let captions = captions(pipeline, &subjects, prompts)?;
        let encode = |photo: &Photo| {
            let posterior = pipeline.posterior(&photo.picture)?;
            Ok::<_, Error>(View { posterior, weight: photo.weight.clone() })
        };
        let mut examples = Vec::with_capacity(dataset.photos.len());
        for photo in &dataset.photos {
            let mut views = vec![encode(photo)?];
            if flips {
                views.push(encode(&photo.mirrored())?);
            }
            examples.push(Example { views, captions: captions_of(photo, &captions)? });
        }
        pipeline.release();
        Ok(Self {
            subjects,
            captions,
            examples,
            layers: pipeline.graphs().layers.clone(),
            base_model_hash: pipeline.graphs().base_model_hash.clone(),
            schedule: NoiseSchedule::new(pipeline.scheduler_config())?,
        })
    }

    /// The shape of all concepts' Δ together, [S, D].
    pub fn delta_shape(&self) -> (usize, usize) {
        let rows = self.subjects.iter().map(|(_, tokens)| tokens).sum();
        (rows, self.layers.iter().map(|layer| layer.width).sum())
    }
}

/// How many tokens the class of each subject has.
fn with_tokens(pipeline: &Pipeline, subjects: &[Subject]) -> Result<Vec<(Subject, usize)>> {
    if subjects.is_empty() {
        return Err(Error::setting("concepts", "there is none to learn; mark it in a prompt: <ball>"));
    }
    let count = |subject: &Subject| {
        let tokens = pipeline.tokenizer().encode(&subject.class)?.len();
        match tokens {
            0 => Err(Error::setting(format!("class {:?}", subject.class), "has no tokens; name what it is, e.g. ball")),
            _ => Ok((subject.clone(), tokens)),
        }
    };
    subjects.iter().map(count).collect()
}

fn captions(pipeline: &Pipeline, subjects: &[(Subject, usize)], prompts: &[String]) -> Result<Vec<Caption>> {
    let words = subjects.iter().fold(Words::new(), |words, (subject, _)| words.with(&subject.name, &subject.class));
    let slots: Vec<Slots<'_>> = subjects
        .iter()
        .map(|(subject, tokens)| Slots { concept: &subject.name, tokens: *tokens, strength: 1.0 })
        .collect();
    let mut read = Vec::with_capacity(prompts.len());
    for source in prompts {
        let prompt = Prompt::parse(source, &words)?;
        if prompt.concepts().is_empty() {
            let reason = "marks no concept, so that nothing can be learned from it; write <name> where it stands";
            return Err(Error::setting(format!("prompt {source:?}"), reason));
        }
        read.push((pipeline.tokenizer().tokenize(&prompt)?, prompt));
    }
    if let Some((subject, _)) =
        subjects.iter().find(|(subject, _)| !read.iter().any(|(_, prompt)| marks(prompt, subject)))
    {
        let reason = format!("no prompt marks <{}>", subject.name);
        return Err(Error::setting(format!("concept {}", subject.name), reason));
    }
    let chunks = read.iter().map(|(tokens, _)| tokens.chunks()).max().unwrap_or(1);
    let caption = |(mut tokens, prompt): (Tokens, Prompt)| {
        tokens.pad_to(chunks);
        Ok(Caption {
            prompt: prompt.source().to_owned(),
            concepts: prompt.concepts().into_iter().map(str::to_owned).collect(),
            context: pipeline.encode_prompt(&tokens)?,
            mask: tokens.mask(&slots)?,
        })
    };
    read.into_iter().map(caption).collect()
}

fn marks(prompt: &Prompt, subject: &Subject) -> bool {
    prompt.concepts().contains(&subject.name.as_str())
}

fn captions_of(photo: &Photo, captions: &[Caption]) -> Result<Vec<usize>> {
    let fits = |caption: &Caption| photo.subject.as_ref().is_none_or(|subject| caption.concepts.contains(subject));
    let fitting: Vec<usize> = (0..captions.len()).filter(|&index| fits(&captions[index])).collect();
    match (fitting.is_empty(), &photo.subject) {
        (true, Some(subject)) => {
            let reason = format!("no prompt marks <{subject}>, which its folder is said to show");
            Err(Error::setting(photo.path.display().to_string(), reason))
        }
        (true, None) => Err(Error::setting("prompts", "there is none")),
        (false, _) => Ok(fitting),
    }
}
