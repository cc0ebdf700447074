use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use infusion::concept::{Concept, LayerSpec};
use infusion::onnx::Model;
use infusion::patch::{Baked, EmitOptions, Survey, bake, base_model_hash};
use ndarray::Array2;

use crate::args::{BakeArguments, PatchArguments};

/// Tokens of a prompt where the export leaves their number free: what CLIP makes of one.
const TOKENS: usize = 77;

/// The `shared` graph that carries a concept, and its file name.
pub fn baked(
    model: &Model,
    survey: &Survey,
    stem: &str,
    file: &Path,
    arguments: &PatchArguments,
) -> Result<(String, Model)> {
    let concept = Concept::load(file)?;
    let own = base_model_hash(model, survey)?;
    if let (Some(learned), Some(own), false) = (&concept.base_model_hash, &own, arguments.force) {
        ensure!(
            learned == own,
            "{}: it was learned on another model ({learned}, this one is {own}); --force bakes it nevertheless",
            file.display()
        );
    }
    let layers: Vec<LayerSpec> = survey
        .layers
        .iter()
        .map(|layer| LayerSpec { module_path: layer.module_path.clone(), width: layer.width })
        .collect();
    let delta = concept.matrix(&layers)?;
    let mask = mask(&arguments.bake, delta.nrows(), tokens(model, survey)?)?;
    let baked = Baked { mask: mask.view(), delta: delta.view(), rows: &arguments.bake.rows };
    let graph = bake(model, survey, baked, &EmitOptions { fuse: arguments.fuse, ..Default::default() })?;
    let word: String = concept
        .word
        .chars()
        .map(|letter| if letter.is_alphanumeric() || letter == '-' { letter } else { '_' })
        .collect();
    Ok((format!("{stem}.shared.{word}.onnx"), graph))
}

/// `[L,S]`: each slot's strength in the rows that carry its token; a list longer than the concept has
/// tokens names further occurrences of the phrase.
fn mask(arguments: &BakeArguments, slots: usize, tokens: usize) -> Result<Array2<f32>> {
    let rows = &arguments.token_rows;
    if rows.is_empty() || !rows.len().is_multiple_of(slots) {
        bail!("--token-rows names {} rows, but the concept has {slots} tokens", rows.len());
    }
    let mut mask = Array2::zeros((tokens, slots));
    for (index, &row) in rows.iter().enumerate() {
        let entry = mask.get_mut((row, index % slots));
        *entry.with_context(|| format!("--token-rows names row {row}, but a prompt has {tokens}, from 0"))? =
            arguments.strength;
    }
    Ok(mask)
}

/// How many tokens the context has.
fn tokens(model: &Model, survey: &Survey) -> Result<usize> {
    let shapes = infusion::onnx::infer::infer(model);
    let stated = shapes.dim(&survey.context_input, 1).and_then(infusion::onnx::infer::Dim::known);
    stated.map_or(Ok(TOKENS), |tokens| usize::try_from(tokens).context("the context's number of tokens is negative"))
}
