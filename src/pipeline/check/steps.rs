//! Whole pictures' latents on the provider and on the CPU.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::compare::{apart, tolerance_beside};
use super::{Check, Checked, Compared};
use crate::concept::Concept;
use crate::noise::TorchGenerator;
use crate::pipeline::graphs::Graph;
use crate::pipeline::{
    ConceptUse, Control, GraphChoice, Mode, Observer, Pipeline, PipelineOptions, Request, Result, Silent, StepReport,
    Variation,
};
use crate::runtime::{SessionOptions, Tensor};

/// The deviation of the made-up concept's numbers, whose effect grows with the steps.
const DELTA: f32 = 1.0;

impl Check<'_> {
    /// The latents of C at the end of all steps, in every way of computing the streams.
    pub(super) fn trajectories(&mut self, folder: &Path, size: usize) -> Result<()> {
        let open = |session: SessionOptions| {
            let graph_folder = self.options.graph_folder.clone();
            Pipeline::open(folder, &PipelineOptions { session, low_memory: false, graph_folder })
        };
        let reference = open(SessionOptions::default())?;
        let mut alone = None;
        let checked = open(SessionOptions { provider: self.provider.clone(), ..self.options.session.clone() })?;
        for (mode, graphs, name) in [
            (Mode::Separate, GraphChoice::Two, "f+c"),
            (Mode::Separate, GraphChoice::Dual, "dual"),
            (Mode::Shared, GraphChoice::Shared, "shared"),
        ] {
            if graphs != GraphChoice::Two && !reference.unet.has(graph_of(graphs)) {
                continue;
            }
            let request = trajectory(&reference, size, self.options.steps, mode, graphs);
            let mut made = reference.sample(&request, &mut Silent)?;
            let expected = Tensor::from(made.latents.swap_remove(0));
            alone = made.foundation_latents.map(Tensor::from).or(alone);
            let effect = alone.clone().map(|alone| apart(alone, &expected));
            let outcome = self.follow(&checked, &request, &expected, effect).map_err(|error| error.to_string());
            let name = format!("{} steps of {name}", self.options.steps);
            let checked = Checked { name, file: folder.to_owned(), outcome };
            (self.told)(&checked);
            self.done.push(checked);
        }
        Ok(())
    }

    fn follow(
        &self,
        pipeline: &Pipeline,
        request: &Request,
        expected: &Tensor,
        effect: Option<f32>,
    ) -> Result<Compared> {
        let started = Instant::now();
        let mut first_run_s = 0.0;
        let made = pipeline.sample(request, &mut FirstStep { started, seconds: &mut first_run_s })?;
        let run_s = (started.elapsed().as_secs_f64() - first_run_s) / (self.options.steps - 1).max(1) as f64;
        let latents = made.latents.into_iter().next().map(Tensor::from);
        let difference = latents.map_or(f32::INFINITY, |found| apart(found, expected));
        let tolerance = self.tolerance(pipeline.loaded().iter().flat_map(|(_, session)| session.inputs().to_vec()));
        let tolerance = tolerance_beside(effect, tolerance);
        Ok(Compared { difference, tolerance, load_s: 0.0, first_run_s, run_s, assignment: None, maps: None })
    }
}

fn graph_of(choice: GraphChoice) -> Graph {
    match choice {
        GraphChoice::Shared => Graph::Shared,
        _ => Graph::Dual,
    }
}

/// A prompt with a made-up concept, under guidance.
fn trajectory(pipeline: &Pipeline, size: usize, steps: usize, mode: Mode, graphs: GraphChoice) -> Request {
    let mut generator = TorchGenerator::new(1);
    let mut concept = Concept::new("thing", "ball");
    for layer in &pipeline.graphs().layers {
        concept.layers.insert(layer.module_path.clone(), generator.randn((1, layer.width)) * DELTA);
    }
    let used = ConceptUse { name: "thing".to_owned(), concept: Arc::new(concept), strength: 1.0 };
    Request {
        prompt: "a photo of a <thing> in the snow".to_owned(),
        variations: vec![Variation { concepts: vec![used] }],
        num_inference_steps: steps,
        guidance_scale: 4.0,
        width: 8 * size,
        height: 8 * size,
        force: true,
        mode,
        graphs,
        ..Default::default()
    }
}

/// Seconds until the first step is done, loads and engines included.
struct FirstStep<'a> {
    started: Instant,
    seconds: &'a mut f64,
}

impl Observer for FirstStep<'_> {
    fn step(&mut self, report: &StepReport<'_>) -> Control {
        if report.step == 1 {
            *self.seconds = self.started.elapsed().as_secs_f64();
        }
        Control::Continue
    }
}
