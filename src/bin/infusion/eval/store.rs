use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use infusion::files::{Existing, write_whole};
use infusion::metrics::load_samples;
use infusion::schedulers::Latents;
use ndarray::{Array2, Axis, concatenate};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;

const SETTINGS: &str = "settings.json";

/// Sets of latents in a folder, batch by batch as they were drawn: `original-000012.safetensors` holds
/// `latents` `[n, 4, h, w]`, the samples from 12 on.
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Opens or makes the folder; samples drawn with other settings are refused.
    pub fn open(folder: &Path, settings: &Value) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let path = folder.join(SETTINGS);
        if !path.exists() {
            write_whole(&path, &serde_json::to_vec_pretty(settings)?, Existing::Keep)?;
        }
        let kept: Value = serde_json::from_slice(&std::fs::read(&path)?)
            .with_context(|| format!("{}: is not JSON", path.display()))?;
        if kept != *settings {
            bail!("{}: holds samples that were drawn with other settings; name another folder", path.display());
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The samples of a set, from the first to where one is missing.
    pub fn load(&self, set: &str) -> Result<Option<Array2<f32>>> {
        let mut batches: Vec<Array2<f32>> = Vec::new();
        loop {
            let path = self.file(set, batches.iter().map(Array2::nrows).sum());
            if !path.exists() {
                break;
            }
            batches.push(load_samples(&path)?);
        }
        let views: Vec<_> = batches.iter().map(|batch| batch.view()).collect();
        if views.is_empty() {
            return Ok(None);
        }
        let joined = concatenate(Axis(0), &views);
        Ok(Some(joined.with_context(|| format!("{}: samples of several sizes", self.folder.display()))?))
    }

    pub fn append(&self, set: &str, first: usize, latents: &Latents) -> Result<()> {
        let bytes: Vec<u8> = latents.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, latents.shape().to_vec(), &bytes)?;
        let path = self.file(set, first);
        write_whole(&path, &safetensors::serialize([("latents", view)], None)?, Existing::Replace)
            .with_context(|| path.display().to_string())
    }

    fn file(&self, set: &str, first: usize) -> PathBuf {
        self.folder.join(format!("{set}-{first:06}.safetensors"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn batches_join_up_to_the_first_gap() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &json!({"seed": 1})).unwrap();
        assert!(store.load("original").unwrap().is_none());
        store.append("original", 0, &Latents::ones((2, 1, 1, 2))).unwrap();
        store.append("original", 2, &Latents::zeros((1, 1, 1, 2))).unwrap();
        store.append("original", 4, &Latents::zeros((1, 1, 1, 2))).unwrap();
        let samples = store.load("original").unwrap().unwrap();
        assert_eq!(samples, ndarray::array![[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]);
        assert!(Store::open(folder.path(), &json!({"seed": 1})).is_ok());
        assert!(Store::open(folder.path(), &json!({"seed": 2})).is_err());
    }
}
