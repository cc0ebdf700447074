//! Pictures as a model wants them, by its `preprocessor_config.json`.

use std::path::Path;

use image::{RgbImage, imageops};
use ndarray::Array4;
use serde_json::Value;

use super::resample::{Filter, resize};
use crate::metrics::{Error, Result};

/// What transformers' image processors of CLIP, ViT, DeiT, BiT and the like do: resize, cut out the middle, scale
/// to 0…1, normalise.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessor {
    resize: Option<(Resize, Filter)>,
    crop: Option<(u32, u32)>,
    factor: f32,
    mean: [f32; 3],
    deviation: [f32; 3],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Resize {
    /// The shorter side to this length, the other in proportion.
    Shortest(u32),
    /// Width and height.
    To(u32, u32),
}

/// Larger pictures than any such model takes.
const LARGEST: u64 = 4096;

impl Preprocessor {
    /// Reads a `preprocessor_config.json`.
    ///
    /// # Errors
    /// It cannot be read, or asks for something else.
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.into(), source })?;
        let fail = |reason: String| Error::Backbone { path: path.into(), reason };
        let config: Value = serde_json::from_str(&text).map_err(|error| fail(format!("is not JSON: {error}")))?;
        Self::from_config(&config).map_err(fail)
    }

    fn from_config(config: &Value) -> Result<Self, String> {
        let does = |key: &str, default: bool| config.get(key).and_then(Value::as_bool).unwrap_or(default);
        if does("do_pad", false) {
            return Err("asks for padding, which is not supported".to_owned());
        }
        let class = ["image_processor_type", "feature_extractor_type"].iter().find_map(|key| config.get(key)?.as_str());
        let class = class.unwrap_or_default();
        // A bare number is the shortest side for those that keep proportions, and a square for the others.
        let keeps_shape = class.contains("CLIP") || class.contains("Bit");
        let resize = match does("do_resize", true) {
            true => Some((resize_of(config, keeps_shape)?, filter_of(config, keeps_shape)?)),
            false => None,
        };
        let crop = match does("do_center_crop", keeps_shape) {
            true => Some(sides(config.get("crop_size").ok_or("has no crop_size")?, "crop_size")?),
            false => None,
        };
        let factor = config.get("rescale_factor").and_then(Value::as_f64).unwrap_or(1.0 / 255.0);
        let normalised = does("do_normalize", true);
        let triple = |key: &str, otherwise: f32| match normalised {
            true => three(config, key),
            false => Ok([otherwise; 3]),
        };
        let (mean, deviation) = (triple("image_mean", 0.0)?, triple("image_std", 1.0)?);
        if deviation.contains(&0.0) {
            return Err("image_std holds a zero".to_owned());
        }
        Ok(Self { resize, crop, factor: if does("do_rescale", true) { factor as f32 } else { 1.0 }, mean, deviation })
    }

    /// The picture as `pixel_values` `[1, 3, height, width]`.
    ///
    /// # Errors
    /// The picture is empty, or smaller than the part to be cut out.
    pub fn apply(&self, picture: &RgbImage) -> Result<Array4<f32>> {
        let (width, height) = picture.dimensions();
        if width == 0 || height == 0 {
            return Err(Error::input("picture", "has no pixels"));
        }
        let resized = match self.resize {
            Some((to, filter)) => {
                let (width, height) = to.size(width, height);
                resize(picture, width, height, filter)
            }
            None => picture.clone(),
        };
        let shown = match self.crop {
            Some((width, height)) => middle(&resized, width, height)?,
            None => resized,
        };
        let (width, height) = shown.dimensions();
        Ok(Array4::from_shape_fn((1, 3, height as usize, width as usize), |(_, channel, y, x)| {
            let value = f32::from(shown.get_pixel(x as u32, y as u32)[channel]) * self.factor;
            (value - self.mean[channel]) / self.deviation[channel]
        }))
    }

    /// In a few words, e.g. `shortest side 224 (bicubic), middle 224x224`.
    pub fn describe(&self) -> String {
        let resize = self.resize.map(|(to, filter)| match to {
            Resize::Shortest(side) => format!("shortest side {side} ({})", filter.name()),
            Resize::To(width, height) => format!("{width}x{height} ({})", filter.name()),
        });
        let crop = self.crop.map(|(width, height)| format!("middle {width}x{height}"));
        resize.into_iter().chain(crop).collect::<Vec<_>>().join(", ")
    }
}

impl Resize {
    fn size(self, width: u32, height: u32) -> (u32, u32) {
        let long = |side: u32, short: u32, long: u32| {
            (f64::from(side) * f64::from(long) / f64::from(short)).clamp(1.0, f64::from(u16::MAX)) as u32
        };
        match self {
            Self::To(width, height) => (width, height),
            Self::Shortest(side) if width <= height => (side, long(side, width, height)),
            Self::Shortest(side) => (long(side, height, width), side),
        }
    }
}

