use std::path::Path;

use image::RgbImage;
use ndarray::{Array1, Axis, Ix2};

use super::backbone::{Folder, Model, pixel_values};
use super::preprocess::Preprocessor;
use crate::metrics::Result;
use crate::runtime::SessionOptions;

/// DINO or DINOv2: pictures by what they show, without words.
///
/// Any export of transformers' ViTModel or Dinov2Model (`model.onnx`): the embedding is the class token of
/// `last_hidden_state`, or the one output of shape `[batch, width]` where there is none.
#[derive(Debug)]
pub struct Dino {
    name: String,
    preprocessor: Preprocessor,
    model: Model,
}

impl Dino {
    /// Opens a folder with `model.onnx` and `preprocessor_config.json`.
    ///
    /// # Errors
    /// A file is missing or damaged, or the graph has no `pixel_values`.
    pub fn open(folder: impl AsRef<Path>, options: &SessionOptions) -> Result<Self> {
        let folder = Folder(folder.as_ref());
        let model = Model::open(&folder.required(&["model.onnx"])?, options)?;
        if !model.reads("pixel_values") {
            return Err(model.fail("has no input pixel_values: is it an export of ViT or DINO?"));
        }
        Ok(Self { name: folder.name(), preprocessor: folder.preprocessor()?, model })
    }

    /// What the model calls itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is done to pictures, in a few words.
    pub fn preprocessing(&self) -> String {
        self.preprocessor.describe()
    }

    /// The embedding of a picture.
    ///
    /// # Errors
    /// The model fails, or gives none.
    pub fn picture(&self, picture: &RgbImage) -> Result<Array1<f32>> {
        let given = [("pixel_values", pixel_values(&self.preprocessor, picture)?)];
        let hidden = self.model.output(&["last_hidden_state"], 3);
        let Ok(hidden) = hidden else {
            return self.model.embedding(&given, &self.model.output(&["pooler_output"], 2)?.name);
        };
        let tokens = self.model.run(&given, &hidden.name)?.into_dimensionality::<Ix2>();
        let tokens = tokens.map_err(|error| self.model.fail(format!("{}: {error}", hidden.name)))?;
        match tokens.nrows() {
            0 => Err(self.model.fail("gave no token")),
            _ => Ok(tokens.index_axis(Axis(0), 0).to_owned()),
        }
    }
}
