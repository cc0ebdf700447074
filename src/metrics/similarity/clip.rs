use std::path::Path;

use image::RgbImage;
use ndarray::{Array1, Array2};

use super::backbone::{Folder, Model, pixel_values};
use super::preprocess::Preprocessor;
use crate::metrics::Result;
use crate::prompt::Tokenizer;
use crate::runtime::{SessionOptions, Tensor};

/// CLIP: pictures and texts in one space.
///
/// Any export of transformers' CLIPModel: one graph (`model.onnx`, with `input_ids` and `pixel_values`), or two
/// (`vision_model.onnx` and `text_model.onnx`).
#[derive(Debug)]
pub struct Clip {
    name: String,
    preprocessor: Preprocessor,
    tokenizer: Tokenizer,
    vision: Model,
    /// `None` where one graph does both.
    text: Option<Model>,
}

const PIXELS: &str = "pixel_values";
const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const POSITIONS: &str = "position_ids";

/// A side of the picture that a graph of both is given beside a text.
const BLANK: u32 = 224;

impl Clip {
    /// Opens a folder with the graphs, `preprocessor_config.json` and the tokenizer's files (here or in `tokenizer`).
    ///
    /// # Errors
    /// A file is missing or damaged, or a graph is none of CLIP's.
    pub fn open(folder: impl AsRef<Path>, options: &SessionOptions) -> Result<Self> {
        let folder = Folder(folder.as_ref());
        let own = folder.0.join("tokenizer");
        let tokenizer = Tokenizer::open(if own.is_dir() { &own } else { folder.0 })?;
        let vision = folder.file(&["vision_model.onnx", "visual.onnx"]);
        let text = folder.file(&["text_model.onnx", "textual.onnx"]);
        let (vision, text) = match (vision, text) {
            (Some(vision), Some(text)) => (vision, Some(Model::open(&text, options)?)),
            _ => (folder.required(&["model.onnx"])?, None),
        };
        let vision = Model::open(&vision, options)?;
        let clip = Self { name: folder.name(), preprocessor: folder.preprocessor()?, tokenizer, vision, text };
        for (model, input) in [(&clip.vision, PIXELS), (clip.text(), IDS)] {
            if !model.reads(input) {
                return Err(model.fail(format!("has no input {input}: is it an export of CLIP?")));
            }
        }
        Ok(clip)
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
        let model = &self.vision;
        let mut given = self.text_inputs("")?;
        given.push((PIXELS, pixel_values(&self.preprocessor, picture)?));
        model.embedding(&given, &model.output(&["image_embeds"], 2)?.name)
    }

    /// The embedding of a text, which is cut where it is too long.
    ///
    /// # Errors
    /// The text cannot be tokenised, or the model fails or gives none.
    pub fn text_embedding(&self, text: &str) -> Result<Array1<f32>> {
        let model = self.text();
        let mut given = self.text_inputs(text)?;
        if model.reads(PIXELS) {
            given.push((PIXELS, pixel_values(&self.preprocessor, &RgbImage::new(BLANK, BLANK))?));
        }
        model.embedding(&given, &model.output(&["text_embeds"], 2)?.name)
    }

    fn text(&self) -> &Model {
        self.text.as_ref().unwrap_or(&self.vision)
    }

    /// Tokens, which of them count, and their places.
    fn text_inputs(&self, text: &str) -> Result<Vec<(&'static str, Tensor)>> {
        let ids = self.tokenizer.encode_padded(text)?;
        let used = self.tokenizer.encode(text)?.len() + 2;
        let row = |value: &dyn Fn((usize, usize)) -> i64| Tensor::from(Array2::from_shape_fn((1, ids.len()), value));
        Ok(vec![
            (IDS, row(&|(_, place)| ids[place])),
            (MASK, row(&|(_, place)| i64::from(place < used))),
            (POSITIONS, row(&|(_, place)| place as i64)),
        ])
    }
}
