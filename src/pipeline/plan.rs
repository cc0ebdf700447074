use crate::schedulers::{self, Scheduler, SchedulerConfig};

use super::graphs::Graph;
use super::guidance::Guidance;
use super::unet::Unet;
use super::{Error, GraphChoice, Mode, Request, Result};

/// Channels of Stable Diffusion's latents.
const CHANNELS: usize = 4;

/// A request with everything settled that does not need a model.
#[derive(Debug)]
pub(super) struct Plan {
    pub scheduler: Box<dyn Scheduler>,
    pub guidance: Guidance,
    /// Channels, height and width.
    pub latents: [usize; 3],
    /// Evaluations of the whole schedule; those from `first_step` on are run.
    pub steps: usize,
    pub first_step: usize,
    /// Steps at which Δ is added.
    pub injected: std::ops::Range<usize>,
    /// Which graph computes the streams; `None` without concepts.
    pub graph: Option<GraphChoice>,
    batch: usize,
}

impl Plan {
    pub fn new(request: &Request, config: &SchedulerConfig) -> Result<Self> {
        check(request)?;
        let mut scheduler = schedulers::build(&request.scheduler, config)?;
        scheduler.set_timesteps(request.num_inference_steps)?;
        let steps = scheduler.timesteps().len();
        let first_step = match &request.init_image {
            Some(init) => scheduler.first_step(init.strength)?,
            None => 0,
        };
        let step_of = |fraction: f64| (fraction * steps as f64).round() as usize;
        Ok(Self {
            guidance: Guidance::new(request.guidance_scale, request.batch),
            latents: [CHANNELS, request.height / 8, request.width / 8],
            injected: step_of(request.start).max(first_step)..step_of(request.end),
            graph: None,
            scheduler,
            steps,
            first_step,
            batch: request.batch,
        })
    }

    pub fn guidance_batch(&self) -> usize {
        self.batch
    }

    /// The graphs that are fastest for this request on this UNet, or those asked for.
    ///
    /// # Errors
    /// What was asked for does not serve the request.
    pub fn choose_graph(&mut self, request: &Request, unet: &Unet, low_memory: bool) -> Result<()> {
        if request.variations.is_empty() || self.injected.is_empty() {
            return Ok(());
        }
        let refuse = |reason: String| Err(Error::setting(format!("graphs {:?}", request.graphs), reason));
        let single = match request.mode {
            Mode::Separate => (GraphChoice::Dual, Graph::Dual),
            Mode::Shared => (GraphChoice::Shared, Graph::Shared),
        };
        let several = request.mode == Mode::Separate && request.variations.len() > 1;
        let why_not = if !unet.has(single.1) {
            Some(format!("this UNet has no graph `{}`", single.1.name()))
        } else if request.attention_maps {
            Some("attention maps come from the graph `f`: use f+c".to_owned())
        } else if several {
            Some("several variations on one F need f+c".to_owned())
        } else {
            None
        };
        self.graph = Some(match request.graphs {
            GraphChoice::Two => GraphChoice::Two,
            GraphChoice::Auto if why_not.is_some() => GraphChoice::Two,
            // Two runs of half the rows take less memory, where weights are not packed and both map one file.
            GraphChoice::Auto if request.mode == Mode::Separate && low_memory => GraphChoice::Two,
            GraphChoice::Auto => single.0,
            asked if asked != single.0 => return refuse(format!("they do not serve mode {:?}", request.mode)),
            asked => match why_not {
                Some(reason) => return refuse(reason),
                None => asked,
            },
        });
        Ok(())
    }
}

fn check(request: &Request) -> Result<()> {
    for (name, pixels) in [("width", request.width), ("height", request.height)] {
        if pixels == 0 || !pixels.is_multiple_of(8) || pixels > 8192 {
            return Err(Error::setting(format!("{name} {pixels}"), "must be a multiple of 8 from 8 to 8192"));
        }
    }
    if request.batch == 0 {
        return Err(Error::setting("batch 0", "at least one picture must be asked for"));
    }
    if request.num_inference_steps == 0 {
        return Err(Error::setting("steps 0", "at least one step is needed"));
    }
    if !request.guidance_scale.is_finite() {
        return Err(Error::setting(format!("guidance scale {}", request.guidance_scale), "must be a number"));
    }
    if !(0.0..=1.0).contains(&request.start) || !(0.0..=1.0).contains(&request.end) || request.start > request.end {
        let setting = format!("start {} and end {}", request.start, request.end);
        return Err(Error::setting(setting, "must be fractions of the steps, 0 <= start <= end <= 1"));
    }
    if request.variations.iter().any(|variation| variation.concepts.is_empty()) {
        let reason = "one has no concept; leave it out: without any variation, F's picture is drawn";
        return Err(Error::setting("variations", reason));
    }
    for used in request.variations.iter().flat_map(|variation| &variation.concepts) {
        if !used.strength.is_finite() {
            return Err(Error::setting(format!("strength {} of <{}>", used.strength, used.name), "must be a number"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::concept::Concept;
    use crate::pipeline::{ConceptUse, Variation};
    use crate::runtime::SessionOptions;

    fn variation() -> Variation {
        let concept = Arc::new(Concept::new("thing", "ball"));
        Variation { concepts: vec![ConceptUse { name: "thing".to_owned(), concept, strength: 1.0 }] }
    }

    #[test]
    fn the_graph_that_serves_is_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("model.onnx");
        std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tiny/unet/model.onnx"), &source).unwrap();
        let unet = Unet::new(&source, None, &SessionOptions::default()).unwrap();
        let choose = |request: &Request, low_memory: bool| {
            let mut plan = Plan::new(request, &SchedulerConfig::stable_diffusion())?;
            plan.choose_graph(request, &unet, low_memory)?;
            Ok::<_, Error>(plan.graph)
        };
        let chosen = |request: &Request| choose(request, false).unwrap();
        let one = Request { variations: vec![variation()], ..Default::default() };
        assert_eq!(chosen(&one), Some(GraphChoice::Dual));
        assert_eq!(choose(&one, true).unwrap(), Some(GraphChoice::Two));
        assert_eq!(chosen(&Request { mode: Mode::Shared, ..one.clone() }), Some(GraphChoice::Shared));
        let several = Request { variations: vec![variation(), variation()], ..one.clone() };
        let maps = Request { attention_maps: true, ..one.clone() };
        for (request, why) in [(several, "several variations"), (maps, "attention maps")] {
            assert_eq!(chosen(&request), Some(GraphChoice::Two));
            let error = choose(&Request { graphs: GraphChoice::Dual, ..request }, false).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
