//! The shipped model through this program against PyTorch and diffusers (`tools/goldens/make.py`).

#[path = "support/demo.rs"]
mod demo;
#[path = "support/judge.rs"]
mod judge;

use std::sync::Arc;

use demo::{Goldens, difference};
use infusion::concept::Concept;
use infusion::onnx::Model;
use infusion::onnx::infer::infer;
use infusion::patch::{EmitOptions, FindOptions, Variant, emit, find};
use infusion::pipeline::{
    ConceptUse, Control, GraphChoice, Mode, Observer, Pipeline, PipelineOptions, Request, StepReport, Variation,
};
use infusion::runtime::{ElementType, Session, SessionOptions, Tensor};
use infusion::schedulers::Latents;
use ndarray::{Array2, ArrayViewD, Axis, Ix2, Ix4, s};
use prost::Message as _;

/// Single calls in float32 against float32 (text, VAE) or float64 (UNet), on outputs of order one.
const CALL: f64 = 1e-4;
/// After 50 steps, as the project promises.
const TRAJECTORY: f64 = 1e-3;
const KEPT: [usize; 4] = [0, 1, 10, 49];

fn open(folder: &tempfile::TempDir) -> Pipeline {
    Pipeline::open(folder.path(), &PipelineOptions::default()).unwrap()
}

fn run(model: std::path::PathBuf, feeds: &[(&str, ArrayViewD<f32>)], output: &str) -> ndarray::ArrayD<f32> {
    let session = Session::open(model, &SessionOptions::default()).unwrap();
    let typed: Vec<(&str, Tensor)> = feeds
        .iter()
        .map(|(name, values)| {
            let spec = session.input(name).unwrap_or_else(|| panic!("no input {name}"));
            (*name, Tensor::F32(values.to_owned()).cast(spec.element_type))
        })
        .collect();
    let feeds: Vec<(&str, &Tensor)> = typed.iter().map(|(name, tensor)| (*name, tensor)).collect();
    session.run(&feeds).unwrap().take(output).unwrap().cast(ElementType::F32).into_f32()
}

#[test]
fn the_goldens_are_of_the_model_that_is_shipped() {
    use sha2::{Digest, Sha256};
    for (file, hash) in demo::facts()["model"].as_object().unwrap() {
        let digest = Sha256::digest(std::fs::read(demo::source().join(file)).unwrap());
        let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, *hash, "{file} has changed: run tools/goldens/make.py");
    }
}

