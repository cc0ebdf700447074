use std::ffi::{c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::arguments::{optional_text, or_default, output, slice, text};
use super::concept::CONCEPTS;
use super::pipeline::PIPELINES;
use super::progress::{Answer, Numbers, Progress, ProgressCallback, Stage};
use super::status::{Status, call};
use super::structs::{self, Struct};
use super::{Error, Result};
use crate::concept::Concept;
use crate::pipeline::Pipeline;
use crate::train::{Checkpoint, Dataset, Folder, Material, Settings, Subject, Trainer};

/// `infusion_train_options`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TrainOptions {
    struct_size: u32,
    steps: u32,
    batch: u32,
    micro_batch: u32,
    size: u32,
    flip: i32,
    resume: i32,
    checkpoint_every: u32,
    seed: u64,
    learning_rate: f64,
    memory: *const c_char,
    checkpoint: *const c_char,
    subjects: *const SubjectArgument,
    subjects_count: usize,
    photos: *const PhotosArgument,
    photos_count: usize,
    prompts: *const *const c_char,
    prompts_count: usize,
    progress: Option<ProgressCallback>,
    progress_user: *mut c_void,
}

/// `infusion_subject`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SubjectArgument {
    struct_size: u32,
    name: *const c_char,
    class_word: *const c_char,
}

/// `infusion_photos`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PhotosArgument {
    struct_size: u32,
    folder: *const c_char,
    subject: *const c_char,
    masks: *const c_char,
}

// SAFETY: numbers, raw pointers and a function that may be absent; the caller vouches for it as for any pointer.
unsafe impl Struct for TrainOptions {
    const NAME: &'static str = "infusion_train_options";
}
// SAFETY: numbers and raw pointers, of which any bytes make some.
unsafe impl Struct for SubjectArgument {
    const NAME: &'static str = "infusion_subject";
}
// SAFETY: as above.
unsafe impl Struct for PhotosArgument {
    const NAME: &'static str = "infusion_photos";
}

/// Steps between two checkpoints.
const CHECKPOINT_EVERY: usize = 50;

/// What is learned from what.
struct Plan {
    subjects: Vec<Subject>,
    folders: Vec<Folder>,
    prompts: Vec<String>,
    settings: Settings,
    size: usize,
    flip: bool,
    resume: bool,
    checkpoint: Option<PathBuf>,
    checkpoint_every: usize,
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_train(
    pipeline: usize,
    options: *const TrainOptions,
    concepts: *mut usize,
    count: *mut usize,
) -> *mut Status {
    call(|| {
        let pipeline = PIPELINES.get(pipeline)?;
        // SAFETY: the caller vouches for the struct, everything that it points to, and `count`.
        let (plan, mut progress, room) = unsafe {
            let options = structs::read("options", options)?;
            let progress = Progress::new(options.progress, options.progress_user);
            (plan(&options, &pipeline)?, progress, output("count", count)?.read())
        };
        if room < plan.subjects.len() {
            let reason = format!("has room for {room}, and {} are needed", plan.subjects.len());
            return Err(Error::argument("concepts", reason));
        }
        let concepts = output("concepts", concepts)?;
        let learned = learn(&plan, &pipeline, &mut progress)?;
        for (index, concept) in learned.iter().enumerate() {
            let token = CONCEPTS.insert(Arc::new(concept.clone()))?;
            // SAFETY: `index` is below the room that the caller states.
            unsafe { concepts.add(index).write(token) };
        }
        // SAFETY: `count` was found to be there.
        unsafe { count.write(learned.len()) };
        Ok(())
    })
}

fn learn(plan: &Plan, pipeline: &Pipeline, progress: &mut Progress) -> Result<Vec<Concept>> {
    let dataset = Dataset::read(&plan.folders, plan.size as u32)?;
    if let Some(skipped) = dataset.skipped.first() {
        return Err(Error::argument("photos", skipped.to_string()));
    }
    progress.tell(Stage::Pictures, &Numbers::default());
    progress.ensure_going_on()?;
    let material = Material::prepare(pipeline, &plan.subjects, &dataset, &plan.prompts, plan.flip)?;
    progress.tell(Stage::Load, &Numbers::default());
    progress.ensure_going_on()?;
    let mut trainer = Trainer::new(pipeline, material, plan.settings.clone())?;
    if let Some(path) = plan.checkpoint.as_deref().filter(|_| plan.resume) {
        trainer.resume(Checkpoint::load(path)?)?;
    }
    let steps = plan.settings.steps;
    let mut answer =
        progress.tell(Stage::Steps, &Numbers { step: trainer.losses().len(), steps, ..Default::default() });
    while answer == Answer::GoOn {
        let Some(done) = trainer.step()? else { break };
        if let Some(path) = plan.checkpoint.as_deref().filter(|_| done.step.is_multiple_of(plan.checkpoint_every)) {
            trainer.checkpoint().save(path)?;
        }
        answer =
            progress.tell(Stage::Steps, &Numbers { step: done.step, steps, loss: done.loss, ..Default::default() });
    }
    if let (Err(cancelled), path) = (progress.ensure_going_on(), plan.checkpoint.as_deref()) {
        path.map_or(Ok(()), |path| trainer.checkpoint().save(path))?;
        return Err(cancelled);
    }
    if let Some(path) = plan.checkpoint.as_deref().filter(|path| path.exists()) {
        remove(path)?;
    }
    Ok(trainer.concepts())
}

/// A training that is done needs no checkpoint.
fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(|source| crate::train::Error::Io { path: path.to_owned(), source }.into())
}

