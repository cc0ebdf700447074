//! Latents and pictures of the pipeline against diffusers and the two-stream reference in torch.

#[path = "support/tiny.rs"]
mod tiny;

use std::sync::Arc;

use infusion::concept::Concept;
use infusion::pipeline::{
    ConceptUse, Control, GraphChoice, InitImage, LayerScale, Mode, Observer, Pipeline, PipelineOptions, Request,
    Silent, StepReport, Variation,
};
use infusion::runtime::SessionOptions;

/// Fifty steps amplify rounding: torch itself differs by 7.5e-6 of the largest value between two ways of
/// computing F. The promise is 1e-3.
const TOLERANCE: f32 = 1e-4;

fn open(folder: &tempfile::TempDir) -> Pipeline {
    Pipeline::open(folder.path(), &PipelineOptions::default()).unwrap()
}

fn plain() -> Request {
    Request {
        prompt: tiny::PLAIN_PROMPT.to_owned(),
        negative_prompt: tiny::NEGATIVE.to_owned(),
        seed: tiny::SEED,
        width: 64,
        height: 64,
        ..Default::default()
    }
}

fn variation(strength: f32) -> Variation {
    let concept = Arc::new(Concept::load(tiny::source().join("striped.safetensors")).unwrap());
    Variation { concepts: vec![ConceptUse { name: "ball".to_owned(), concept, strength }] }
}

fn infused() -> Request {
    Request { prompt: tiny::PROMPT.to_owned(), variations: vec![variation(1.0)], force: true, ..plain() }
}

fn short(request: Request) -> Request {
    Request { num_inference_steps: 4, ..request }
}

#[test]
fn a_prompt_without_a_concept_equals_diffusers() {
    let folder = tiny::pipeline();
    let made = open(&folder).generate(&plain(), &mut Silent).unwrap();
    assert_eq!((made.graphs, made.steps), ("source", 50));
    let difference = tiny::difference(&made.latents[0], &tiny::golden("foundation"));
    assert!(difference <= TOLERANCE, "{difference}");
    let expected = image::open(tiny::source().join("foundation.png")).unwrap().to_rgb8();
    let off = made.pictures[0].image.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b));
    let (most, sum) = off.fold((0, 0.0), |(most, sum), off| (off.max(most), sum + f64::from(off)));
    assert!(most <= 2 && sum / expected.len() as f64 <= 0.1, "most {most}, mean {}", sum / expected.len() as f64);
}

#[test]
fn both_modes_equal_the_reference_by_all_graphs() {
    let folder = tiny::pipeline();
    let pipeline = open(&folder);
    for (mode, name, single) in
        [(Mode::Separate, "separate", GraphChoice::Dual), (Mode::Shared, "shared", GraphChoice::Shared)]
    {
        for graphs in [GraphChoice::Auto, GraphChoice::Two, single] {
            let request = Request { mode, graphs, ..infused() };
            let made = pipeline.generate(&request, &mut Silent).unwrap();
            let difference = tiny::difference(&made.latents[0], &tiny::golden(name));
            assert!(difference <= TOLERANCE, "{name} by {}: {difference}", made.graphs);
            if mode == Mode::Separate {
                let foundation = made.foundation_latents.as_ref().unwrap();
                let difference = tiny::difference(foundation, &tiny::golden("foundation"));
                assert!(difference <= TOLERANCE, "foundation by {}: {difference}", made.graphs);
            }
        }
    }
}

#[test]
fn the_injection_opens_and_closes() {
    let folder = tiny::pipeline();
    let pipeline = open(&folder);
    for (mode, name) in [(Mode::Separate, "separate_window"), (Mode::Shared, "shared_window")] {
        let request = Request { mode, start: 0.2, end: 0.8, foundation: true, ..infused() };
        let made = pipeline.generate(&request, &mut Silent).unwrap();
        let difference = tiny::difference(&made.latents[0], &tiny::golden(name));
        assert!(difference <= TOLERANCE, "{name}: {difference}");
        let foundation = tiny::difference(made.foundation_latents.as_ref().unwrap(), &tiny::golden("foundation"));
        assert!(foundation <= TOLERANCE, "{name}: foundation {foundation}");
        assert_eq!(made.foundation.len(), 1);
    }
}