#[test]
fn prompts_are_tokenised_as_transformers_does() {
    let tokenizer = infusion::prompt::Tokenizer::open(demo::source().join("tokenizer")).unwrap();
    let facts = demo::facts();
    let prompts = facts["prompts"].as_array().unwrap();
    assert_eq!(prompts.len(), 25);
    for prompt in prompts {
        let text = prompt["prompt"].as_str().unwrap();
        let expected: Vec<i64> = serde_json::from_value(prompt["input_ids"].clone()).unwrap();
        assert_eq!(tokenizer.encode_padded(text).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn single_calls_equal_torch() {
    let (goldens, facts, folder) = (Goldens::of("model.safetensors"), demo::facts(), demo::source());
    for index in facts["embedded"].as_array().unwrap() {
        let prompt = &facts["prompts"][index.as_u64().unwrap() as usize];
        let ids: Vec<f32> = serde_json::from_value(prompt["input_ids"].clone()).unwrap();
        let ids = ndarray::Array::from(ids).insert_axis(Axis(0)).into_dyn();
        let found = run(folder.join("text_encoder/model.onnx"), &[("input_ids", ids.view())], "last_hidden_state");
        let apart = difference(found.index_axis(Axis(0), 0), goldens.get(&format!("text.{index}")));
        assert!(apart <= CALL, "text {index}: {apart:.1e}");
    }

    let moments =
        run(folder.join("vae_encoder/model.onnx"), &[("sample", goldens.get("vae.picture"))], "latent_parameters");
    let apart = difference(moments.slice(s![.., ..4, .., ..]).into_dyn(), goldens.get("vae.mean"));
    assert!(apart <= CALL, "VAE encoder: {apart:.1e}");
    let decoded = run(folder.join("vae_decoder/model.onnx"), &[("latent_sample", goldens.get("vae.mean"))], "sample");
    let apart = difference(decoded.view(), goldens.get("vae.decoded"));
    assert!(apart <= CALL, "VAE decoder: {apart:.1e}");

    let inputs = ["sample", "timestep", "encoder_hidden_states"];
    let names = inputs.map(|name| format!("unet.{name}"));
    let feeds: Vec<_> = inputs.into_iter().zip(names.iter().map(|name| goldens.get(name))).collect();
    let model = folder.join("unet/model.onnx");
    let output = Session::open(&model, &SessionOptions::default()).unwrap().outputs()[0].name.clone();
    let apart = difference(run(model, &feeds, &output).view(), goldens.get("unet.output"));
    assert!(apart <= CALL, "UNet: {apart:.1e}");
}

#[test]
fn the_pipelines_vae_encodes_and_decodes_as_diffusers() {
    let (goldens, folder) = (Goldens::of("model.safetensors"), demo::pipeline());
    let pipeline = open(&folder);
    let decoded = goldens.get("vae.decoded").into_dimensionality::<Ix4>().unwrap();
    let latents = goldens.get("vae.latents").into_dimensionality::<Ix4>().unwrap().to_owned();
    let picture = pipeline.decode(&latents).unwrap().swap_remove(0);
    assert_eq!(picture.dimensions(), (96, 64));
    for (x, y, pixel) in picture.enumerate_pixels() {
        for (channel, found) in pixel.0.into_iter().enumerate() {
            let exact = (decoded[[0, channel, y as usize, x as usize]] / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0;
            assert!((f32::from(found) - exact).abs() <= 0.51, "{x} {y}: {found} for {exact}");
        }
    }
}

/// The latents of both streams after some steps.
#[derive(Default)]
struct Keep {
    foundation: Vec<Latents>,
    customised: Vec<Latents>,
}

impl Observer for Keep {
    fn step(&mut self, report: &StepReport<'_>) -> Control {
        if KEPT.contains(&(report.step - 1)) {
            self.foundation.extend(report.foundation.cloned());
            self.customised.extend(report.customised.first().map(|latents| (*latents).clone()));
        }
        Control::Continue
    }
}

fn request() -> Request {
    Request { width: 128, height: 128, seed: demo::facts()["seed"].as_u64().unwrap(), ..Default::default() }
}

#[test]
fn fifty_steps_and_the_picture_equal_diffusers() {
    let (goldens, facts, folder) = (Goldens::of("generation.safetensors"), demo::facts(), demo::pipeline());
    let prompt = facts["plain_prompt"].as_str().unwrap().to_owned();
    let mut kept = Keep::default();
    let made = open(&folder).generate(&Request { prompt, ..request() }, &mut kept).unwrap();
    for (latents, step) in kept.foundation.iter().zip(KEPT) {
        let apart = difference(latents.view().into_dyn(), goldens.get(&format!("latents.{step}")));
        assert!(apart <= TRAJECTORY, "step {step}: {apart:.1e}");
    }
    let expected = goldens.get("picture");
    let off: Vec<f32> =
        made.pictures[0].image.iter().zip(expected.iter()).map(|(a, b)| (f32::from(*a) - b).abs()).collect();
    let (most, mean) = (off.iter().copied().fold(0.0, f32::max), off.iter().sum::<f32>() / off.len() as f32);
    assert!(off.len() == expected.len() && most <= 2.0 && mean <= 0.1, "most {most}, mean {mean}");
}

/// Concepts whose Δ are the rows of the golden's, by the words of `facts["concepts"]`.
fn concepts(pipeline: &Pipeline, goldens: &Goldens, label: &str) -> Vec<ConceptUse> {
    let delta = goldens.get(&format!("{label}.delta")).into_dimensionality::<Ix2>().unwrap();
    let words: Vec<Vec<String>> = serde_json::from_value(demo::facts()["concepts"][label].clone()).unwrap();
    assert_eq!(words.len(), delta.nrows());
    let made = words.iter().zip(delta.axis_iter(Axis(0))).map(|(words, row)| {
        let mut concept = Concept::new(words.join(" "), words.join(" "));
        concept.base_model_hash = pipeline.graphs().base_model_hash.clone();
        let mut column = 0;
        for layer in &pipeline.graphs().layers {
            let own: Array2<f32> = row.slice(s![column..column + layer.width]).insert_axis(Axis(0)).to_owned();
            concept.layers.insert(layer.module_path.clone(), own);
            column += layer.width;
        }
        ConceptUse { name: words.join("-"), concept: Arc::new(concept), strength: 1.0 }
    });
    made.collect()
}

/// The golden's prompt with its concepts marked.
fn marked(concepts: &[ConceptUse]) -> String {
    let prompt = demo::facts()["stream_prompt"].as_str().unwrap().to_owned();
    concepts.iter().fold(prompt, |prompt, used| prompt.replace(&used.concept.class, &format!("<{}>", used.name)))
}

fn streams_equal_the_reference(label: &str, ways: &[(Mode, GraphChoice)]) {
    let (goldens, folder) = (Goldens::of("streams.safetensors"), demo::pipeline());
    let pipeline = open(&folder);
    let concepts = concepts(&pipeline, &goldens, label);
    let moved =
        difference(goldens.get(&format!("{label}.separate.c.49")), goldens.get(&format!("{label}.separate.f.49")));
    assert!(moved > 10.0 * TRAJECTORY, "the concepts show: {moved:.1e}");
    for &(mode, graphs) in ways {
        let name = if mode == Mode::Separate { "separate" } else { "shared" };
        let variations = vec![Variation { concepts: concepts.clone() }];
        let request = Request { prompt: marked(&concepts), variations, mode, graphs, ..request() };
        let mut kept = Keep::default();
        let made = pipeline.sample(&request, &mut kept).unwrap();
        assert_eq!(kept.customised.len(), KEPT.len());
        let both = [("f", &kept.foundation), ("c", &kept.customised)];
        for (stream, latents) in both.into_iter().filter(|(stream, _)| mode == Mode::Separate || *stream == "c") {
            for (latents, step) in latents.iter().zip(KEPT) {
                let expected = goldens.get(&format!("{label}.{name}.{stream}.{step}"));
                let apart = difference(latents.view().into_dyn(), expected);
                assert!(apart <= TRAJECTORY, "{label} {name} by {}: {stream} at {step}: {apart:.1e}", made.graphs);
            }
        }
    }
}

#[test]
fn one_concept_equals_the_two_stream_reference_by_all_graphs() {
    streams_equal_the_reference(
        "one",
        &[
            (Mode::Separate, GraphChoice::Two),
            (Mode::Separate, GraphChoice::Dual),
            (Mode::Shared, GraphChoice::Two),
            (Mode::Shared, GraphChoice::Shared),
        ],
    );
}

#[test]
fn two_concepts_one_of_two_tokens_equal_the_reference() {
    streams_equal_the_reference("two", &[(Mode::Separate, GraphChoice::Dual), (Mode::Shared, GraphChoice::Two)]);
}

#[test]
fn loss_gradient_and_prediction_of_the_train_graph_equal_autograd() {
    let (goldens, folder) = (Goldens::of("training.safetensors"), demo::pipeline());
    let source = Model::open(folder.path().join("unet/model.onnx")).unwrap();
    let survey = find(&source, &infer(&source), &FindOptions::default()).unwrap();
    let graph = emit(&source, &survey, Variant::Train, &EmitOptions::default()).unwrap();
    let path = folder.path().join("unet/model.train.onnx");
    std::fs::write(&path, graph.to_proto().unwrap().encode_to_vec()).unwrap();

    let session = Session::open(&path, &SessionOptions::default()).unwrap();
    let fed = ["sample", "timestep", "encoder_hidden_states", "infusion.mask", "infusion.delta", "infusion.target"];
    let typed = fed.map(|name| {
        let values = goldens.get(name.trim_start_matches("infusion.")).to_owned();
        (name, Tensor::F32(values).cast(session.input(name).unwrap().element_type))
    });
    let feeds: Vec<(&str, &Tensor)> = typed.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let mut outputs = session.run(&feeds).unwrap();
    for (name, tolerance) in [("loss", CALL), ("prediction", CALL), ("grad", TRAJECTORY)] {
        let found = outputs.take(&format!("infusion.{name}")).unwrap().into_f32();
        let apart = difference(found.view(), goldens.get(name));
        assert!(apart <= tolerance, "{name}: {apart:.1e}");
    }
}

/// Eq. 7 moves the value rows of one word, so what is not the object stays as it was.
#[test]
fn the_background_is_preserved() {
    let folder = demo::pipeline();
    let pipeline = open(&folder);
    let file = demo::source().with_file_name("concepts").join("two_tone_ball.safetensors");
    let concept =
        ConceptUse { name: "ball".to_owned(), concept: Arc::new(Concept::load(file).unwrap()), strength: 1.0 };
    let (mut inside, mut outside) = ((0.0, 0), (0.0, 0));
    for (prompt, seed) in [("a photo of a <ball> in the snow", 3), ("a photo of a <ball> on the sand", 1)] {
        let request = Request {
            prompt: prompt.to_owned(),
            variations: vec![Variation { concepts: vec![concept.clone()] }],
            foundation: true,
            seed,
            ..request()
        };
        let made = pipeline.generate(&request, &mut infusion::pipeline::Silent).unwrap();
        let (f, c) = (&made.foundation[0], &made.pictures[0].image);
        let object = judge::foreground(f) | judge::foreground(c);
        for ((x, y, f), c) in f.enumerate_pixels().zip(c.pixels()) {
            let apart: f64 = f.0.iter().zip(c.0).map(|(f, c)| f64::from(f.abs_diff(c))).sum();
            let side = if object[[y as usize, x as usize]] { &mut inside } else { &mut outside };
            *side = (side.0 + apart, side.1 + 1);
        }
    }
    let mean = |(sum, count): (f64, i32)| sum / f64::from(count.max(1));
    assert!(mean(inside) > 3.0, "the concept shows: {:.2}", mean(inside));
    assert!(mean(outside) < mean(inside) / 3.0, "outside {:.2}, inside {:.2}", mean(outside), mean(inside));
}