/// # Safety
/// Pointers are as the header says.
unsafe fn plan(options: &TrainOptions, pipeline: &Pipeline) -> Result<Plan> {
    let usual = Settings::default();
    // SAFETY: the caller vouches for everything that the struct points to.
    unsafe {
        let memory = match optional_text("memory", options.memory)? {
            Some(name) => name.parse().map_err(|reason: String| Error::argument("memory", reason))?,
            None => usual.memory,
        };
        let settings = Settings {
            steps: or_default(options.steps, usual.steps),
            learning_rate: if options.learning_rate == 0.0 { usual.learning_rate } else { options.learning_rate },
            lr_scheduler: usual.lr_scheduler,
            batch: or_default(options.batch, usual.batch),
            micro_batch: (options.micro_batch > 0).then_some(options.micro_batch as usize),
            timesteps: usual.timesteps,
            seed: options.seed,
            memory,
        };
        let subjects = structs::read_all("subjects", options.subjects, options.subjects_count)?;
        let photos = structs::read_all("photos", options.photos, options.photos_count)?;
        let prompts = slice("prompts", options.prompts, options.prompts_count)?;
        let checkpoint = optional_text("checkpoint", options.checkpoint)?.map(PathBuf::from);
        if options.resume != 0 && checkpoint.is_none() {
            return Err(Error::argument("resume", "there is no checkpoint to resume from"));
        }
        Ok(Plan {
            subjects: subjects.iter().map(|subject| read_subject(subject)).collect::<Result<_>>()?,
            folders: photos.iter().map(|photos| read_photos(photos)).collect::<Result<_>>()?,
            prompts: prompts.iter().map(|prompt| Ok(text("prompts", *prompt)?.to_owned())).collect::<Result<_>>()?,
            settings,
            size: or_default(options.size, pipeline.usual_size().0),
            flip: options.flip != 0,
            resume: options.resume != 0,
            checkpoint,
            checkpoint_every: or_default(options.checkpoint_every, CHECKPOINT_EVERY),
        })
    }
}

/// # Safety
/// Pointers are as the header says.
unsafe fn read_subject(subject: &SubjectArgument) -> Result<Subject> {
    // SAFETY: the caller vouches for texts that end in NUL.
    let (name, class) = unsafe { (text("name", subject.name)?, text("class_word", subject.class_word)?) };
    Ok(Subject { name: name.to_owned(), class: class.to_owned() })
}

/// # Safety
/// Pointers are as the header says.
unsafe fn read_photos(photos: &PhotosArgument) -> Result<Folder> {
    // SAFETY: the caller vouches for texts that end in NUL.
    unsafe {
        Ok(Folder {
            path: text("folder", photos.folder)?.into(),
            subject: optional_text("subject", photos.subject)?.map(str::to_owned),
            masks: optional_text("masks", photos.masks)?.map(Into::into),
        })
    }
}
