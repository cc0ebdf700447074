use std::ffi::c_char;
use std::path::PathBuf;

use image::RgbImage;
use serde_json::{Value, json};

use super::arguments::{output, text};
use super::handles::Table;
use super::status::{Status, call, guarded};
use super::structs::{self, Struct};
use super::{Error, Result};
use crate::files::Existing;
use crate::picture::{self, Parameters, PictureText};
use crate::pipeline::{Generated, Mode, Request};
use crate::schedulers;

pub(super) static TABLE: Table<Pictures> = Table::new(7, "infusion_pictures");

/// The pictures of one call, and what was asked for.
pub(super) struct Pictures {
    all: Vec<Picture>,
    request: Request,
    /// The pipeline's folder.
    model: PathBuf,
}

struct Picture {
    image: RgbImage,
    seed: u64,
    foundation: bool,
}

/// `infusion_picture`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PictureArgument {
    struct_size: u32,
    width: u32,
    height: u32,
    foundation: i32,
    seed: u64,
    rgb: *const u8,
    size: usize,
}

// SAFETY: numbers and a raw pointer, of which any bytes make some.
unsafe impl Struct for PictureArgument {
    const NAME: &'static str = "infusion_picture";
}

impl Pictures {
    pub fn new(made: Generated, request: Request, model: PathBuf) -> Self {
        let customised = made.pictures.into_iter();
        let customised =
            customised.map(|picture| Picture { image: picture.image, seed: picture.seed, foundation: false });
        let foundation = made.foundation.into_iter().zip(0..);
        let foundation = foundation.map(|(image, index)| Picture {
            image,
            seed: request.seed.wrapping_add(index),
            foundation: true,
        });
        Self { all: customised.chain(foundation).collect(), request, model }
    }

    fn picture(&self, index: usize) -> Result<&Picture> {
        self.all.get(index).ok_or_else(|| Error::argument("index", format!("{index}: there are {}", self.all.len())))
    }

    /// A1111's text for other tools, and all settings for this one.
    fn text(&self, picture: &Picture) -> Result<PictureText> {
        let request = &self.request;
        let parameters = Parameters {
            prompt: request.prompt.clone(),
            negative_prompt: request.negative_prompt.clone(),
            ..Default::default()
        };
        let parameters = parameters
            .with("Steps", request.num_inference_steps)
            .with("Sampler", schedulers::find(&request.scheduler)?.label)
            .with("CFG scale", request.guidance_scale)
            .with("Seed", picture.seed)
            .with("Size", format!("{}x{}", picture.image.width(), picture.image.height()));
        let mut text = PictureText::default();
        text.insert("parameters", parameters.to_string());
        if let Some(settings) = self.settings(picture) {
            text.insert("infusion", settings.to_string());
        }
        Ok(text)
    }

    /// What `infusion generate --from` repeats the picture by; `None` where some of it is in no file.
    fn settings(&self, picture: &Picture) -> Option<Value> {
        let request = &self.request;
        if request.noise.is_some() || request.init_image.is_some() {
            return None;
        }
        let used = request.variations.iter().flat_map(|variation| &variation.concepts);
        let concepts: Option<Vec<Value>> = used
            .map(|used| {
                let strength = if picture.foundation { 0.0 } else { used.strength };
                Some(json!({"name": used.name, "file": used.concept.path.as_ref()?, "strength": strength}))
            })
            .collect();
        Some(json!({
            "version": 1,
            "model": self.model,
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "concepts": concepts?,
            "seed": picture.seed,
            "width": picture.image.width(),
            "height": picture.image.height(),
            "steps": request.num_inference_steps,
            "guidance_scale": request.guidance_scale,
            "scheduler": request.scheduler,
            "streams": if request.mode == Mode::Shared { "shared" } else { "separate" },
            "start": request.start,
            "end": request.end,
            "layer_scales": request.layer_scales.iter().map(|it| (it.layer, it.scale)).collect::<Vec<_>>(),
        }))
    }
}

/// How many there are.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_pictures_count(pictures: usize) -> usize {
    guarded(0, || TABLE.get(pictures).map_or(0, |pictures| pictures.all.len()))
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_pictures_get(
    pictures: usize,
    index: usize,
    out: *mut PictureArgument,
) -> *mut Status {
    call(|| {
        let pictures = TABLE.get(pictures)?;
        let picture = pictures.picture(index)?;
        // SAFETY: the caller vouches for the struct.
        let given = unsafe { structs::read("out", out) }?;
        let described = PictureArgument {
            width: picture.image.width(),
            height: picture.image.height(),
            foundation: i32::from(picture.foundation),
            seed: picture.seed,
            rgb: picture.image.as_raw().as_ptr(),
            size: picture.image.as_raw().len(),
            ..given
        };
        // SAFETY: `read` found it to be there and long enough; the caller vouches for the rest.
        unsafe { output("out", out)?.write(described) };
        Ok(())
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_pictures_save(
    pictures: usize,
    index: usize,
    path: *const c_char,
    overwrite: i32,
) -> *mut Status {
    call(|| {
        let pictures = TABLE.get(pictures)?;
        let picture = pictures.picture(index)?;
        // SAFETY: the caller vouches for a text that ends in NUL.
        let path = unsafe { text("path", path) }?;
        let existing = if overwrite == 0 { Existing::Keep } else { Existing::Replace };
        Ok(picture::save(path, &picture.image, &pictures.text(picture)?, existing)?)
    })
}

/// Frees pictures.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_pictures_free(pictures: usize) {
    guarded((), || TABLE.remove(pictures));
}
