use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array1, Array2, Ix4};

use crate::runtime::{Dim, ElementType, ProviderSpec, Session, SessionOptions, Tensor, TensorSpec, providers};
use crate::schedulers::{Latents, Timestep};

use super::graphs::{Graph, UnetGraphs, fused_serves};
use super::part::{Part, Preparation};
use super::rows::{Rows, Timesteps};
use super::sizes::SizeRange;
use super::{Error, Result};

/// Inputs and outputs that the patch added begin so.
pub(super) const OURS: &str = "infusion.";

/// The UNet as exported, and its patched graphs.
#[derive(Debug)]
pub(super) struct Unet {
    graphs: UnetGraphs,
    parts: HashMap<Graph, Part>,
    further: Further,
    /// Where they run, `auto` resolved.
    provider: ProviderSpec,
}

/// Inputs that Stable Diffusion 1.x itself does not have, such as residuals of a ControlNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Further {
    /// A model that has one is refused, since nothing would be fed to it.
    Refused,
    /// Whoever runs the model feeds them.
    Fed,
}

impl Unet {
    pub fn new(source: &Path, graph_folder: Option<&Path>, options: &SessionOptions) -> Result<Self> {
        let graphs = UnetGraphs::find_or_make(source, graph_folder, fused_serves(options)?)?;
        Self::of(graphs, Further::Refused, options)
    }

    /// The same for those who have the graphs already and feed every input themselves.
    pub fn fed_by_host(graphs: UnetGraphs, options: &SessionOptions) -> Result<Self> {
        Self::of(graphs, Further::Fed, options)
    }

    fn of(graphs: UnetGraphs, further: Further, options: &SessionOptions) -> Result<Self> {
        let provider = providers::choose(&options.provider)?.spec;
        let parts = Graph::ALL.into_iter().filter_map(|graph| Some((graph, Part::new(graphs.path(graph)?, options))));
        Ok(Self { parts: parts.collect(), graphs, further, provider })
    }

    pub fn graphs(&self) -> &UnetGraphs {
        &self.graphs
    }

    /// Whether a graph's optional inputs need not be fed.
    pub fn keeps_defaults(&self) -> bool {
        self.provider.keeps_defaults()
    }

    pub fn has(&self, graph: Graph) -> bool {
        self.parts.contains_key(&graph)
    }

    /// The graph's session for inputs of any size, loaded if need be, with the meaning of its inputs.
    pub fn model(&self, graph: Graph) -> Result<UnetModel> {
        self.prepared(graph, None)
    }

    /// The same for the sizes of a run, where the provider prepares for these.
    pub fn model_for(&self, graph: Graph, sizes: &SizeRange) -> Result<UnetModel> {
        self.prepared(graph, Some(sizes))
    }

    fn prepared(&self, graph: Graph, sizes: Option<&SizeRange>) -> Result<UnetModel> {
        let part = self.parts.get(&graph).ok_or_else(|| {
            Error::model(
                self.graphs.path(Graph::Source).unwrap_or(Path::new("")),
                format!("has no graph `{}`", graph.name()),
            )
        })?;
        let sizes = sizes.filter(|_| self.provider.settles_shapes());
        let shapes = sizes.map(|sizes| sizes.shapes(graph, &self.graphs)).transpose()?.unwrap_or_default();
        let record = sizes.is_some();
        let file = match self.provider.keeps_defaults() {
            true => None,
            false => self.graphs.without_defaults(graph)?,
        };
        UnetModel::with_further(part.prepared(Preparation { file, shapes, record })?, self.further)
    }

    /// The model for a stream alone and inputs of any size: whichever is loaded already, so that no weights
    /// are loaded for it.
    pub fn plain_model(&self) -> Result<UnetModel> {
        self.plain(None)
    }

    /// The same for the sizes of a run.
    pub fn plain_model_for(&self, sizes: &SizeRange) -> Result<UnetModel> {
        self.plain(Some(sizes))
    }

    fn plain(&self, sizes: Option<&SizeRange>) -> Result<UnetModel> {
        match self.parts.get(&Graph::F).and_then(Part::loaded) {
            Some(session) if !self.provider.settles_shapes() => UnetModel::with_further(session, self.further),
            _ if self.has(Graph::Source) => self.prepared(Graph::Source, sizes),
            _ => self.prepared(Graph::F, sizes),
        }
    }

