//! A Rust host with sessions of its own by the crate `ort`, and its own scheduler and guidance: where it ran the
//! UNet's session, it calls [`StepUnet::run`].
//!
//! ```sh
//! cargo run --release --example host -- target/onnxruntime/libonnxruntime.so shared models/demo \
//!     models/concepts/two_tone_ball.safetensors ball "a photo of a ball in the snow" 3 25 3 128 ball.png
//! ```

mod ddim;

use std::error::Error;
use std::sync::Arc;

use ddim::Ddim;
use infusion::concept::Concept;
use infusion::noise::start_noise;
use infusion::pipeline::step::{
    FoundationScheduler, FoundationStep, Inputs, Role, Setting, Step, StepOptions, StepRow, StepUnet,
};
use infusion::prompt::Tokenizer;
use infusion::runtime::library;
use ndarray::{Array3, ArrayView3, ArrayView4, Axis, Ix3, Ix4, stack};
use ort::environment::{Environment, EnvironmentBuilder};
use ort::session::Session;
use ort::value::{Tensor, TensorElementType};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const USAGE: &str = "host ONNXRUNTIME shared|separate MODEL CONCEPT WORD PROMPT SEED STEPS GUIDANCE SIZE OUTPUT.png";
/// What Stable Diffusion's latents are multiplied with.
const VAE_SCALE: f32 = 0.18215;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (onnxruntime, rest) = arguments.split_first().ok_or(USAGE)?;
    let environment = shared(ort::init_from(onnxruntime)?)?;
    println!("{}", draw(&environment, rest.try_into().map_err(|_| USAGE)?)?);
    Ok(())
}

/// The host's own environment, which the library then uses, too.
pub fn shared(builder: EnvironmentBuilder) -> Result<Environment> {
    let environment = builder.with_name("host").build()?;
    library::share(&environment)?;
    Ok(environment)
}

/// Draws, and says on what.
pub fn draw(environment: &Environment, arguments: [&str; 10]) -> Result<String> {
    let [streams, model, concept, word, prompt, seed, steps, guidance, size, output] = arguments;
    let (steps, size, guidance) = (steps.parse::<usize>()?, size.parse::<usize>()? / 8, guidance.parse()?);

    let tokenizer = Tokenizer::open(format!("{model}/tokenizer"))?;
    let (nothing, prompt) = (tokenizer.encode_padded("")?, tokenizer.encode_padded(prompt)?);
    let mut encoder = session(environment, &format!("{model}/text_encoder/model.onnx"))?;
    let mut decoder = session(environment, &format!("{model}/vae_decoder/model.onnx"))?;

    let own = || Box::new(Follower { scheduler: Ddim::new(steps), guidance }) as Box<dyn FoundationScheduler>;
    let options = StepOptions {
        tokenizer: Some(Arc::new(tokenizer)),
        scheduler: (streams == "separate").then(own),
        ..Default::default()
    };
    let unet = StepUnet::open(format!("{model}/unet/model.onnx"), options)?;
    let phrase = Some(word.to_owned());
    unet.set_concept(Arc::new(Concept::load(concept)?), Setting { phrase, ..Default::default() })?;

    let context = encode(&mut encoder, [&nothing, &prompt])?;
    let row = |role, ids| StepRow { role, image: 0, marks: Vec::new(), ids };
    let rows = vec![row(Role::Unconditional, Vec::new()), row(Role::Conditional, prompt)];
    let mut step = Step { index: 0, steps: steps as u32, rows_per_image: 0, rows };
    let mut inputs = Inputs { timesteps: Vec::new(), context, further: Vec::new() };

    let scheduler = Ddim::new(steps);
    let mut latents = start_noise(seed.parse()?, [1, 4, size, size]).index_axis_move(Axis(0), 0);
    for index in 0..steps {
        let sample = stack![Axis(0), latents, latents];
        step.index = index as u32;
        inputs.timesteps = vec![scheduler.timestep(index).into()];
        let noise = unet.run(&step, &sample, &inputs)?;
        latents = scheduler.step(index, &latents, &guided(noise.view(), guidance));
    }

    save(decode(&mut decoder, latents)?.view(), output)?;
    let version = library::loaded().map_or("", |library| &library.version);
    Ok(format!("{steps} steps on the host's ONNX Runtime {version}"))
}

fn session(environment: &Environment, file: &str) -> Result<Session> {
    Ok(Session::builder(environment)?.commit_from_file(file)?)
}

/// The hidden states of both prompts, `[2, 77, C]`. Exports take int32 or int64 ids.
fn encode(encoder: &mut Session, prompts: [&[i64]; 2]) -> Result<Array3<f32>> {
    let (ids, dims) = (prompts.concat(), [2, prompts[0].len()]);
    let input = match encoder.inputs()[0].dtype().tensor_type() {
        Some(TensorElementType::Int64) => Tensor::from_array((dims, ids))?.into_dyn(),
        _ => Tensor::from_array((dims, ids.iter().map(|&id| id as i32).collect::<Vec<_>>()))?.into_dyn(),
    };
    let outputs = encoder.run(ort::inputs![input])?;
    Ok(outputs[0].try_extract_array::<f32>()?.into_dimensionality::<Ix3>()?.to_owned())
}

/// The picture of `[4, h, w]`: `[3, 8h, 8w]` from -1 to 1.
fn decode(decoder: &mut Session, latents: Array3<f32>) -> Result<Array3<f32>> {
    let latents = (latents / VAE_SCALE).insert_axis(Axis(0));
    let outputs = decoder.run(ort::inputs![Tensor::from_array(latents)?])?;
    Ok(outputs[0].try_extract_array::<f32>()?.into_dimensionality::<Ix4>()?.index_axis_move(Axis(0), 0).to_owned())
}

/// Unconditional row first, as this host feeds them.
fn guided(noise: ArrayView4<f32>, guidance: f32) -> Array3<f32> {
    let (unconditional, conditional) = (noise.index_axis(Axis(0), 0), noise.index_axis(Axis(0), 1));
    &unconditional + (&conditional - &unconditional) * guidance
}

/// Steps the foundation stream as the loop above steps the picture.
struct Follower {
    scheduler: Ddim,
    guidance: f32,
}

impl FoundationScheduler for Follower {
    fn step(&self, foundation: &FoundationStep) -> infusion::pipeline::Result<Array3<f32>> {
        let noise = guided(foundation.noise.view(), self.guidance);
        Ok(self.scheduler.step(foundation.index as usize, &foundation.sample, &noise))
    }
}

fn save(picture: ArrayView3<f32>, file: &str) -> Result<()> {
    let level = |value: f32| ((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8;
    let (_, height, width) = picture.dim();
    let pixels = image::RgbImage::from_fn(width as u32, height as u32, |x, y| {
        image::Rgb([0, 1, 2].map(|channel| level(picture[[channel, y as usize, x as usize]])))
    });
    Ok(pixels.save(file)?)
}
