use ndarray::Array3;

use crate::prompt::{Prompt, Tokens, Words};
use crate::runtime::{self, ProviderSpec};
use crate::schedulers::Latents;

use super::graphs::Graph;
use super::heat::HeatCollector;
use super::injection::Injection;
use super::plan::Plan;
use super::rows::{Conditions, Timesteps};
use super::sizes::{SizeRange, Sizes, padded_slots};
use super::start::{Generators, first_latents};
use super::streams::{Dual, OneGraph, Plain, Separate, Shared, StepContext, TwoGraphs};
use super::trajectory::{Trajectories, Trajectory};
use super::{
    Control, Error, Generated, GraphChoice, Mode, Observer, Picture, Pipeline, Request, Result, Stage, StepReport,
    Variation,
};

/// What the text encoder makes of a request.
struct Conditioning {
    tokens: Tokens,
    /// `[rows, L, C]`
    context: Array3<f32>,
}

/// The models of a run.
struct Models {
    plain: Option<Plain>,
    streams: Streams,
}

enum Streams {
    None,
    Separate(Box<dyn Separate>),
    Shared(Box<dyn Shared>),
}

impl Pipeline {
    /// Generates the pictures of `request`.
    ///
    /// # Errors
    /// The prompt, a concept or a setting is wrong, or a model fails or runs over.
    pub fn generate(&self, request: &Request, observer: &mut dyn Observer) -> Result<Generated> {
        let mut generated = self.sample(request, observer)?;
        if !generated.cancelled {
            observer.stage(Stage::Decode);
            generated.cancelled = observer.has_cancelled();
        }
        if !generated.cancelled {
            self.decode_all(request, &mut generated)?;
        }
        Ok(generated)
    }

    /// The latents of `request`, without their pictures.
    ///
    /// # Errors
    /// As [`Pipeline::generate`].
    pub fn sample(&self, request: &Request, observer: &mut dyn Observer) -> Result<Generated> {
        let mut plan = Plan::new(request, &self.scheduler)?;
        let provider = self.provider()?;
        plan.choose_graph(request, &self.unet, self.low_memory)?;
        self.check_concepts(request)?;
        observer.stage(Stage::Text);
        if observer.has_cancelled() {
            return Ok(Generated::nothing());
        }
        let conditioning = self.encode_prompts(request, &plan)?;
        let injections = self.injections(request, &plan, &conditioning.tokens, &provider)?;
        let mut generators = Generators::new(request.seed, request.batch);
        let trunk = self.first_trajectory(request, &plan, &mut generators, observer)?;
        observer.stage(Stage::Load);
        if observer.has_cancelled() {
            return Ok(Generated::nothing());
        }
        let sizes = sizes_of(&plan, &conditioning, &injections);
        let models = self.models(request, &plan, &sizes, &SizeRange::of(sizes, &provider)?)?;
        observer.stage(Stage::Steps(plan.steps - plan.first_step));
        if observer.has_cancelled() {
            return Ok(Generated::nothing());
        }
        let run = Run { request, plan: &plan, conditioning: &conditioning, injections: &injections, models };
        let done = run.finished(trunk, &mut generators, observer).map_err(|error| with_size(error, request))?;
        self.drop_unless_kept(|pipeline| pipeline.unet.release());
        Ok(latents_of(&plan, done))
    }

    /// Decodes latents `[batch, 4, h, w]`, as for previews.
    ///
    /// # Errors
    /// The VAE fails or runs over.
    pub fn decode(&self, latents: &Latents) -> Result<Vec<image::RgbImage>> {
        self.vae.decode(latents)
    }

    fn check_concepts(&self, request: &Request) -> Result<()> {
        request.variations.iter().try_for_each(|variation| self.check_base(variation, request.force))
    }

    /// Fails where a concept was learned on another model, unless forced.
    pub(super) fn check_base(&self, variation: &Variation, force: bool) -> Result<()> {
        let hash = self.unet.graphs().known_hash();
        variation.concepts.iter().try_for_each(|used| Ok(used.concept.check_base(hash, force)?))
    }

