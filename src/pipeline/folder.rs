use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Error, Result};

/// The parts of a pipeline's folder, as diffusers and optimum lay them out.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The folder itself.
    pub root: PathBuf,
    /// `text_encoder/model.onnx`.
    pub text_encoder: PathBuf,
    /// `unet/model.onnx`.
    pub unet: PathBuf,
    /// `vae_decoder/model.onnx`.
    pub vae_decoder: PathBuf,
    /// `vae_encoder/model.onnx`, which only img2img needs.
    pub vae_encoder: Option<PathBuf>,
    /// `tokenizer/`.
    pub tokenizer: PathBuf,
    /// `scheduler/scheduler_config.json`, if there is one.
    pub scheduler_config: Option<PathBuf>,
}

impl Folder {
    /// Looks for the parts in `root`.
    ///
    /// # Errors
    /// `root` is no folder, a part that every picture needs is missing, or it is another kind of pipeline.
    pub fn find(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            return Err(Error::folder(root, "is no folder; name the one that holds model_index.json"));
        }
        refuse_other_kinds(root)?;
        let tokenizer = root.join("tokenizer");
        if !tokenizer.is_dir() {
            return Err(Error::folder(tokenizer, "is missing: the tokenizer's vocab.json and merges.txt"));
        }
        let scheduler = root.join("scheduler/scheduler_config.json");
        Ok(Self {
            text_encoder: required(root, "text_encoder")?,
            unet: required(root, "unet")?,
            vae_decoder: required(root, "vae_decoder")?,
            vae_encoder: model(root, "vae_encoder"),
            tokenizer,
            scheduler_config: scheduler.is_file().then_some(scheduler),
            root: root.to_owned(),
        })
    }

    /// A number of the VAE's or UNet's `config.json`, if it is there.
    pub(super) fn config_number(&self, part: &str, key: &str) -> Option<f64> {
        let text = std::fs::read_to_string(self.root.join(part).join("config.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()?.get(key)?.as_f64()
    }
}

/// `part/model.onnx`, or the one `.onnx` file of the part's folder that no patch wrote.
fn model(root: &Path, part: &str) -> Option<PathBuf> {
    let usual = root.join(part).join("model.onnx");
    if usual.is_file() {
        return Some(usual);
    }
    let entries = std::fs::read_dir(root.join(part)).ok()?;
    let mut models = entries.filter_map(std::result::Result::ok).map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let patched =
            ["f", "c", "dual", "shared", "train", "engine"].iter().any(|kind| name.ends_with(&format!(".{kind}.onnx")));
        name.ends_with(".onnx") && !patched
    });
    let first = models.next()?;
    models.next().is_none().then_some(first)
}

fn required(root: &Path, part: &str) -> Result<PathBuf> {
    model(root, part).ok_or_else(|| {
        Error::folder(root.join(part).join("model.onnx"), format!("is missing; export the pipeline with its {part}"))
    })
}

fn refuse_other_kinds(root: &Path) -> Result<()> {
    let index = root.join("model_index.json");
    let Ok(text) = std::fs::read_to_string(&index) else { return Ok(()) };
    let json: Value =
        serde_json::from_str(&text).map_err(|error| Error::folder(&index, format!("is not JSON: {error}")))?;
    let class = json.get("_class_name").and_then(Value::as_str).unwrap_or_default();
    match ["XL", "StableDiffusion3", "Flux", "Upscale", "Inpaint"].iter().find(|kind| class.contains(*kind)) {
        Some(_) => Err(Error::folder(index, format!("is a {class}; only Stable Diffusion 1.x pipelines are run"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}").unwrap();
        }
        root
    }

    const PARTS: [&str; 4] =
        ["text_encoder/model.onnx", "unet/model.onnx", "vae_decoder/model.onnx", "tokenizer/vocab.json"];

    #[test]
    fn finds_the_usual_layout_and_a_model_of_another_name() {
        let root = folder(&[PARTS[0], "unet/unet_fp16.onnx", "unet/unet_fp16.f.onnx", PARTS[2], PARTS[3]]);
        let found = Folder::find(root.path()).unwrap();
        assert!(found.unet.ends_with("unet/unet_fp16.onnx"));
        assert!(found.vae_encoder.is_none() && found.scheduler_config.is_none());
    }

    #[test]
    fn names_the_part_that_is_missing() {
        for missing in PARTS {
            let files: Vec<&str> = PARTS.into_iter().filter(|part| *part != missing).collect();
            let part = missing.split('/').next().unwrap();
            let error = Folder::find(folder(&files).path()).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("missing"), "{error}");
        }
    }

    #[test]
    fn refuses_other_pipelines_by_name() {
        let root = folder(&PARTS);
        std::fs::write(root.path().join("model_index.json"), r#"{"_class_name": "StableDiffusionXLPipeline"}"#)
            .unwrap();
        let error = Folder::find(root.path()).unwrap_err().to_string();
        assert!(error.contains("StableDiffusionXLPipeline"), "{error}");
    }
}
