use std::ffi::{c_char, c_void};
use std::sync::Arc;

use image::RgbImage;

use super::arguments::{optional_text, or_default, output, slice, text};
use super::concept::CONCEPTS;
use super::pictures::{self, Pictures};
use super::pipeline::PIPELINES;
use super::progress::{Progress, ProgressCallback};
use super::status::{Status, call};
use super::structs::{self, Struct};
use super::{Error, Result, modes};
use crate::pipeline::{ConceptUse, InitImage, LayerScale, Mode, Pipeline, Request, Variation};
use crate::schedulers::Latents;

/// `infusion_generate_options`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct GenerateOptions {
    struct_size: u32,
    width: u32,
    height: u32,
    num_inference_steps: u32,
    batch: u32,
    mode: i32,
    graphs: i32,
    foundation: i32,
    force: i32,
    seed: u64,
    guidance_scale: f64,
    start: f64,
    end: f64,
    prompt: *const c_char,
    negative_prompt: *const c_char,
    scheduler: *const c_char,
    concepts: *const UseArgument,
    concepts_count: usize,
    layer_scales: *const f32,
    layer_scales_count: usize,
    noise: *const f32,
    noise_count: usize,
    init_rgb: *const u8,
    init_width: u32,
    init_height: u32,
    strength: f64,
    progress: Option<ProgressCallback>,
    progress_user: *mut c_void,
}

/// `infusion_concept_use`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct UseArgument {
    struct_size: u32,
    weight: f32,
    name: *const c_char,
    concept: usize,
}

// SAFETY: numbers, raw pointers and a function that may be absent; the caller vouches for it as for any pointer.
unsafe impl Struct for GenerateOptions {
    const NAME: &'static str = "infusion_generate_options";
}
// SAFETY: numbers and raw pointers, of which any bytes make some.
unsafe impl Struct for UseArgument {
    const NAME: &'static str = "infusion_concept_use";
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_generate(
    pipeline: usize,
    options: *const GenerateOptions,
    out: *mut usize,
) -> *mut Status {
    call(|| {
        let out = output("out", out)?;
        let pipeline = PIPELINES.get(pipeline)?;
        // SAFETY: the caller vouches for the struct and everything that it points to.
        let (request, mut progress) = unsafe {
            let options = structs::read("options", options)?;
            (request(&options, &pipeline)?, Progress::new(options.progress, options.progress_user))
        };
        let made = pipeline.generate(&request, &mut progress)?;
        progress.ensure_going_on()?;
        let pictures = pictures::TABLE.insert(Pictures::new(made, request, pipeline.folder().root.clone()))?;
        // SAFETY: not NULL and aligned; the caller vouches for the rest.
        unsafe { out.write(pictures) };
        Ok(())
    })
}

/// # Safety
/// Pointers are as the header says.
unsafe fn request(options: &GenerateOptions, pipeline: &Pipeline) -> Result<Request> {
    let (width, height) = pipeline.usual_size();
    let usual = Request::default();
    let mode = modes::mode(options.mode)?.unwrap_or(Mode::Separate);
    // SAFETY: the caller vouches for everything that the struct points to.
    unsafe {
        let mut request = Request {
            prompt: text("prompt", options.prompt)?.to_owned(),
            negative_prompt: optional_text("negative_prompt", options.negative_prompt)?.unwrap_or_default().to_owned(),
            variations: variations(options)?,
            seed: options.seed,
            batch: or_default(options.batch, usual.batch),
            width: or_default(options.width, width),
            height: or_default(options.height, height),
            num_inference_steps: or_default(options.num_inference_steps, usual.num_inference_steps),
            guidance_scale: if options.guidance_scale == 0.0 {
                usual.guidance_scale
            } else {
                options.guidance_scale as f32
            },
            mode,
            graphs: modes::graph_choice(modes::graphs(options.graphs)?, mode),
            start: options.start,
            end: if options.end == 0.0 { usual.end } else { options.end },
            layer_scales: layer_scales(slice("layer_scales", options.layer_scales, options.layer_scales_count)?),
            init_image: init_image(options)?,
            foundation: options.foundation != 0,
            force: options.force != 0,
            ..usual
        };
        if let Some(scheduler) = optional_text("scheduler", options.scheduler)? {
            request.scheduler = scheduler.to_owned();
        }
        request.noise = noise(slice("noise", options.noise, options.noise_count)?, &request)?;
        Ok(request)
    }
}

/// # Safety
/// Pointers are as the header says.
unsafe fn variations(options: &GenerateOptions) -> Result<Vec<Variation>> {
    // SAFETY: the caller vouches for the structs.
    let uses = unsafe { structs::read_all("concepts", options.concepts, options.concepts_count) }?;
    let read = |used: &UseArgument| {
        let concept = Arc::clone(&*CONCEPTS.get(used.concept)?);
        // SAFETY: the caller vouches for a text that ends in NUL.
        let name = unsafe { optional_text("concepts, name", used.name) }?.unwrap_or(&concept.word).to_owned();
        Ok(ConceptUse { name, concept, strength: used.weight })
    };
    let concepts = uses.iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(if concepts.is_empty() { Vec::new() } else { vec![Variation { concepts }] })
}

fn layer_scales(factors: &[f32]) -> Vec<LayerScale> {
    let changed = factors.iter().copied().enumerate().filter(|(_, scale)| *scale != 1.0);
    changed.map(|(layer, scale)| LayerScale { layer, scale }).collect()
}

/// Share of the steps that img2img runs unless told otherwise.
const STRENGTH: f64 = 0.8;

/// # Safety
/// Pointers are as the header says.
unsafe fn init_image(options: &GenerateOptions) -> Result<Option<InitImage>> {
    if options.init_rgb.is_null() {
        return Ok(None);
    }
    let (width, height) = (options.init_width, options.init_height);
    let wrong = || Error::argument("init_rgb", format!("{width} x {height} pixels are no picture"));
    let size = (width as usize).checked_mul(height as usize).and_then(|pixels| pixels.checked_mul(3));
    let size = size.filter(|size| *size > 0).ok_or_else(wrong)?;
    // SAFETY: the caller vouches for the pixels.
    let pixels = unsafe { slice("init_rgb", options.init_rgb, size) }?.to_vec();
    let picture = RgbImage::from_raw(width, height, pixels).ok_or_else(wrong)?;
    let strength = if options.strength == 0.0 { STRENGTH } else { options.strength };
    Ok(Some(InitImage { picture, strength }))
}

fn noise(values: &[f32], request: &Request) -> Result<Option<Latents>> {
    if values.is_empty() {
        return Ok(None);
    }
    let shape = (request.batch, 4, request.height / 8, request.width / 8);
    let noise = Latents::from_shape_vec(shape, values.to_vec());
    let wrong = |_| Error::argument("noise", format!("holds {} numbers, and {shape:?} are needed", values.len()));
    noise.map(Some).map_err(wrong)
}