#[test]
fn img2img_equals_diffusers() {
    let folder = tiny::pipeline();
    let picture = image::open(tiny::source().join("init.png")).unwrap().to_rgb8();
    let request = Request { init_image: Some(InitImage { picture, strength: 0.5 }), ..plain() };
    let made = open(&folder).generate(&request, &mut Silent).unwrap();
    assert_eq!(made.steps, 25);
    let difference = tiny::difference(&made.latents[0], &tiny::golden("img2img"));
    assert!(difference <= TOLERANCE, "{difference}");
}

#[test]
fn pictures_of_a_batch_are_those_made_alone() {
    let folder = tiny::pipeline();
    let pipeline = open(&folder);
    let batch = pipeline.generate(&short(Request { batch: 2, ..infused() }), &mut Silent).unwrap();
    assert_eq!(batch.pictures.iter().map(|picture| picture.seed).collect::<Vec<_>>(), [7, 8]);
    let alone = pipeline.generate(&short(Request { seed: 8, ..infused() }), &mut Silent).unwrap();
    let second = batch.latents[0].slice(ndarray::s![1..2, .., .., ..]).to_owned();
    assert!(tiny::difference(&second, &alone.latents[0]) <= TOLERANCE);
}

#[test]
fn variations_on_one_foundation_are_those_made_alone() {
    let folder = tiny::pipeline();
    let pipeline = open(&folder);
    for mode in [Mode::Separate, Mode::Shared] {
        let strengths = [1.0, -0.5, 0.0];
        let together = Request { variations: strengths.map(variation).to_vec(), mode, ..infused() };
        let together = pipeline.generate(&short(together), &mut Silent).unwrap();
        for (index, strength) in strengths.into_iter().enumerate() {
            let alone = Request { variations: vec![variation(strength)], mode, ..infused() };
            let alone = pipeline.generate(&short(alone), &mut Silent).unwrap();
            let difference = tiny::difference(&together.latents[index], &alone.latents[0]);
            assert!(difference <= TOLERANCE, "{mode:?} {strength}: {difference}");
        }
        let none = pipeline.generate(&short(plain()), &mut Silent).unwrap();
        let difference = tiny::difference(&together.latents[2], &none.latents[0]);
        assert!(difference <= TOLERANCE, "strength 0 is the foundation: {difference}");
    }
}

#[test]
fn sessions_that_keep_their_addresses_give_the_same() {
    let folder = tiny::pipeline();
    let session = SessionOptions { provider: "cpu:static_shapes=yes".parse().unwrap(), ..Default::default() };
    let fixed = Pipeline::open(folder.path(), &PipelineOptions { session, ..Default::default() }).unwrap();
    for mode in [Mode::Separate, Mode::Shared] {
        let variations = [1.0, -0.5].map(variation).to_vec();
        let (graphs, attention_maps) = (GraphChoice::Two, true);
        let request = short(Request { variations, mode, graphs, attention_maps, start: 0.25, end: 0.75, ..infused() });
        let expected = open(&folder).generate(&request, &mut Silent).unwrap();
        let found = fixed.generate(&request, &mut Silent).unwrap();
        for (found, expected) in found.latents.iter().zip(&expected.latents) {
            let difference = tiny::difference(found, expected);
            assert!(difference <= TOLERANCE, "{mode:?}: {difference}");
        }
        assert!(!found.heat_maps.is_empty() && found.heat_maps.len() == expected.heat_maps.len());
        for (found, expected) in found.heat_maps.iter().zip(&expected.heat_maps) {
            let off = (&found.map - &expected.map).mapv(f32::abs).into_iter().fold(0.0, f32::max);
            assert!(off <= TOLERANCE, "{mode:?}: {off}");
        }
    }
}

