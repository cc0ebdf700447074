//! Random numbers for the inputs of a model.

use std::path::Path;

use anyhow::{Result, ensure};
use infusion::noise::TorchGenerator;
use infusion::patch::TrainNames;
use infusion::runtime::{Dim, Tensor, TensorSpec};

use super::{ADDED, TOKENS};

/// Of SD-1.x.
const CONTEXT: usize = 768;

/// Random numbers for every input of the source that the graph in `file` reads, and for the target of learning:
/// `rows` of latents, `context_rows` of the context.
pub fn random(
    file: &Path,
    specs: &[TensorSpec],
    [rows, context_rows]: [usize; 2],
    size: usize,
) -> Result<Vec<(String, Tensor)>> {
    let mut generator = TorchGenerator::new(0);
    let theirs = |spec: &&TensorSpec| !spec.name.starts_with(ADDED) || spec.name == TrainNames::TARGET;
    let feed = |spec: &TensorSpec| {
        let values = match spec.rank() {
            4 => Tensor::from(generator.randn((rows, spec.fixed(1).unwrap_or(4), size, size))),
            3 => Tensor::from(generator.randn((context_rows, TOKENS, spec.fixed(2).unwrap_or(CONTEXT)))),
            2 => Tensor::from(generator.randn((rows, spec.fixed(1).unwrap_or(256)))),
            _ => return Ok((spec.name.clone(), timestep(spec, rows))),
        };
        let values = values.cast(spec.element_type);
        let reason = || format!("{}: this export has other sizes fixed: {spec}; --size", file.display());
        ensure!(spec.mismatch(values.element_type(), values.shape()).is_none(), reason());
        Ok((spec.name.clone(), values))
    };
    specs.iter().filter(|spec| !spec.optional).filter(theirs).map(feed).collect()
}

fn timestep(spec: &TensorSpec, rows: usize) -> Tensor {
    let shape: Vec<usize> = match spec.dims.first() {
        None => Vec::new(),
        Some(Dim::Fixed(length)) => vec![*length],
        Some(Dim::Symbolic(name)) if name.contains("batch") => vec![rows],
        Some(Dim::Symbolic(_)) => vec![1],
    };
    Tensor::filled(&shape, spec.element_type, 401.0)
}

/// `sample_size` of the UNet's config.json.
pub fn usual_size(source: &Path) -> Option<usize> {
    let text = std::fs::read_to_string(source.with_file_name("config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_str(&text).ok()?;
    config.get("sample_size")?.as_u64().map(|size| size as usize)
}