    fn encode_prompts(&self, request: &Request, plan: &Plan) -> Result<Conditioning> {
        let concepts = request.variations.iter().flat_map(|variation| &variation.concepts);
        let words = concepts.fold(Words::new(), |words, used| words.with(&used.name, &used.concept.class));
        let prompt = Prompt::parse(&request.prompt, &words)?;
        for used in request.variations.iter().flat_map(|variation| &variation.concepts) {
            prompt.require(&used.name)?;
        }
        let negative = Prompt::parse(&request.negative_prompt, &Words::new())?;
        let mut tokens = self.tokenizer.tokenize(&prompt)?;
        let mut negative = self.tokenizer.tokenize(&negative)?;
        tokens.pad_to(negative.chunks());
        negative.pad_to(tokens.chunks());
        let prompted = self.text_encoder.encode(&tokens)?;
        let unconditional = if plan.guidance.is_on() { self.text_encoder.encode(&negative)? } else { prompted.clone() };
        self.drop_unless_kept(|pipeline| pipeline.text_encoder.release());
        Ok(Conditioning { tokens, context: plan.guidance.contexts(unconditional.view(), prompted.view())? })
    }

    /// One for each variation; all of one shape where the provider prepares for shapes.
    fn injections(
        &self,
        request: &Request,
        plan: &Plan,
        tokens: &Tokens,
        provider: &ProviderSpec,
    ) -> Result<Vec<Injection>> {
        let scales = &request.layer_scales;
        let make = |variation| Injection::new(variation, tokens, self.unet.graphs(), scales, plan.guidance);
        let made: Vec<Injection> = request.variations.iter().map(make).collect::<Result<_>>()?;
        if !provider.settles_shapes() {
            return Ok(made);
        }
        let slots = padded_slots(made.iter().map(|injection| injection.delta.nrows()).max().unwrap_or(0));
        Ok(made.iter().map(|injection| injection.padded(slots)).collect())
    }

    fn first_trajectory(
        &self,
        request: &Request,
        plan: &Plan,
        generators: &mut Generators,
        observer: &mut dyn Observer,
    ) -> Result<Trajectory> {
        if request.init_image.is_some() {
            observer.stage(Stage::Encode);
        }
        let latents = first_latents(request, plan, plan.scheduler.as_ref(), &self.vae, generators)?;
        self.drop_unless_kept(|pipeline| pipeline.vae.release());
        Ok(Trajectory { scheduler: plan.scheduler.clone(), latents })
    }

    fn models(&self, request: &Request, plan: &Plan, sizes: &Sizes, range: &SizeRange) -> Result<Models> {
        let open = |graph: Graph| {
            let model = self.unet.model_for(graph, range)?;
            model.check_sizes(plan.latents, sizes.tokens)?;
            Ok::<_, Error>(model)
        };
        let two = || Ok::<_, Error>(TwoGraphs::new(open(Graph::F)?, open(Graph::C)?, self.unet.graphs().layers.len()));
        let streams = match (plan.graph, request.mode) {
            (None, _) => Streams::None,
            (Some(GraphChoice::Dual), _) => Streams::Separate(Box::new(Dual::new(open(Graph::Dual)?))),
            (Some(GraphChoice::Shared), _) => Streams::Shared(Box::new(OneGraph::new(open(Graph::Shared)?))),
            (Some(_), Mode::Separate) => Streams::Separate(Box::new(two()?)),
            (Some(_), Mode::Shared) => Streams::Shared(Box::new(two()?)),
        };
        let alone_at_first = plan.injected.start > plan.first_step;
        let alone_at_last = request.mode == Mode::Shared && (plan.injected.end < plan.steps || request.foundation);
        let plain = matches!(streams, Streams::None) || alone_at_first || alone_at_last;
        let plain = match plain {
            true => {
                let model = self.unet.plain_model_for(range)?;
                model.check_sizes(plan.latents, sizes.tokens)?;
                Some(Plain::new(model))
            }
            false => None,
        };
        Ok(Models { plain, streams })
    }

    fn decode_all(&self, request: &Request, generated: &mut Generated) -> Result<()> {
        for (variation, latents) in generated.latents.iter().enumerate() {
            for (image, picture) in self.vae.decode(latents)?.into_iter().zip(0..) {
                generated.pictures.push(Picture { image, variation, seed: request.seed.wrapping_add(picture) });
            }
        }
        if let Some(latents) = generated.foundation_latents.as_ref().filter(|_| request.foundation) {
            generated.foundation = self.vae.decode(latents)?;
        }
        self.drop_unless_kept(|pipeline| pipeline.vae.release());
        Ok(())
    }