fn middle(picture: &RgbImage, width: u32, height: u32) -> Result<RgbImage> {
    let (full_width, full_height) = picture.dimensions();
    if full_width < width || full_height < height {
        let reason =
            format!("is {full_width}x{full_height} after resizing, and {width}x{height} are to be cut out of it");
        return Err(Error::input("picture", reason));
    }
    let (left, top) = ((full_width - width) / 2, (full_height - height) / 2);
    Ok(imageops::crop_imm(picture, left, top, width, height).to_image())
}

fn resize_of(config: &Value, keeps_shape: bool) -> Result<Resize, String> {
    let size = config.get("size").ok_or("has no size")?;
    if size.get("longest_edge").is_some_and(|edge| !edge.is_null()) {
        return Err("limits the longest edge, which is not supported".to_owned());
    }
    let shortest = size.get("shortest_edge").or_else(|| Some(size).filter(|size| keeps_shape && size.is_u64()));
    match shortest {
        Some(side) => Ok(Resize::Shortest(side_of(side, "size")?)),
        None => sides(size, "size").map(|(width, height)| Resize::To(width, height)),
    }
}

fn filter_of(config: &Value, keeps_shape: bool) -> Result<Filter, String> {
    let Some(number) = config.get("resample").filter(|value| !value.is_null()) else {
        return Ok(if keeps_shape { Filter::Bicubic } else { Filter::Bilinear });
    };
    let filter = number.as_u64().and_then(Filter::from_number);
    filter.ok_or_else(|| format!("resample is {number}, where one of Pillow's filters 0 to 5 is expected"))
}

/// Width and height, given as one number or as two.
fn sides(value: &Value, key: &str) -> Result<(u32, u32), String> {
    if value.is_u64() {
        let side = side_of(value, key)?;
        return Ok((side, side));
    }
    let side = |name: &str| side_of(value.get(name).unwrap_or(&Value::Null), key);
    Ok((side("width")?, side("height")?))
}

fn side_of(value: &Value, key: &str) -> Result<u32, String> {
    let side = value.as_u64().filter(|side| (1..=LARGEST).contains(side));
    side.map(|side| side as u32).ok_or_else(|| format!("{key} holds {value}, where 1 to {LARGEST} pixels are expected"))
}

fn three(config: &Value, key: &str) -> Result<[f32; 3], String> {
    let value = config.get(key).cloned().unwrap_or_default();
    serde_json::from_value(value).map_err(|_| format!("{key} is not three numbers"))
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use serde_json::json;

    use super::*;

    fn config(more: Value) -> Value {
        let mut config = json!({"image_processor_type": "CLIPImageProcessor", "size": 8, "crop_size": 8,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.25, 0.5]});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    #[test]
    fn old_and_new_spellings_of_sizes() {
        let clip = Preprocessor::from_config(&config(json!({}))).unwrap();
        assert_eq!(clip.describe(), "shortest side 8 (bicubic), middle 8x8");
        let vit = config(json!({"feature_extractor_type": "ViTFeatureExtractor", "image_processor_type": null}));
        assert_eq!(Preprocessor::from_config(&vit).unwrap().describe(), "8x8 (bilinear)");
        let newer =
            config(json!({"size": {"shortest_edge": 9}, "crop_size": {"height": 4, "width": 6}, "resample": 1}));
        assert_eq!(Preprocessor::from_config(&newer).unwrap().describe(), "shortest side 9 (lanczos), middle 6x4");
    }

    #[test]
    fn numbers_are_scaled_and_normalised() {
        let values = Preprocessor::from_config(&config(json!({})))
            .unwrap()
            .apply(&RgbImage::from_pixel(20, 9, Rgb([255, 255, 0])))
            .unwrap();
        assert_eq!(values.shape(), [1, 3, 8, 8]);
        assert_eq!([values[[0, 0, 3, 3]], values[[0, 1, 3, 3]], values[[0, 2, 3, 3]]], [1.0, 2.0, -1.0]);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let refused = |more: Value| Preprocessor::from_config(&config(more)).unwrap_err();
        assert!(refused(json!({"do_pad": true})).contains("padding"));
        assert!(refused(json!({"resample": 9})).contains("resample"));
        assert!(refused(json!({"size": {"shortest_edge": 0}})).contains("size"));
        assert!(refused(json!({"image_mean": [1]})).contains("image_mean"));
        assert!(refused(json!({"image_std": [1, 0, 1]})).contains("image_std"));
        let large = Preprocessor::from_config(&config(json!({"crop_size": 9}))).unwrap();
        assert!(large.apply(&RgbImage::new(8, 8)).unwrap_err().to_string().contains("9x9"));
    }
}