    /// The graphs that are loaded, by name.
    pub fn loaded(&self) -> Vec<(&'static str, Arc<Session>)> {
        Graph::ALL.into_iter().filter_map(|graph| Some((graph.name(), self.parts.get(&graph)?.loaded()?))).collect()
    }

    pub fn release(&self) {
        self.parts.values().for_each(Part::release);
    }
}

/// A graph of the UNet, with the meaning of its inputs.
#[derive(Clone, Debug)]
pub(crate) struct UnetModel {
    pub session: Arc<Session>,
    sample: TensorSpec,
    pub timestep: TensorSpec,
    context: Option<TensorSpec>,
    guidance: Option<TensorSpec>,
    output: String,
}

impl UnetModel {
    pub fn new(session: Arc<Session>) -> Result<Self> {
        Self::with_further(session, Further::Refused)
    }

    pub(super) fn with_further(session: Arc<Session>, further: Further) -> Result<Self> {
        let wrong = |reason: String| Error::model(session.model(), reason);
        let theirs: Vec<&TensorSpec> = session.inputs().iter().filter(|spec| !spec.name.starts_with(OURS)).collect();
        let with_rank = |rank: usize| theirs.iter().find(|spec| spec.rank() == rank && spec.element_type.is_float());
        let named = |name: &str| theirs.iter().find(|spec| spec.name == name);
        let sample = named("sample").or_else(|| with_rank(4));
        let sample = sample.ok_or_else(|| wrong("has no input of latents [batch, 4, height, width]".to_owned()))?;
        let timestep = named("timestep").or_else(|| theirs.iter().find(|spec| spec.rank() <= 1));
        let timestep = timestep.ok_or_else(|| wrong("has no timestep input".to_owned()))?;
        let context = named("encoder_hidden_states").or_else(|| with_rank(3));
        let guidance = named("timestep_cond").filter(|_| further == Further::Refused);
        let understood = [Some(sample), Some(timestep), context, guidance];
        let mut others = theirs.iter().filter(|spec| !understood.iter().flatten().any(|known| known.name == spec.name));
        if let Some(other) = others.next().filter(|_| further == Further::Refused) {
            return Err(wrong(format!("has an input that Stable Diffusion 1.x does not have: {other}")));
        }
        let output = session.outputs().first().ok_or_else(|| wrong("has no output".to_owned()))?.name.clone();
        Ok(Self {
            sample: (*sample).clone(),
            timestep: (*timestep).clone(),
            context: context.map(|spec| (*spec).clone()),
            guidance: guidance.map(|spec| (*spec).clone()),
            output,
            session,
        })
    }

    /// Whether the input called `name` must be fed.
    pub fn requires(&self, name: &str) -> bool {
        self.session.inputs().iter().any(|spec| spec.name == name)
    }

    /// The predicted noise of the rows in `feeds`, whose first is the sample; feeds that are as they were at
    /// the last such run stay on the device.
    pub fn noise(&self, feeds: &[(String, Tensor)]) -> Result<Latents> {
        let shape = feeds.first().map(|(_, sample)| sample.shape()).unwrap_or_default();
        let feeds: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        self.latents(self.session.run_resident(&feeds, &self.output, shape)?)
    }

    /// The name of the context, where the graph reads it.
    pub fn context(&self) -> Option<&str> {
        self.context.as_ref().map(|spec| spec.name.as_str())
    }

    /// The name of the predicted noise.
    pub fn output(&self) -> &str {
        &self.output
    }

    /// The number of rows of a run, if the export fixed it.
    pub fn fixed_rows(&self) -> Option<usize> {
        self.sample.fixed(0)
    }

    /// Fails with advice where the export fixed another size of latents, context or channels.
    pub fn check_sizes(&self, [channels, height, width]: [usize; 3], tokens: usize) -> Result<()> {
        let fixed = [self.sample.fixed(1), self.sample.fixed(2), self.sample.fixed(3)];
        let fits =
            fixed.iter().zip([channels, height, width]).all(|(fixed, wanted)| fixed.is_none_or(|it| it == wanted));
        if !fits {
            let pixels = |axis: usize, latents: usize| 8 * self.sample.fixed(axis).unwrap_or(latents);
            return Err(Error::setting(
                format!("size {}x{}", 8 * width, 8 * height),
                format!("this UNet was exported for {}x{} pixels", pixels(3, width), pixels(2, height)),
            ));
        }
        match self.context.as_ref().and_then(|spec| spec.fixed(1)) {
            Some(length) if length != tokens => Err(Error::setting(
                format!("prompt of {tokens} tokens"),
                format!("this UNet was exported for {length} tokens; shorten the prompt"),
            )),
            _ => Ok(()),
        }
    }

