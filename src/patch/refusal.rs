//! Saying no, and why.

use super::survey::NearMiss;
use super::{Error, Result};
use crate::onnx::Model;

/// The graph input by which a patched graph is known, and the prefix of all its additions.
pub const MARK: &str = "infusion.";

/// Refuses what its inputs and outputs already give away.
pub fn before_looking(model: &Model) -> Result<()> {
    let graph = &model.graph;
    let names = || graph.inputs().iter().chain(graph.outputs()).map(|value| value.name());
    if let Some(name) = names().find(|name| name.starts_with(MARK)) {
        return Err(refused(model, format!("it is patched already: it has '{name}'. Patch the exported UNet instead")));
    }
    if graph.is_input("text_embeds") && graph.is_input("time_ids") {
        let reason =
            "it is an SDXL UNet (inputs 'text_embeds' and 'time_ids'); Stable Diffusion 1.x and 2.x are handled";
        return Err(refused(model, reason.to_owned()));
    }
    Ok(())
}

/// No layer attends to a context.
pub fn without_layers(model: &Model, self_attention: usize, near_misses: &[NearMiss]) -> Error {
    let list = |values: &[crate::onnx::proto::ValueInfoProto]| {
        values.iter().map(|value| value.name()).collect::<Vec<_>>().join(", ")
    };
    let mut reason = format!(
        "no attention takes its keys and values from a context input. Found {self_attention} self-attention \
         layers; inputs: {}; outputs: {}",
        list(model.graph.inputs()),
        list(model.graph.outputs())
    );
    if let Some(guess) = guess(model) {
        reason.push_str(&format!(". This looks like {guess}"));
    }
    for miss in near_misses.iter().take(3) {
        reason.push_str(&format!(". Not taken: {}: {}", miss.node, miss.reason));
    }
    refused(model, reason)
}

/// An [`Error::Refused`] of `model`.
pub fn refused(model: &Model, reason: String) -> Error {
    let model = model.path().map_or_else(|| "the model".to_owned(), |path| path.display().to_string());
    Error::Refused { model, reason }
}

fn guess(model: &Model) -> Option<&'static str> {
    let has = |name: &str| model.graph.is_input(name);
    match () {
        () if has("input_ids") => Some("a text encoder, not a UNet"),
        () if has("latent_sample") => Some("a VAE decoder, not a UNet"),
        () if has("pixel_values") || has("clip_input") => Some("an image encoder, not a UNet"),
        () if has("sample") && !has("timestep") => Some("a VAE encoder, not a UNet"),
        () => None,
    }
}

/// Refuses to patch some layers and silently leave others.
pub fn of_gaps(model: &Model, survey: &super::Survey) -> Result<()> {
    let gaps: Vec<&NearMiss> = survey.near_misses.iter().filter(|miss| miss.cross).collect();
    let Some(first) = gaps.first() else { return Ok(()) };
    Err(refused(
        model,
        format!(
            "{} layers attend to '{}', but {} more may and are not understood, first {}: {}",
            survey.layers.len(),
            survey.context_input,
            gaps.len(),
            first.node,
            first.reason
        ),
    ))
}