#[test]
fn pictures_drawn_at_once_by_sessions_that_keep_their_addresses_are_those_drawn_alone() {
    let folder = tiny::pipeline();
    let session = SessionOptions { provider: "cpu:static_shapes=yes".parse().unwrap(), ..Default::default() };
    let fixed = Pipeline::open(folder.path(), &PipelineOptions { session, ..Default::default() }).unwrap();
    let request = |seed: u64| Request { seed, graphs: GraphChoice::Two, num_inference_steps: 20, ..infused() };
    let alone = [7, 8].map(|seed| fixed.generate(&request(seed), &mut Silent).unwrap().latents.swap_remove(0));
    for _ in 0..5 {
        let together = std::thread::scope(|scope| {
            let draw = |seed| {
                scope.spawn({
                    let (fixed, request) = (&fixed, request(seed));
                    move || fixed.generate(&request, &mut Silent).unwrap().latents.swap_remove(0)
                })
            };
            [7, 8].map(draw).map(|thread| thread.join().unwrap())
        });
        for (together, alone) in together.iter().zip(&alone) {
            let difference = tiny::difference(together, alone);
            assert!(difference <= TOLERANCE, "{difference}");
        }
    }
}

#[test]
fn layers_switched_off_leave_the_foundation() {
    let folder = tiny::pipeline();
    let pipeline = open(&folder);
    let layers = pipeline.graphs().layers.len();
    let layer_scales = (0..layers).map(|layer| LayerScale { layer, scale: 0.0 }).collect();
    let off = pipeline.generate(&short(Request { layer_scales, ..infused() }), &mut Silent).unwrap();
    let none = pipeline.generate(&short(plain()), &mut Silent).unwrap();
    assert!(tiny::difference(&off.latents[0], &none.latents[0]) <= TOLERANCE);
    let request = Request { layer_scales: vec![LayerScale { layer: layers, scale: 1.0 }], ..infused() };
    let error = pipeline.generate(&request, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("layer scale"), "{error}");
}

#[test]
fn long_prompts_take_further_chunks() {
    let folder = tiny::pipeline();
    let pipeline = open(&folder);
    let prompt = format!("{} {}", "a photo of a ball in the snow,".repeat(12), tiny::PROMPT);
    for mode in [Mode::Separate, Mode::Shared] {
        let request = short(Request { prompt: prompt.clone(), mode, attention_maps: true, ..infused() });
        let made = pipeline.generate(&request, &mut Silent).unwrap();
        let heat = &made.heat_maps[0];
        assert_eq!((heat.concept.as_str(), heat.map.dim()), ("ball", (8, 8)));
        let (least, most) = heat.map.iter().fold((1.0_f32, 0.0_f32), |(a, b), &value| (a.min(value), b.max(value)));
        assert!(0.0 < least && least < most && most < 1.0, "{least} {most}");
    }
}

#[test]
fn every_scheduler_runs_both_streams() {
    let folder = tiny::pipeline();
    let pipeline = open(&folder);
    for entry in infusion::schedulers::SCHEDULERS {
        let request =
            short(Request { scheduler: entry.name.to_owned(), variations: vec![variation(0.0)], ..infused() });
        let made = pipeline.generate(&request, &mut Silent).unwrap();
        let foundation = made.foundation_latents.as_ref().unwrap();
        let difference = tiny::difference(&made.latents[0], foundation);
        assert!(difference <= TOLERANCE, "{}: with no Δ the streams differ by {difference}", entry.name);
    }
}

#[test]
fn low_memory_gives_the_same_picture() {
    let folder = tiny::pipeline();
    let usual = open(&folder).generate(&short(infused()), &mut Silent).unwrap();
    let options = PipelineOptions { low_memory: true, ..Default::default() };
    let frugal = Pipeline::open(folder.path(), &options).unwrap().generate(&short(infused()), &mut Silent).unwrap();
    assert!(tiny::difference(&frugal.latents[0], &usual.latents[0]) <= TOLERANCE);
}

struct StopAfter(usize);

impl Observer for StopAfter {
    fn step(&mut self, report: &StepReport<'_>) -> Control {
        if report.step >= self.0 { Control::Cancel } else { Control::Continue }
    }
}

