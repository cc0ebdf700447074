//! Steps of the trainer are those of torch with the same pictures, noise and timesteps.

#[path = "support/tiny.rs"]
mod tiny;

use infusion::noise::TorchGenerator;
use infusion::pipeline::{Pipeline, PipelineOptions, Posterior};
use infusion::schedulers::Latents;
use infusion::train::{Batch, Dataset, Material, Photo, Row, Settings, Subject, Trainer};
use ndarray::{Array2, Array4, ArrayView2, Axis};
use safetensors::SafeTensors;

/// What `tools/goldens/training_tiny.py` used.
const STEPS: usize = 20;
const BATCH: usize = 2;
const PICTURES: usize = 3;
const SEED: u64 = 41;

/// The project's bound, relative to the largest element: float32 through two different runtimes.
const TOLERANCE: f32 = 1e-3;

fn golden(name: &str) -> (Vec<usize>, Vec<f64>) {
    let bytes = std::fs::read(tiny::source().join("training.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    let values = match tensor.dtype() {
        safetensors::Dtype::F32 => {
            tensor.data().as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
        }
        _ => tensor.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
    };
    (tensor.shape().to_vec(), values)
}

fn material(pipeline: &Pipeline) -> Material {
    let picture = image::RgbImage::from_pixel(64, 64, image::Rgb([120, 60, 30]));
    let photo = Photo { path: "photo.png".into(), picture, weight: None, subject: None };
    let dataset = Dataset { photos: vec![photo], skipped: Vec::new() };
    let subjects = [Subject { name: "ball".into(), class: "ball".into() }];
    Material::prepare(pipeline, &subjects, &dataset, &[tiny::PROMPT.to_owned()], true).unwrap()
}

fn row(array: &Array4<f32>, index: usize) -> Latents {
    array.index_axis(Axis(0), index).insert_axis(Axis(0)).to_owned()
}

/// The batches that the script drew, in its order.
fn batches() -> Vec<Batch> {
    let mut generator = TorchGenerator::new(SEED);
    let latents: Array4<f32> = generator.randn((PICTURES, 4, 8, 8));
    let weight: Array4<f32> = generator.rand((BATCH, 1, 8, 8));
    let one = |step: usize| {
        let picked = generator.randint(0, PICTURES as i64, BATCH).unwrap();
        let timesteps = generator.randint(0, 1000, BATCH).unwrap();
        let noise: Array4<f32> = generator.randn((BATCH, 4, 8, 8));
        let rows = (0..BATCH).map(|index| Row {
            latents: row(&latents, picked[index] as usize),
            noise: row(&noise, index),
            timestep: timesteps[index] as usize,
            caption: 0,
            weight: (step % 2 == 1).then(|| weight.index_axis(Axis(0), index).index_axis(Axis(0), 0).to_owned()),
        });
        Batch { rows: rows.collect() }
    };
    (0..STEPS).map(one).collect()
}

#[test]
fn twenty_steps_are_those_of_torch() {
    let folder = tiny::pipeline();
    let pipeline = Pipeline::open(folder.path(), &PipelineOptions::default()).unwrap();
    let material = material(&pipeline);
    assert_eq!(material.examples[0].views.len(), 2, "a mirror image");
    let settings = Settings { steps: STEPS, batch: BATCH, ..Settings::default() };
    let mut trainer = Trainer::new(&pipeline, material, settings).unwrap();
    let (_, losses) = golden("losses");
    let (shape, deltas) = golden("delta");
    assert_eq!(shape, [STEPS, trainer.delta().nrows(), trainer.delta().ncols()]);
    let size = trainer.delta().len();
    for (step, batch) in batches().iter().enumerate() {
        let done = trainer.learn(batch).unwrap();
        let apart = (done.loss - losses[step]).abs() / losses[step];
        assert!(apart < f64::from(TOLERANCE), "step {step}: the losses are {apart:.1e} apart");
        let expected: Vec<f32> = deltas[step * size..][..size].iter().map(|&value| value as f32).collect();
        let expected = ArrayView2::from_shape(trainer.delta().dim(), &expected).unwrap();
        let apart = difference(trainer.delta(), expected);
        assert!(apart < TOLERANCE, "step {step}: Δ is {apart:.1e} apart");
    }
}

fn difference(found: &Array2<f32>, expected: ArrayView2<'_, f32>) -> f32 {
    let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    found.iter().zip(expected).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

#[test]
fn a_posterior_is_sampled_around_its_mean() {
    let folder = tiny::pipeline();
    let pipeline = Pipeline::open(folder.path(), &PipelineOptions::default()).unwrap();
    let Posterior { mean, deviation } = material(&pipeline).examples[0].views[0].posterior.clone();
    let deviation = deviation.expect("this encoder gives its variance");
    let drawn =
        Posterior { mean: mean.clone(), deviation: Some(deviation.clone()) }.sample(&mut TorchGenerator::new(3));
    let noise: Array4<f32> = TorchGenerator::new(3).randn(mean.dim());
    assert!(tiny::difference(&drawn, &(&mean + &(&deviation * &noise))) < 1e-6);
}
