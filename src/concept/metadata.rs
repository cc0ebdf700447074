//! The metadata of a concept file: strings under agreed keys.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::{Concept, Error, Result};

pub(super) const FORMAT_VERSION: &str = "1";
pub(super) const SCALE_BLOCK: &str = "scale_block";
pub(super) const WIDTHS: &str = "widths";
const ARCHITECTURE: &str = "stable-diffusion-v1/infusion";
const OWN_KEYS: [&str; 9] = [
    "format_version",
    "concept",
    "class",
    "base_model_hash",
    "training",
    "modelspec.sai_model_spec",
    "modelspec.architecture",
    SCALE_BLOCK,
    WIDTHS,
];

pub(super) fn check_word(what: &str, word: &str) -> Result<(), String> {
    if word.trim().is_empty() {
        return Err(format!("the {what} word is empty"));
    }
    match word.chars().find(|c| c.is_control() || "<>|:".contains(*c)) {
        Some(bad) => Err(format!("the {what} word {word:?} holds {bad:?}, which a prompt's <…> cannot")),
        None => Ok(()),
    }
}

pub(super) fn check_hash(hash: &str) -> Result<(), String> {
    let digits = hash.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Ok(());
    }
    Err(format!("{hash:?} is not 'sha256:' and 64 lower-case hexadecimal digits"))
}

/// The metadata that describes `concept`, in the order in which it is written.
pub(super) fn describe(concept: &Concept) -> IndexMap<String, String> {
    let mut pairs = IndexMap::new();
    let mut put = |key: &str, value: &str| pairs.insert(key.to_owned(), value.to_owned());
    put("format_version", FORMAT_VERSION);
    put("concept", &concept.word);
    put("class", &concept.class);
    if let Some(hash) = &concept.base_model_hash {
        put("base_model_hash", hash);
    }
    if let Some(training) = &concept.training {
        put("training", &training.to_string());
    }
    put("modelspec.sai_model_spec", "1.0.0");
    put("modelspec.architecture", ARCHITECTURE);
    for (key, value) in concept.extra.iter().filter(|(key, _)| !OWN_KEYS.contains(&key.as_str())) {
        put(key, value);
    }
    pairs
}

/// A concept without layers, as the metadata describes it.
pub(super) fn interpret(file: &str, pairs: &IndexMap<String, String>) -> Result<Concept> {
    let invalid = |key: &str, reason: String| Error::invalid(file, format!("metadata '{key}'"), reason);
    let required = |key: &str| {
        let missing = || invalid(key, "missing: this is not a concept file, or it was written by another tool".into());
        pairs.get(key).ok_or_else(missing)
    };
    let version = required("format_version")?;
    if version != FORMAT_VERSION {
        let reason = format!("{version:?} is unknown to this version, which reads {FORMAT_VERSION:?}");
        return Err(invalid("format_version", reason));
    }
    let mut concept = Concept::new(required("concept")?, required("class")?);
    concept.base_model_hash = pairs.get("base_model_hash").cloned();
    if let Some(text) = pairs.get("training") {
        let training = serde_json::from_str(text).map_err(|e| invalid("training", format!("not JSON: {e}")))?;
        concept.training = Some(training);
    }
    concept.extra = extra(pairs);
    Ok(concept)
}

fn extra(pairs: &IndexMap<String, String>) -> BTreeMap<String, String> {
    let own = |key: &str| OWN_KEYS.contains(&key);
    pairs.iter().filter(|(key, _)| !own(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Widths `d` of the layers whose i4 tensor does not tell (odd ones).
pub(super) fn widths(file: &str, pairs: &IndexMap<String, String>) -> Result<BTreeMap<String, usize>> {
    let Some(text) = pairs.get(WIDTHS) else { return Ok(BTreeMap::new()) };
    serde_json::from_str(text).map_err(|e| Error::invalid(file, format!("metadata '{WIDTHS}'"), e.to_string()))
}

/// How many numbers of a row share a scale in the i4 form.
pub(super) fn scale_block(file: &str, pairs: &IndexMap<String, String>) -> Result<Option<usize>> {
    let Some(text) = pairs.get(SCALE_BLOCK) else { return Ok(None) };
    match text.parse() {
        Ok(block) if block > 0 => Ok(Some(block)),
        _ => Err(Error::invalid(file, format!("metadata '{SCALE_BLOCK}'"), format!("{text:?} is not a count"))),
    }
}
