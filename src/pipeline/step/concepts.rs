use std::sync::Arc;

use ndarray::{Array2, Axis, concatenate};

use crate::concept::{Concept, LayerSpec};
use crate::pipeline::{Error, Result};
use crate::prompt::Tokenizer;

/// How a concept is set.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The name that marks know it by; `None`: its word.
    pub name: Option<String>,
    /// How much of its Δ is added; 1 is all of it.
    pub weight: f32,
    /// What rows with ids are searched for; `None`: its class.
    pub phrase: Option<String>,
    /// Whether to take it though it was learned on another model.
    pub force: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self { name: None, weight: 1.0, phrase: None, force: false }
    }
}

/// A concept that is set in a [`StepUnet`](super::StepUnet).
#[derive(Clone, Debug)]
pub struct StepConcept {
    /// The name that marks know it by.
    pub name: String,
    /// How much of its Δ is added.
    pub weight: f32,
    /// What rows with ids are searched for.
    pub phrase: String,
    /// What it looks like.
    pub concept: Arc<Concept>,
    /// The tokens of the phrase, where there is a tokenizer.
    pub(super) phrase_ids: Vec<i64>,
    /// Δ `[T, D]`.
    delta: Arc<Array2<f32>>,
}

/// What was set when a call began; a change makes another one.
#[derive(Clone, Debug, Default)]
pub(super) struct Concepts(pub Vec<StepConcept>);

impl Concepts {
    /// These, with one more, or with one in the place of that of its name.
    pub fn with(&self, added: StepConcept) -> Self {
        let mut all = self.0.clone();
        match all.iter_mut().find(|known| known.name == added.name) {
            Some(known) => *known = added,
            None => all.push(added),
        }
        Self(all)
    }

    pub fn without(&self, name: &str) -> Result<Self> {
        let index = self.index(name)?;
        let mut all = self.0.clone();
        all.remove(index);
        Ok(Self(all))
    }

    pub fn with_weight(&self, name: &str, weight: f32) -> Result<Self> {
        let index = self.index(name)?;
        let mut all = self.0.clone();
        all[index].weight = checked(weight)?;
        Ok(Self(all))
    }

    pub fn index(&self, name: &str) -> Result<usize> {
        let found = self.0.iter().position(|known| known.name == name);
        found.ok_or_else(|| Error::NoConcept {
            name: name.to_owned(),
            known: self.0.iter().map(|known| known.name.clone()).collect(),
        })
    }

    /// Δ `[S, D]` of those at `indices`, one below the other.
    pub fn delta(&self, indices: &[usize]) -> Result<Array2<f32>> {
        let deltas: Vec<_> = indices.iter().map(|&index| self.0[index].delta.view()).collect();
        concatenate(Axis(0), &deltas).map_err(|error| Error::setting("concepts", error.to_string()))
    }
}

impl StepConcept {
    pub(super) fn new(
        concept: Arc<Concept>,
        setting: Setting,
        layers: &[LayerSpec],
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Self> {
        let phrase = setting.phrase.unwrap_or_else(|| concept.class.clone());
        let phrase_ids = match tokenizer {
            Some(tokenizer) => tokenizer.encode(&phrase)?,
            None => Vec::new(),
        };
        if tokenizer.is_some() && phrase_ids.is_empty() {
            return Err(Error::setting(format!("phrase {phrase:?}"), "has no tokens"));
        }
        Ok(Self {
            name: setting.name.unwrap_or_else(|| concept.word.clone()),
            weight: checked(setting.weight)?,
            delta: Arc::new(concept.matrix(layers)?),
            phrase,
            phrase_ids,
            concept,
        })
    }
}

fn checked(weight: f32) -> Result<f32> {
    match weight.is_finite() {
        true => Ok(weight),
        false => Err(Error::setting(format!("weight {weight}"), "must be a number")),
    }
}