#[test]
fn an_observer_stops_between_steps() {
    let folder = tiny::pipeline();
    let made = open(&folder).generate(&infused(), &mut StopAfter(3)).unwrap();
    assert!(made.cancelled && made.pictures.is_empty());
    assert_eq!(made.steps, 3);
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tiny::pipeline();
    let pipeline = open(&folder);
    let message = |request: Request| pipeline.generate(&request, &mut Silent).unwrap_err().to_string();
    let with = |change: fn(&mut Request)| {
        let mut request = infused();
        change(&mut request);
        message(request)
    };
    assert!(with(|r| r.prompt = "a <cube>".to_owned()).contains("<cube>"));
    assert!(with(|r| r.prompt = "a ball".to_owned()).contains("<ball>"));
    assert!(with(|r| r.width = 60).contains("multiple of 8"));
    assert!(with(|r| r.num_inference_steps = 0).contains("at least one"));
    assert!(with(|r| r.scheduler = "magic".to_owned()).contains("magic"));
    assert!(with(|r| (r.start, r.end) = (0.9, 0.1)).contains("start 0.9"));
    assert!(with(|r| r.graphs = GraphChoice::Shared).contains("mode Separate"));
    assert!(with(|r| r.noise = Some(ndarray::Array4::zeros((1, 4, 4, 4)))).contains("noise"));
    assert!(with(|r| r.noise = Some(ndarray::Array4::from_elem((1, 4, 8, 8), f32::NAN))).contains("no number"));
    assert!(with(|r| r.variations[0].concepts[0].strength = f32::NAN).contains("strength"));
    assert!(with(|r| r.variations[0].concepts[0].strength = 3e38).contains("step 1 of 50"));
}

#[test]
fn graphs_are_made_once_and_again_when_the_source_changes() {
    let folder = tiny::pipeline();
    let source = folder.path().join("unet/model.onnx");
    let made = || folder.path().join("unet/model.f.onnx").metadata().unwrap().modified().unwrap();
    let first = open(&folder).graphs().clone();
    assert!(first.base_model_hash.as_ref().unwrap().starts_with("sha256:"));
    let then = made();
    assert_eq!(open(&folder).graphs().layers, first.layers);
    assert_eq!(made(), then, "the second opening writes nothing");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::File::options().append(true).open(&source).unwrap().set_modified(later).unwrap();
    assert_eq!(open(&folder).graphs().base_model_hash, first.base_model_hash);
    assert_ne!(made(), then, "a newer source is patched again");
}

#[test]
fn files_of_others_are_left_alone_and_graphs_go_elsewhere() {
    let folder = tiny::pipeline();
    let theirs = folder.path().join("unet/model.f.onnx");
    std::fs::write(&theirs, b"mine").unwrap();
    assert!(Pipeline::open(folder.path(), &PipelineOptions::default()).is_err());
    let elsewhere = tempfile::tempdir().unwrap();
    let options = PipelineOptions { graph_folder: Some(elsewhere.path().to_owned()), ..Default::default() };
    for _ in 0..2 {
        let pipeline = Pipeline::open(folder.path(), &options).unwrap();
        let made = pipeline.generate(&short(infused()), &mut Silent).unwrap();
        assert_eq!(made.latents.len(), 1);
    }
    assert_eq!(std::fs::read(&theirs).unwrap(), b"mine");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}

#[test]
fn concepts_of_another_model_are_refused() {
    let folder = tiny::pipeline();
    let pipeline = open(&folder);
    let refused = pipeline.generate(&Request { force: false, ..short(infused()) }, &mut Silent).unwrap_err();
    assert!(refused.to_string().contains("striped.safetensors"), "{refused}");
    let mut concept = Concept::load(tiny::source().join("striped.safetensors")).unwrap();
    concept.base_model_hash = pipeline.graphs().base_model_hash.clone();
    let used = ConceptUse { name: "ball".to_owned(), concept: Arc::new(concept), strength: 1.0 };
    let variations = vec![Variation { concepts: vec![used] }];
    assert!(pipeline.generate(&Request { force: false, variations, ..short(infused()) }, &mut Silent).is_ok());
}
