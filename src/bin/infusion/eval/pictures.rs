//! Pictures to be scored, and what they were asked to show.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use infusion::concept::Concept;
use infusion::picture::{self, Picture};
use infusion::prompt::{Prompt, Words};
use serde_json::Value;

use super::pairs;

/// A picture in a file.
pub struct Shown {
    pub file: PathBuf,
    pub picture: Picture,
}

/// The pictures of files and folders; those of a folder in the order of their names.
pub fn open(paths: &[PathBuf]) -> Result<Vec<Shown>> {
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(of_folder(path)?),
            false => files.push(path.clone()),
        }
    }
    if files.is_empty() {
        bail!("no pictures: name PNG, JPEG or WebP files, or folders of them");
    }
    files.into_iter().map(|file| Ok(Shown { picture: picture::open(&file)?, file })).collect()
}

fn of_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| folder.display().to_string())?;
    files.retain(|file| {
        let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        ["png", "jpg", "jpeg", "webp"].contains(&extension.as_str())
    });
    files.sort();
    if files.is_empty() {
        bail!("{}: holds no PNG, JPEG or WebP files", folder.display());
    }
    Ok(files)
}

/// What each picture was asked to show: `prompt` for all, or the captions' lines, or what the file itself says.
pub fn prompts(shown: &[Shown], prompt: Option<&str>, captions: Option<&Path>) -> Result<Vec<String>> {
    if let Some(prompt) = prompt {
        return Ok(vec![prompt.to_owned(); shown.len()]);
    }
    let pairs = match captions {
        Some(file) => pairs::read(file.parent().unwrap_or(Path::new(".")), Some(file))?,
        None => Vec::new(),
    };
    let of = |it: &Shown| {
        let named = pairs.iter().find(|pair| pair.picture.file_name() == it.file.file_name());
        named.map(|pair| pair.caption.clone()).or_else(|| own_prompt(&it.file)).with_context(|| {
            format!("{}: no prompt is known; give --prompt, or --captions with a line for it", it.file.display())
        })
    };
    shown.iter().map(of).collect()
}

/// The prompt that a picture's text holds, with the concepts' super-class words in place of their marks.
fn own_prompt(file: &Path) -> Option<String> {
    let text = picture::read_text(file).ok()?;
    let Ok(Some(settings)) = text.infusion() else { return Some(text.parameters()?.prompt) };
    let concepts = settings.get("concepts").and_then(Value::as_array).cloned().unwrap_or_default();
    let words = concepts.iter().fold(Words::new(), |words, concept| {
        let name = concept.get("name").and_then(Value::as_str).unwrap_or_default();
        let file = concept.get("file").and_then(Value::as_str).map(Concept::load);
        let class = file.and_then(std::result::Result::ok).map(|concept| concept.class);
        words.with(name, class.unwrap_or_else(|| name.to_owned()))
    });
    Some(Prompt::parse(settings.get("prompt")?.as_str()?, &words).ok()?.text())
}
