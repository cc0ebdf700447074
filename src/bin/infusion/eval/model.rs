//! Which pipeline is measured, and how it is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use infusion::concept::Concept;
use infusion::pipeline::{Pipeline, PipelineOptions};

use crate::runtime_args::RuntimeArgs;

#[derive(Clone, Debug, clap::Args)]
pub struct ModelArgs {
    /// Folder of the original pipeline in ONNX [default: INFUSION_MODEL]
    #[arg(short, long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

impl ModelArgs {
    pub fn folder(&self) -> Result<PathBuf> {
        let from_environment = || std::env::var_os("INFUSION_MODEL").map(PathBuf::from);
        match self.model.clone().or_else(from_environment) {
            Some(folder) => Ok(folder),
            None => bail!("--model: name the folder of a pipeline in ONNX (or set INFUSION_MODEL)"),
        }
    }

    pub fn open(&self) -> Result<Pipeline> {
        self.open_folder(&self.folder()?)
    }

    pub fn open_folder(&self, folder: &Path) -> Result<Pipeline> {
        self.runtime.load()?;
        let options = PipelineOptions {
            session: self.runtime.session_options(),
            graph_folder: self.runtime.cache_folder().map(|cache| cache.join("graphs")),
            ..Default::default()
        };
        Ok(Pipeline::open(folder, &options)?)
    }
}

/// A concept's file and how much of it is added.
#[derive(Clone, Debug)]
pub struct ConceptArg {
    pub name: Option<String>,
    pub file: PathBuf,
    pub strength: f32,
}

impl std::str::FromStr for ConceptArg {
    type Err = String;

    /// `[NAME=]FILE[:STRENGTH]`; a colon that is not followed by a number belongs to the file.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) => (Some(name.trim().to_owned()), rest),
            None => (None, text),
        };
        let strength = rest.rsplit_once(':').and_then(|(file, number)| Some((file, number.parse::<f32>().ok()?)));
        let (file, strength) = strength.unwrap_or((rest, 1.0));
        if file.is_empty() || name.as_ref().is_some_and(String::is_empty) {
            return Err("write [NAME=]FILE[:STRENGTH]".to_owned());
        }
        Ok(Self { name, file: file.into(), strength })
    }
}

impl ConceptArg {
    pub fn load(&self) -> Result<Arc<Concept>> {
        Ok(Arc::new(Concept::load(&self.file)?))
    }

    /// The name that prompts mark it by: the one given, or its own.
    pub fn marked_by(&self, concept: &Concept) -> String {
        self.name.clone().unwrap_or_else(|| concept.word.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concepts_have_a_name_and_a_strength_or_not() {
        let parsed = |text: &str| {
            text.parse::<ConceptArg>()
                .map(|it| (it.name.unwrap_or_default(), it.file.display().to_string(), it.strength))
        };
        assert_eq!(parsed("a.safetensors"), Ok((String::new(), "a.safetensors".into(), 1.0)));
        assert_eq!(parsed("ball=a.safetensors:0.5"), Ok(("ball".into(), "a.safetensors".into(), 0.5)));
        assert_eq!(parsed("C:\\a.safetensors"), Ok((String::new(), "C:\\a.safetensors".into(), 1.0)));
        assert!(parsed("=a").is_err() && parsed("ball=").is_err());
    }
}
