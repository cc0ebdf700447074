//! Several concepts as one.

use indexmap::IndexMap;
use ndarray::Array2;

use super::layers::canonical;
use super::{Concept, Error, Result};

/// The weighted sum Σ wᵢ Δᵢ as a new concept named `word`, of class `class`.
///
/// All must have been learned on one model and have its layers. A Δ of one token counts for every token,
/// as it does in use, so it is added to each row of those with T tokens; two that both have several
/// tokens, but not equally many, cannot be merged.
pub fn merge(parts: &[(&Concept, f32)], word: &str, class: &str) -> Result<Concept> {
    let fail = |reason: String| Err(Error::Merge { reason });
    let Some(&(first, _)) = parts.first() else { return fail("there is no concept".into()) };
    let longest = parts.iter().map(|(concept, _)| *concept).max_by_key(|concept| concept.tokens()).unwrap_or(first);
    for (concept, weight) in parts {
        if !weight.is_finite() {
            return fail(format!("the weight of {} is {weight}", concept.origin()));
        }
        if ![1, longest.tokens()].contains(&concept.tokens()) {
            let (a, b) = (concept.tokens(), longest.tokens());
            return fail(format!("{} has {a} tokens, {} has {b}", concept.origin(), longest.origin()));
        }
        if concept.base_model_hash != first.base_model_hash {
            return fail(format!("{} and {} were learned on different models", first.origin(), concept.origin()));
        }
    }
    let mut layers = IndexMap::new();
    for spec in first.layer_specs() {
        let mut sum = Array2::<f64>::zeros((longest.tokens(), spec.width));
        for (concept, weight) in parts {
            let delta = matching(concept, first, &spec.module_path, spec.width)?;
            for (mut row, token) in sum.outer_iter_mut().zip((0..delta.nrows()).cycle()) {
                row.zip_mut_with(&delta.row(token), |sum, &value| *sum += f64::from(*weight) * f64::from(value));
            }
        }
        layers.insert(spec.module_path, sum.mapv(|value| value as f32));
    }
    for (concept, _) in parts {
        let unknown = |path: &&String| first.layer(canonical(path)).is_none();
        if let Some(path) = concept.layers.keys().find(unknown) {
            return Err(Error::layer(concept.origin(), path, format!("{} lacks it", first.origin())));
        }
    }
    let merged = Concept {
        base_model_hash: first.base_model_hash.clone(),
        training: Some(history(parts)),
        layers,
        ..Concept::new(word, class)
    };
    merged.check()?;
    Ok(merged)
}

fn matching<'a>(concept: &'a Concept, first: &Concept, path: &str, width: usize) -> Result<&'a Array2<f32>> {
    let missing = || Error::layer(concept.origin(), path, format!("missing, {} has it", first.origin()));
    let delta = concept.layer(path).ok_or_else(missing)?;
    if delta.ncols() != width {
        let reason = format!("{} wide, but {width} in {}", delta.ncols(), first.origin());
        return Err(Error::layer(concept.origin(), path, reason));
    }
    Ok(delta)
}

fn history(parts: &[(&Concept, f32)]) -> serde_json::Value {
    let part = |(concept, weight): &(&Concept, f32)| serde_json::json!({ "concept": concept.word, "weight": weight, "training": concept.training });
    serde_json::json!({ "merged": parts.iter().map(part).collect::<Vec<_>>() })
}