    /// The source's inputs, in the types and shapes that the model wants.
    pub fn feeds(&self, rows: Rows<'_>) -> Vec<(String, Tensor)> {
        let count = rows.sample.shape()[0];
        let given = rows.given;
        let tensor = |array: Tensor, spec: &TensorSpec| (spec.name.clone(), array.cast(spec.element_type));
        let mut feeds = vec![
            tensor(Tensor::from(rows.sample.clone()), &self.sample),
            (self.timestep.name.clone(), self.timestep_tensor(given.timesteps, count)),
        ];
        if let Some(spec) = &self.context {
            feeds.push(tensor(Tensor::from(given.context.clone()), spec));
        }
        if let Some(spec) = &self.guidance {
            let embedding = guidance_embedding(given.guidance_scale, spec.fixed(1).unwrap_or(256), count);
            feeds.push(tensor(Tensor::from(embedding), spec));
        }
        for (name, rows) in given.further {
            let element_type = self.session.input(name).map(|spec| spec.element_type).unwrap_or(ElementType::F32);
            feeds.push((name.clone(), Tensor::from(rows.clone()).cast(element_type)));
        }
        feeds
    }

    /// Whether each row has a timestep of its own; `None` where the export leaves their number open, so
    /// that only a run can tell.
    pub fn timestep_per_row(&self) -> Option<bool> {
        match (self.timestep.dims.first(), self.sample.dims.first()) {
            (Some(Dim::Symbolic(own)), Some(Dim::Symbolic(rows))) if own == rows && !own.is_empty() => Some(true),
            (Some(Dim::Symbolic(_)), _) => None,
            (Some(own @ Dim::Fixed(_)), rows) => Some(Some(own) == rows),
            (None, _) => Some(false),
        }
    }

    /// A scalar, `[1]` or `[rows]`, whole or not, as the model declares it; where the model takes one alone,
    /// the first.
    fn timestep_tensor(&self, timesteps: Timesteps<'_>, rows: usize) -> Tensor {
        let element_type = self.timestep.element_type;
        let number = |timestep: Timestep| match element_type.is_float() {
            true => timestep.value(),
            false => timestep.as_i64() as f64,
        };
        let first = match timesteps {
            Timesteps::All(timestep) => timestep,
            Timesteps::Each(each) if each.len() > 1 && self.timestep_per_row() != Some(false) => {
                let numbers: Vec<f64> = each.iter().copied().map(number).collect();
                return Tensor::from(Array1::from(numbers)).cast(element_type);
            }
            Timesteps::Each(each) => each.first().copied().unwrap_or(Timestep::from(0)),
        };
        let per_row = self.timestep.dims.first() == self.sample.dims.first();
        let shape: Vec<usize> = match self.timestep.dims.first() {
            None => Vec::new(),
            Some(Dim::Fixed(length)) => vec![*length],
            Some(Dim::Symbolic(name)) if per_row && !name.is_empty() => vec![rows],
            Some(Dim::Symbolic(_)) => vec![1],
        };
        Tensor::filled(&shape, element_type, number(first))
    }

    /// The predicted noise as latents.
    pub fn latents(&self, output: Tensor) -> Result<Latents> {
        let wrong = |error: ndarray::ShapeError| Error::model(self.session.model(), format!("prediction: {error}"));
        output.into_f32().into_dimensionality::<Ix4>().map_err(wrong)
    }
}

/// How LCM models are told the guidance: sines and cosines of 1000 (scale − 1), `[rows, width]`.
fn guidance_embedding(scale: f32, width: usize, rows: usize) -> Array2<f32> {
    let half = (width / 2).max(2);
    let angle = |column: usize| {
        let frequency = (-(10_000.0_f64.ln()) * (column % half) as f64 / (half - 1) as f64).exp();
        f64::from(scale - 1.0) * 1000.0 * frequency
    };
    Array2::from_shape_fn((rows, width), |(_, column)| {
        let angle = angle(column);
        (if column < half { angle.sin() } else { angle.cos() }) as f32
    })
}
