use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::{Adam, Error, Result};
use crate::files::{self, Existing};

/// The state of a training between two steps, from which it can be resumed as if nothing had happened.
///
/// A `.safetensors` file: Δ, Adam's m and v, each [S, D] in F32, and the losses in F64; its metadata say
/// which training it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Δ, [S, D].
    pub delta: Array2<f32>,
    /// Adam's memory.
    pub adam: Adam,
    /// The loss of every step so far.
    pub losses: Vec<f64>,
    pub(super) fingerprint: Value,
    pub(super) path: Option<PathBuf>,
}

const FORMAT: &str = "infusion checkpoint 1";

impl Checkpoint {
    /// Writes the checkpoint in place of an older one, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let bytes = self.encode().map_err(|error| damaged(path, error.to_string()))?;
        let written = files::write_whole(path, &bytes, Existing::Replace);
        written.map_err(|source| Error::Io { path: path.to_owned(), source })
    }

    fn encode(&self) -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let floats = |array: &Array2<f32>| array.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let [delta, mean, square] = [&self.delta, &self.adam.mean, &self.adam.square].map(floats);
        let losses: Vec<u8> = self.losses.iter().flat_map(|loss| loss.to_le_bytes()).collect();
        let (rows, columns) = self.delta.dim();
        let matrix = |bytes| TensorView::new(Dtype::F32, vec![rows, columns], bytes);
        let tensors = [
            ("delta", matrix(&delta)?),
            ("adam.mean", matrix(&mean)?),
            ("adam.square", matrix(&square)?),
            ("losses", TensorView::new(Dtype::F64, vec![self.losses.len()], &losses)?),
        ];
        let metadata = [
            ("format", FORMAT.to_owned()),
            ("training", self.fingerprint.to_string()),
            ("learning_rate", self.adam.learning_rate.to_string()),
        ];
        let metadata: HashMap<String, String> =
            metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        safetensors::serialize(tensors, Some(metadata))
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// The file cannot be read, or is no checkpoint.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::decode(&bytes, path).map_err(|reason| damaged(path, reason))
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self, String> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let metadata = metadata.metadata().clone().unwrap_or_default();
        if metadata.get("format").map(String::as_str) != Some(FORMAT) {
            return Err("is no checkpoint of a training".to_owned());
        }
        let text = |key: &str| metadata.get(key).ok_or_else(|| format!("its metadata lack '{key}'"));
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let delta = matrix(&file, "delta")?;
        let (mean, square) = (matrix(&file, "adam.mean")?, matrix(&file, "adam.square")?);
        let losses = file.tensor("losses").map_err(|error| error.to_string())?;
        if mean.dim() != delta.dim() || square.dim() != delta.dim() || losses.dtype() != Dtype::F64 {
            return Err("its tensors do not fit each other".to_owned());
        }
        let losses: Vec<f64> =
            losses.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let learning_rate = text("learning_rate")?.parse().map_err(|error| format!("its learning rate: {error}"))?;
        let fingerprint = serde_json::from_str(text("training")?).map_err(|error| error.to_string())?;
        let adam = Adam { learning_rate, steps: losses.len(), mean, square };
        Ok(Self { delta, adam, losses, fingerprint, path: Some(path.to_owned()) })
    }

    /// Fails unless it was taken in the training that `fingerprint` describes.
    pub(super) fn check(&self, fingerprint: &Value, shape: (usize, usize)) -> Result<()> {
        let path = self.path.clone().unwrap_or_default();
        let differs = |key: &&String| self.fingerprint.get(key.as_str()) != fingerprint.get(key.as_str());
        if let Some(key) = fingerprint.as_object().and_then(|object| object.keys().find(differs)) {
            let shown = |value: &Value| value.get(key.as_str()).map_or("nothing".to_owned(), Value::to_string);
            let (held, now) = (shown(&self.fingerprint), shown(fingerprint));
            let reason = format!(
                "was taken with {key} {held}, and this training has {now}; resume with the same, or start anew"
            );
            return Err(damaged(&path, reason));
        }
        match self.delta.dim() == shape {
            true => Ok(()),
            false => Err(damaged(&path, format!("Δ is {:?}, and {shape:?} is needed", self.delta.dim()))),
        }
    }
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::Checkpoint { path: path.to_owned(), reason }
}

fn matrix(file: &SafeTensors<'_>, name: &str) -> Result<Array2<f32>, String> {
    let tensor = file.tensor(name).map_err(|error| error.to_string())?;
    let (Dtype::F32, &[rows, columns]) = (tensor.dtype(), tensor.shape()) else {
        return Err(format!("'{name}' is no matrix of F32"));
    };
    let values: Vec<f32> = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let matrix = ArrayView2::from_shape((rows, columns), &values).map_err(|error| error.to_string())?;
    match matrix.iter().all(|value| value.is_finite()) {
        true => Ok(matrix.to_owned()),
        false => Err(format!("'{name}' holds values that are no number")),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use serde_json::json;

    use super::*;

    fn checkpoint() -> Checkpoint {
        let mut adam = Adam::new((1, 3), 0.01);
        let mut delta = array![[1.0, -2.0, 0.5]];
        adam.step(&mut delta, array![[0.1, 0.2, -0.3]].view());
        Checkpoint { delta, adam, losses: vec![0.25], fingerprint: json!({"seed": 1}), path: None }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.checkpoint");
        let saved = checkpoint();
        saved.save(&path).unwrap();
        saved.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap(), Checkpoint { path: Some(path), ..saved });
    }

    #[test]
    fn another_training_is_refused_by_what_differs() {
        let checkpoint = checkpoint();
        assert!(checkpoint.check(&json!({"seed": 1}), (1, 3)).is_ok());
        assert!(checkpoint.check(&json!({"seed": 1}), (2, 3)).is_err());
        let error = checkpoint.check(&json!({"seed": 2}), (1, 3)).unwrap_err().to_string();
        assert!(error.contains("seed 1") && error.contains('2'), "{error}");
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.checkpoint");
        checkpoint().save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for cut in [0, 7, 40, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let error = Checkpoint::load(&path).unwrap_err().to_string();
            assert!(error.contains("a.checkpoint"), "{error}");
        }
        assert!(matches!(Checkpoint::load(&folder.path().join("absent")), Err(Error::Io { .. })));
    }
}
