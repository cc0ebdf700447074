use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use infusion::files::Existing;
use infusion::picture::{self, PictureText};
use infusion::pipeline::{Control, Observer, Pipeline, Stage, StepReport};

use crate::interrupt;

/// Bars with the time left, previews, and Ctrl-C.
pub struct Progress<'a> {
    bar: ProgressBar,
    previews: Option<Previews<'a>>,
}

/// Where the picture so far goes, and how often.
pub struct Previews<'a> {
    pub pipeline: &'a Pipeline,
    pub every: usize,
    pub path: PathBuf,
    pub written: bool,
}

impl<'a> Progress<'a> {
    pub fn new(shown: bool, previews: Option<Previews<'a>>) -> Self {
        let bar = if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        Self { bar, previews }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// The preview, if one was written.
    pub fn preview(&self) -> Option<&Path> {
        self.previews.as_ref().filter(|previews| previews.written).map(|previews| previews.path.as_path())
    }
}

impl Observer for Progress<'_> {
    fn stage(&mut self, stage: Stage) {
        let message = match stage {
            Stage::Text => "reading the prompt",
            Stage::Encode => "encoding the picture",
            Stage::Load => "loading the UNet",
            Stage::Decode => "decoding",
            Stage::Steps(steps) => {
                self.bar.set_length(steps as u64);
                self.bar.set_position(0);
                let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {per_sec}, {eta} left");
                self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                return;
            }
            _ => return,
        };
        self.bar.set_style(ProgressStyle::default_spinner());
        self.bar.set_message(message);
        self.bar.tick();
    }

    fn step(&mut self, report: &StepReport<'_>) -> Control {
        self.bar.set_position(report.step as u64);
        if let Some(previews) = self.previews.as_mut().filter(|it| report.step.is_multiple_of(it.every.max(1))) {
            previews.write(report, &self.bar);
        }
        if interrupt::requested() { Control::Cancel } else { Control::Continue }
    }
}

impl Previews<'_> {
    /// A preview that fails is reported and stops nothing.
    fn write(&mut self, report: &StepReport<'_>, bar: &ProgressBar) {
        let Some(latents) = report.customised.first() else { return };
        let made = self.pipeline.decode(latents).map_err(anyhow::Error::from).and_then(|pictures| {
            for picture in pictures.iter().take(1) {
                picture::save(&self.path, picture, &PictureText::default(), Existing::Replace)?;
            }
            Ok(())
        });
        self.written |= made.is_ok();
        if let Err(error) = made {
            bar.suspend(|| eprintln!("preview: {error}"));
        }
    }
}