    fn drop_unless_kept(&self, drop: impl Fn(&Self)) {
        if self.low_memory {
            drop(self);
        }
    }
}

fn sizes_of(plan: &Plan, conditioning: &Conditioning, injections: &[Injection]) -> Sizes {
    let [_, height, width] = plan.latents;
    Sizes {
        rows: plan.guidance.rows(),
        latents: [height, width],
        tokens: conditioning.context.shape()[1],
        slots: injections.first().map_or(1, |injection| injection.delta.nrows()),
        prompt_rows: plan.guidance.prompt_rows().len(),
    }
}

/// Most exports fix how latents that cannot be halved evenly are put together again, and fail inside the UNet.
fn with_size(error: Error, request: &Request) -> Error {
    let (width, height) = (request.width, request.height);
    match error {
        Error::Runtime(runtime::Error::Run { model, reason }) if width % 64 != 0 || height % 64 != 0 => {
            let reason = format!("{} does not take it ({reason}); multiples of 64 always work", model.display());
            Error::setting(format!("size {width}x{height}"), reason)
        }
        other => other,
    }
}

fn latents_of(plan: &Plan, done: Done) -> Generated {
    Generated {
        pictures: Vec::new(),
        foundation: Vec::new(),
        latents: done.paths.customised().iter().map(|path| path.latents.clone()).collect(),
        foundation_latents: done.paths.foundation().map(|path| path.latents.clone()),
        heat_maps: done.heat.map(HeatCollector::finish).unwrap_or_default(),
        steps: done.steps,
        cancelled: done.cancelled,
        graphs: graph_names(plan.graph),
    }
}

fn graph_names(choice: Option<GraphChoice>) -> &'static str {
    match choice {
        None => "source",
        Some(GraphChoice::Dual) => "dual",
        Some(GraphChoice::Shared) => "shared",
        Some(GraphChoice::Two | GraphChoice::Auto) => "f+c",
    }
}

/// A run of the steps.
struct Run<'a> {
    request: &'a Request,
    plan: &'a Plan,
    conditioning: &'a Conditioning,
    injections: &'a [Injection],
    models: Models,
}

/// Where a run got to.
struct Done {
    paths: Trajectories,
    heat: Option<HeatCollector>,
    steps: usize,
    cancelled: bool,
}

/// Guided noise of F, where it goes on, and of each variation's C.
struct Predictions {
    foundation: Option<Latents>,
    customised: Vec<Latents>,
}

