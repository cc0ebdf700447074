use std::path::{Path, PathBuf};

use image::RgbImage;
use ndarray::{Array1, Axis, Ix1};
use serde_json::Value;

use super::preprocess::Preprocessor;
use crate::metrics::{Error, Result};
use crate::runtime::{Session, SessionOptions, Tensor, TensorSpec};

/// A folder with a model's files, as exporters lay them out.
#[derive(Debug)]
pub(super) struct Folder<'a>(pub &'a Path);

impl Folder<'_> {
    /// The first of these files that is there, in the folder or in its `onnx`.
    pub fn file(&self, names: &[&str]) -> Option<PathBuf> {
        let places = [self.0.to_owned(), self.0.join("onnx")];
        places.iter().flat_map(|place| names.iter().map(|name| place.join(name))).find(|path| path.is_file())
    }

    pub fn required(&self, names: &[&str]) -> Result<PathBuf> {
        self.file(names).ok_or_else(|| Error::Backbone {
            path: self.0.into(),
            reason: format!("holds no {} (nor its folder onnx)", names.join(" or ")),
        })
    }

    pub fn preprocessor(&self) -> Result<Preprocessor> {
        Preprocessor::open(&self.required(&["preprocessor_config.json"])?)
    }

    /// What the model calls itself: the name in `config.json` with its kind, or the folder's.
    pub fn name(&self) -> String {
        let config = std::fs::read_to_string(self.0.join("config.json")).ok();
        let config: Value = config.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let text = |key: &str| config.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let folder = self.0.canonicalize().unwrap_or_else(|_| self.0.into());
        let folder = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = text("_name_or_path").map_or(folder, str::to_owned);
        text("model_type").map_or(name.clone(), |kind| format!("{name} ({kind})"))
    }
}

/// A model with a `pixel_values` input, and maybe one of text.
#[derive(Debug)]
pub(super) struct Model {
    session: Session,
}

impl Model {
    pub fn open(path: &Path, options: &SessionOptions) -> Result<Self> {
        Ok(Self { session: Session::open(path, options)? })
    }

    pub fn fail(&self, reason: impl Into<String>) -> Error {
        Error::Backbone { path: self.session.model().into(), reason: reason.into() }
    }

    pub fn reads(&self, input: &str) -> bool {
        self.session.input(input).is_some()
    }

    /// The output of one of these names, or else the first of one of these ranks.
    pub fn output(&self, names: &[&str], rank: usize) -> Result<&TensorSpec> {
        let named = names.iter().find_map(|name| self.session.output(name));
        let output = named.or_else(|| self.session.outputs().iter().find(|spec| spec.rank() == rank));
        output.ok_or_else(|| self.fail(format!("has no output {}", names.join(" or "))))
    }

    /// Runs one row for one output; what is `given` and not read is left out.
    pub fn run(&self, given: &[(&str, Tensor)], output: &str) -> Result<ndarray::ArrayD<f32>> {
        let mut feeds = Vec::new();
        for spec in self.session.inputs() {
            let tensor = match given.iter().find(|(name, _)| *name == spec.name) {
                Some((_, tensor)) => tensor.clone().cast(spec.element_type),
                None => return Err(self.fail(format!("has an input that is not known here: {spec}"))),
            };
            feeds.push((spec.name.as_str(), tensor));
        }
        let feeds: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let rows = self.session.run(&feeds)?.take(output)?.into_f32();
        match rows.shape().first() {
            Some(1..) => Ok(rows.index_axis_move(Axis(0), 0)),
            _ => Err(self.fail(format!("gave no row of {output}"))),
        }
    }

    pub fn embedding(&self, given: &[(&str, Tensor)], output: &str) -> Result<Array1<f32>> {
        let row = self.run(given, output)?;
        row.into_dimensionality::<Ix1>().map_err(|error| self.fail(format!("{output}: {error}")))
    }
}

pub(super) fn pixel_values(preprocessor: &Preprocessor, picture: &RgbImage) -> Result<Tensor> {
    Ok(Tensor::from(preprocessor.apply(picture)?))
}
