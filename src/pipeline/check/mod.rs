//! Whether a provider computes what the CPU computes: every model of a pipeline on both, on the same numbers.
//!
//! [`case`] makes up what a model is fed, [`compare`] runs it on both, [`steps`] goes on to whole pictures.

mod case;
mod compare;
mod steps;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::graphs::{Graph, UnetGraphs, fused_serves};
use super::sizes::{SizeRange, Sizes, padded_slots};
use super::{Error, Folder, Result};
use crate::patch;
use crate::runtime::{
    Assignment, DeviceTensor, ProviderSpec, SessionOptions, Tensor, TensorSpec, declared_inputs, providers,
};

use case::TOKENS;

const USUAL_LATENTS: usize = 64;
/// An unconditional row and one with the prompt.
const ROWS: usize = 2;

/// How a provider is checked.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// The provider with its options, and the cache that its engines go to.
    pub session: SessionOptions,
    /// Height and width of the latents; `None` takes the model's own, or 64.
    pub latents: Option<usize>,
    /// Where patched graphs go when the UNet's own folder cannot be written.
    pub graph_folder: Option<PathBuf>,
    /// Steps of DDIM that a whole pipeline is to make with a concept, in every way of computing the
    /// streams; 0 leaves this out.
    pub steps: usize,
}

/// One model, compared.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The model's name: `text_encoder`, `unet`, `unet f`, ….
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// What was found, or why it could not be run.
    pub outcome: Result<Compared, String>,
}

/// What a provider made of a model.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The largest difference of an output from the CPU's, relative to its largest element.
    pub difference: f32,
    /// The largest that rounding explains; less than half of what the concept changes, where there is one.
    pub tolerance: f32,
    /// Seconds to load the model.
    pub load_s: f64,
    /// Seconds of the first run, in which engines are built and algorithms looked for.
    pub first_run_s: f64,
    /// Seconds of a later run.
    pub run_s: f64,
    /// How many nodes ran where, if ONNX Runtime tells.
    pub assignment: Option<Assignment>,
    /// Of `f`: its maps, as they wait for `c`.
    pub maps: Option<MapsKept>,
}

/// Where F's maps wait for C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapsKept {
    /// Bytes of all of them.
    pub bytes: usize,
    /// Whether they are in memory that the host reads, and not in the device's own.
    pub on_host: bool,
}

impl Checked {
    /// Whether the model ran and agreed with the CPU.
    pub fn passed(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|compared| compared.difference <= compared.tolerance)
    }
}

/// Compares every model of the pipeline in the folder `model`, or the UNet or other model in the file
/// `model`, and tells of each as it is done.
///
/// # Errors
/// There is no such model, the provider cannot be used at all, or the CPU cannot run the model.
pub fn check_provider(model: &Path, options: &CheckOptions, told: &mut dyn FnMut(&Checked)) -> Result<Vec<Checked>> {
    let provider = providers::choose(&options.session.provider)?.spec;
    let mut check = Check { options, provider, maps: HashMap::new(), device_maps: Vec::new(), told, done: Vec::new() };
    if model.is_dir() {
        let folder = Folder::find(model)?;
        let size = options.latents.or_else(|| folder.config_number("unet", "sample_size").map(|size| size as usize));
        let size = size.unwrap_or(USUAL_LATENTS);
        check.single("text_encoder", &folder.text_encoder, &|_| vec![1, TOKENS])?;
        check.unet(&folder.unet, size)?;
        check.single("vae_decoder", &folder.vae_decoder, &|_| vec![1, 4, size, size])?;
        if let Some(encoder) = &folder.vae_encoder {
            check.single("vae_encoder", encoder, &|_| vec![1, 3, 8 * size, 8 * size])?;
        }
        if options.steps > 0 {
            check.trajectories(model, size)?;
        }
    } else {
        let size = options.latents.unwrap_or(USUAL_LATENTS);
        match check.unet(model, size) {
            // It is no UNet.
            Err(Error::Patch(patch::Error::Refused { .. })) => {
                check.single("model", model, &|spec| small_shape(spec, size))?;
            }
            other => other?,
        }
    }
    Ok(check.done)
}

struct Check<'a> {
    options: &'a CheckOptions,
    provider: ProviderSpec,
    /// What `f` made on the CPU, for `c`.
    maps: HashMap<String, Tensor>,
    /// The maps that `f` made on the device, for `c`.
    device_maps: Vec<(String, DeviceTensor)>,
    told: &'a mut dyn FnMut(&Checked),
    done: Vec<Checked>,
}

impl Check<'_> {
    fn unet(&mut self, source: &Path, size: usize) -> Result<()> {
        let fuse = fused_serves(&self.options.session)?;
        let graphs = UnetGraphs::find_or_make(source, self.options.graph_folder.as_deref(), fuse)?;
        let declared = declared_inputs(source)?;
        let fixed = |rank: usize, axis: usize| declared.iter().find(|spec| spec.rank() == rank)?.fixed(axis);
        let rows = fixed(4, 0).unwrap_or(ROWS);
        let sizes = Sizes {
            rows,
            latents: [fixed(4, 2).unwrap_or(size), fixed(4, 3).unwrap_or(size)],
            tokens: fixed(3, 1).unwrap_or(TOKENS),
            slots: padded_slots(1),
            prompt_rows: rows.min(1),
        };
        let range = SizeRange::of(sizes, &self.provider)?;
        for graph in Graph::ALL {
            if graphs.path(graph).is_none() {
                continue;
            }
            let case = self.unet_case(graph, &graphs, &sizes, &range)?;
            self.compare(&case, graph)?;
        }
        self.maps.clear();
        self.device_maps.clear();
        Ok(())
    }
}

/// Lengths for the free axes of a model of which nothing is known.
fn small_shape(spec: &TensorSpec, size: usize) -> Vec<usize> {
    (0..spec.rank())
        .map(|axis| {
            if axis == 0 {
                1
            } else if spec.rank() == 2 {
                TOKENS
            } else {
                size
            }
        })
        .collect()
}