impl Run<'_> {
    fn finished(mut self, trunk: Trajectory, generators: &mut Generators, observer: &mut dyn Observer) -> Result<Done> {
        let mut paths = Trajectories::Trunk(trunk);
        let mut heat = self.heat_collector();
        let mut cancelled = false;
        let mut steps = 0;
        for step in self.plan.first_step..self.plan.steps {
            if step == self.plan.injected.start && self.plan.graph.is_some() {
                paths = paths.fork(self.injections.len(), self.foundation_goes_on());
            }
            let predictions = self.predict(&paths, step, heat.as_mut())?;
            let noise = self.plan.scheduler.noise_needed(step).then(|| generators.draw(self.plan.latents));
            advance(&mut paths, &predictions, step, noise.as_ref())?;
            steps += 1;
            if observer.step(&self.report(&paths, step)) == Control::Cancel && step + 1 < self.plan.steps {
                cancelled = true;
                break;
            }
        }
        Ok(Done { paths, heat, steps, cancelled })
    }

    fn heat_collector(&self) -> Option<HeatCollector> {
        let [_, height, width] = self.plan.latents;
        let rows = self.plan.guidance.prompt_rows();
        self.request.attention_maps.then(|| HeatCollector::new(&self.conditioning.tokens, rows, (height, width)))
    }

    fn foundation_goes_on(&self) -> bool {
        self.request.mode == Mode::Separate || self.request.foundation
    }

    fn predict(&mut self, paths: &Trajectories, step: usize, heat: Option<&mut HeatCollector>) -> Result<Predictions> {
        let plan = self.plan;
        let guidance = plan.guidance;
        let timestep = self.plan.scheduler.timestep(step)?;
        let context = StepContext {
            given: Conditions {
                context: &self.conditioning.context,
                timesteps: Timesteps::All(timestep),
                guidance_scale: self.request.guidance_scale,
                further: &[],
            },
            injections: self.injections,
            open: self.plan.injected.contains(&step),
        };
        let input = |path: &Trajectory| Ok::<_, Error>(guidance.spread(&path.model_input(step)?));
        let combine = |rows: Latents, what: &'static str| {
            ensure_finite(&rows, what, step, plan)?;
            Ok::<_, Error>(guidance.combine(&rows))
        };
        let alone = |path: &Trajectory, plain: &Option<Plain>| match plain {
            Some(plain) => combine(plain.predict(&input(path)?, &context)?, "the predicted noise"),
            None => Err(Error::setting("graphs", "no graph for one stream alone is loaded")),
        };
        let (foundation, customised) = match paths {
            Trajectories::Trunk(trunk) => {
                return Ok(Predictions { foundation: Some(alone(trunk, &self.models.plain)?), customised: Vec::new() });
            }
            Trajectories::Forked { foundation, customised } => (foundation, customised),
        };
        let inputs: Vec<Latents> = customised.iter().map(input).collect::<Result<_>>()?;
        match &mut self.models.streams {
            Streams::Separate(streams) => {
                let trunk = foundation.as_ref().ok_or_else(|| Error::setting("mode separate", "needs a foundation"))?;
                let (noise, all) = streams.predict(&input(trunk)?, &inputs, &context, heat)?;
                let customised = all.into_iter().map(|rows| combine(rows, "the customised stream's noise"));
                Ok(Predictions {
                    customised: customised.collect::<Result<_>>()?,
                    foundation: Some(combine(noise, "the foundation stream's noise")?),
                })
            }
            Streams::Shared(streams) => {
                let mut heat = heat;
                let prompt_rows: Vec<usize> = guidance.prompt_rows().collect();
                let mut predicted = Vec::with_capacity(inputs.len());
                for (variation, rows) in inputs.iter().enumerate() {
                    let noise = match (context.open, &self.models.plain) {
                        (false, Some(plain)) => plain.predict(rows, &context)?,
                        _ => streams.predict(variation, rows, &prompt_rows, &context, heat.as_deref_mut())?,
                    };
                    predicted.push(combine(noise, "the customised stream's noise")?);
                }
                let foundation = foundation.as_ref().map(|path| alone(path, &self.models.plain)).transpose()?;
                Ok(Predictions { foundation, customised: predicted })
            }
            Streams::None => Err(Error::setting("graphs", "no graphs for two streams are loaded")),
        }
    }

    fn report<'p>(&self, paths: &'p Trajectories, step: usize) -> StepReport<'p> {
        StepReport {
            step: step + 1 - self.plan.first_step,
            steps: self.plan.steps - self.plan.first_step,
            timestep: self.plan.scheduler.timestep(step).map_or(0.0, |timestep| timestep.value()),
            foundation: paths.foundation().map(|path| &path.latents),
            customised: paths.customised().iter().map(|path| &path.latents).collect(),
        }
    }
}

fn ensure_finite(rows: &Latents, what: &'static str, step: usize, plan: &Plan) -> Result<()> {
    let bad = rows.iter().filter(|value| !value.is_finite()).count();
    if bad == 0 {
        return Ok(());
    }
    let advice = "half-precision models overflow: try the fp32 export, or a smaller strength or guidance scale";
    let timestep = plan.scheduler.timestep(step)?.value();
    Err(Error::NotFinite { step: step + 1, steps: plan.steps, timestep, what, bad, count: rows.len(), advice })
}

fn advance(paths: &mut Trajectories, predictions: &Predictions, step: usize, noise: Option<&Latents>) -> Result<()> {
    match paths {
        Trajectories::Trunk(trunk) => {
            predictions.foundation.iter().try_for_each(|predicted| trunk.advance(predicted, step, noise))
        }
        Trajectories::Forked { foundation, customised } => {
            for (path, predicted) in foundation.iter_mut().zip(&predictions.foundation) {
                path.advance(predicted, step, noise)?;
            }
            for (path, predicted) in customised.iter_mut().zip(&predictions.customised) {
                path.advance(predicted, step, noise)?;
            }
            Ok(())
        }
    }
}
