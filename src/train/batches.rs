use std::ops::Range;

use ndarray::Array2;

use super::{Material, Result, Settings};
use crate::noise::TorchGenerator;
use crate::schedulers::Latents;

/// What one row of a batch learns from.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// z₀, `[1, 4, h, w]`.
    pub latents: Latents,
    /// ε, likewise.
    pub noise: Latents,
    /// t, below the schedule's `num_train_timesteps`.
    pub timestep: usize,
    /// The index of the prompt among [`Material::captions`].
    pub caption: usize,
    /// How much each latent cell counts; `None`: all of it.
    pub weight: Option<Array2<f32>>,
}

/// The rows of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// At least one.
    pub rows: Vec<Row>,
}

/// Odd, so that every step of every seed starts its generator elsewhere.
const STRIDE: u64 = 0x9E37_79B1;

impl Batch {
    /// Draws the batch of `step` (from 0) by the settings' seed, number of rows and timesteps. Each step has a
    /// generator of its own, so that a training that is resumed draws what it would have drawn.
    ///
    /// Pictures are drawn without repetition until all were there; prompts and timesteps are uniform; the
    /// latents are a sample of the picture's posterior.
    ///
    /// # Errors
    /// `material` has no example, or one without a caption.
    pub fn draw(material: &Material, settings: &Settings, step: usize) -> Result<Self> {
        let mut generator = TorchGenerator::new(settings.seed.wrapping_add((step as u64).wrapping_mul(STRIDE)));
        let mut order: Vec<usize> = Vec::with_capacity(settings.batch);
        while order.len() < settings.batch && !material.examples.is_empty() {
            order.extend(generator.randperm(material.examples.len())?);
        }
        order.truncate(settings.batch);
        let timesteps = settings.timesteps_of(material.schedule.num_train_timesteps());
        let rows = order.into_iter().map(|example| Row::draw(material, example, &timesteps, &mut generator));
        Ok(Self { rows: rows.collect::<Result<_>>()? })
    }
}

impl Row {
    fn draw(
        material: &Material,
        example: usize,
        timesteps: &Range<usize>,
        generator: &mut TorchGenerator,
    ) -> Result<Self> {
        let example = &material.examples[example];
        let view = &example.views[one_of(example.views.len(), generator)?];
        let caption = example.captions[one_of(example.captions.len(), generator)?];
        let timestep = timesteps.start + one_of(timesteps.len(), generator)?;
        let latents = view.posterior.sample(generator);
        let noise = generator.randn(latents.dim());
        Ok(Self { latents, noise, timestep, caption, weight: view.weight.clone() })
    }
}

fn one_of(count: usize, generator: &mut TorchGenerator) -> Result<usize> {
    Ok(generator.randint(0, count as i64, 1)?.first().map_or(0, |&index| index as usize))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, Array4};

    use super::super::material::View;
    use super::super::{Caption, Example, Subject};
    use super::*;
    use crate::pipeline::Posterior;
    use crate::schedulers::{NoiseSchedule, SchedulerConfig};

    /// Pictures whose latents are their own number everywhere, the second view's negative.
    fn material(pictures: usize) -> Material {
        let view = |level: f32| View {
            posterior: Posterior { mean: Array4::from_elem((1, 4, 2, 2), level), deviation: None },
            weight: None,
        };
        let caption = Caption {
            prompt: String::new(),
            concepts: Vec::new(),
            context: Array3::zeros((1, 77, 8)),
            mask: Array2::zeros((77, 1)),
        };
        let example = |index: usize| Example {
            views: vec![view(index as f32 + 1.0), view(-(index as f32) - 1.0)],
            captions: vec![0, 1],
        };
        Material {
            subjects: vec![(Subject { name: "ball".into(), class: "ball".into() }, 1)],
            captions: vec![caption.clone(), caption],
            examples: (0..pictures).map(example).collect(),
            layers: Vec::new(),
            base_model_hash: None,
            schedule: NoiseSchedule::new(&SchedulerConfig::stable_diffusion()).unwrap(),
        }
    }

    fn settings(batch: usize, seed: u64) -> Settings {
        Settings { batch, seed, ..Default::default() }
    }

    #[test]
    fn each_step_draws_the_same_again_and_others_differ() {
        let material = material(5);
        let draw = |seed, step| Batch::draw(&material, &settings(4, seed), step).unwrap();
        assert_eq!(draw(3, 7), draw(3, 7));
        assert_ne!(draw(3, 7), draw(3, 8));
        assert_ne!(draw(3, 7), draw(4, 7));
    }

    #[test]
    fn no_picture_comes_twice_before_all_came() {
        let material = material(3);
        for step in 0..20 {
            let batch = Batch::draw(&material, &settings(5, 0), step).unwrap();
            let mut shown: Vec<i64> = batch.rows.iter().map(|row| row.latents[[0, 0, 0, 0]].abs() as i64).collect();
            assert_eq!(shown.len(), 5);
            shown.truncate(3);
            shown.sort_unstable();
            assert_eq!(shown, [1, 2, 3]);
        }
    }

    #[test]
    fn every_view_caption_and_height_of_noise_occurs() {
        let material = material(2);
        let rows: Vec<Row> =
            (0..100).flat_map(|step| Batch::draw(&material, &settings(2, 0), step).unwrap().rows).collect();
        let share = |holds: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| holds(row)).count() as f64 / 200.0;
        assert!((0.35..0.65).contains(&share(&|row| row.latents[[0, 0, 0, 0]] < 0.0)));
        assert!((0.35..0.65).contains(&share(&|row| row.caption == 1)));
        assert!((0.15..0.35).contains(&share(&|row| row.timestep < 250)));
        assert!((0.15..0.35).contains(&share(&|row| row.timestep >= 750)));
        let late = Settings { timesteps: Some(600..900), ..settings(50, 0) };
        let rows = Batch::draw(&material, &late, 0).unwrap().rows;
        assert!(rows.iter().all(|row| (600..900).contains(&row.timestep)));
    }
}
