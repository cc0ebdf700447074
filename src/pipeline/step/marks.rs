use ndarray::Array3;

use super::concepts::Concepts;
use super::{Mark, Role, StepRow};
use crate::concept::LayerSpec;
use crate::pipeline::injection::Injection;
use crate::pipeline::{Error, Result};

/// What the rows of a call get of the concepts.
#[derive(Debug)]
pub(super) struct Marked {
    /// Δ of those concepts that some row carries, and the mask `[rows, L, S]`; `None` where no row does.
    injection: Option<Injection>,
    carrying: Vec<bool>,
}

/// One concept in one row.
struct Place {
    row: usize,
    concept: usize,
    strength: f32,
    positions: Vec<usize>,
}

impl Marked {
    /// `tokens` is the context's length, L.
    pub fn new(
        concepts: &Concepts,
        rows: &[StepRow],
        (count, tokens): (usize, usize),
        layers: &[LayerSpec],
    ) -> Result<Self> {
        if rows.len() != count && !(rows.is_empty() && concepts.0.is_empty()) {
            let reason = format!("{} are described, and sample has {count}", rows.len());
            return Err(Error::setting("rows", reason));
        }
        let mut places = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let stated = row.marks.iter().map(|mark| stated(concepts, row, index, mark));
            places.extend(stated.collect::<Result<Vec<_>>>()?);
            places.extend(found(concepts, row, index, tokens)?);
        }
        places.retain(|place| place.strength != 0.0);
        let mut carrying = vec![false; count];
        for place in &places {
            check(concepts, place, tokens)?;
            carrying[place.row] = true;
        }
        let injection =
            if places.is_empty() { None } else { Some(injection(concepts, &places, count, tokens, layers)?) };
        Ok(Self { injection, carrying })
    }

    /// The rows that carry some concept.
    pub fn rows(&self) -> Vec<usize> {
        (0..self.carrying.len()).filter(|&row| self.carrying[row]).collect()
    }

    pub fn carries(&self, row: usize) -> bool {
        self.carrying[row]
    }

    /// What is added to the values of `rows`.
    pub fn injection(&self, rows: &[usize]) -> Option<Injection> {
        self.injection.as_ref().map(|injection| injection.of_rows(rows))
    }
}

fn stated(concepts: &Concepts, row: &StepRow, index: usize, mark: &Mark) -> Result<Place> {
    let setting = || format!("row {index}, mark of '{}'", mark.concept);
    if row.role == Role::Unconditional {
        return Err(Error::setting(setting(), "unconditional rows carry no concept"));
    }
    if !mark.strength.is_finite() || mark.strength == 0.0 {
        let reason = format!("strength {} : give 1 for all of it, and no mark for none", mark.strength);
        return Err(Error::setting(setting(), reason));
    }
    let concept = concepts.index(&mark.concept)?;
    let strength = mark.strength * concepts.0[concept].weight;
    Ok(Place { row: index, concept, strength, positions: mark.positions.clone() })
}

/// Every concept, where its phrase occurs in the row's ids.
fn found(concepts: &Concepts, row: &StepRow, index: usize, tokens: usize) -> Result<Vec<Place>> {
    if row.ids.is_empty() || row.role == Role::Unconditional {
        return Ok(Vec::new());
    }
    let setting = || format!("row {index}, ids");
    if row.ids.len() > tokens {
        let reason = format!("there are {}, and encoder_hidden_states has {tokens} tokens", row.ids.len());
        return Err(Error::setting(setting(), reason));
    }
    let mut places = Vec::new();
    for (concept, set) in concepts.0.iter().enumerate() {
        let phrase = &set.phrase_ids;
        if phrase.is_empty() {
            return Err(Error::setting(setting(), "need a tokenizer to be searched; give one in the options"));
        }
        let starts = (0..row.ids.len()).filter(|&at| row.ids[at..].starts_with(phrase));
        let positions: Vec<usize> = starts.flat_map(|at| at..at + phrase.len()).collect();
        if !positions.is_empty() {
            places.push(Place { row: index, concept, strength: set.weight, positions });
        }
    }
    Ok(places)
}

fn check(concepts: &Concepts, place: &Place, tokens: usize) -> Result<()> {
    let set = &concepts.0[place.concept];
    let wrong = |reason: String| Err(Error::setting(format!("row {}, mark of '{}'", place.row, set.name), reason));
    if place.positions.is_empty() {
        return wrong("has no positions".to_owned());
    }
    if let Some(beyond) = place.positions.iter().find(|&&position| position >= tokens) {
        return wrong(format!("position {beyond} is beyond the {tokens} tokens of encoder_hidden_states"));
    }
    let slots = set.concept.tokens();
    match slots == 1 || place.positions.len().is_multiple_of(slots) {
        true => Ok(()),
        false => wrong(format!("the concept has {slots} tokens, and {} positions are given", place.positions.len())),
    }
}

fn injection(
    concepts: &Concepts,
    places: &[Place],
    rows: usize,
    tokens: usize,
    layers: &[LayerSpec],
) -> Result<Injection> {
    let used: Vec<usize> =
        (0..concepts.0.len()).filter(|&index| places.iter().any(|place| place.concept == index)).collect();
    let slots = |index: usize| concepts.0[index].concept.tokens();
    let mut mask = Array3::zeros((rows, tokens, used.iter().map(|&index| slots(index)).sum()));
    for place in places {
        let first: usize = used.iter().take_while(|&&index| index != place.concept).map(|&index| slots(index)).sum();
        for (token, &position) in place.positions.iter().enumerate() {
            mask[[place.row, position, first + token % slots(place.concept)]] += place.strength;
        }
    }
    Ok(Injection::of_parts(concepts.delta(&used)?, mask, layers))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::concept::Concept;
    use crate::pipeline::step::{Setting, StepConcept};

    fn layers() -> Vec<LayerSpec> {
        vec![LayerSpec { module_path: "mid_block.attentions.0.transformer_blocks.0".to_owned(), width: 2 }]
    }

    /// `one` of a single token at weight 0.5, and `two` of two tokens at weight 1.
    fn concepts() -> Concepts {
        [("one", 1, 0.5), ("two", 2, 1.0)].into_iter().fold(Concepts::default(), |concepts, (name, tokens, weight)| {
            let mut concept = Concept::new(name, "thing");
            let delta = ndarray::Array2::from_shape_fn((tokens, 2), |(token, _)| (token + 1) as f32);
            concept.layers.insert(layers()[0].module_path.clone(), delta);
            let setting = Setting { weight, ..Default::default() };
            concepts.with(StepConcept::new(Arc::new(concept), setting, &layers(), None).unwrap())
        })
    }

    fn row(role: Role, marks: &[(&str, f32, &[usize])]) -> StepRow {
        let mark = |(concept, strength, positions): &(&str, f32, &[usize])| Mark {
            concept: (*concept).to_owned(),
            strength: *strength,
            positions: positions.to_vec(),
        };
        StepRow { role, image: 0, marks: marks.iter().map(mark).collect(), ids: Vec::new() }
    }

    fn marked(rows: &[StepRow]) -> Result<Marked> {
        Marked::new(&concepts(), rows, (rows.len(), 8), &layers())
    }

    #[test]
    fn tokens_take_their_rows_of_the_concept_in_turn() {
        let rows = [
            row(Role::Unconditional, &[]),
            row(Role::Conditional, &[("two", 1.0, &[1, 2, 5, 6]), ("one", 2.0, &[5])]),
            row(Role::Other, &[("one", 1.0, &[0, 7])]),
        ];
        let marked = marked(&rows).unwrap();
        assert_eq!(marked.rows(), [1, 2]);
        let injection = marked.injection(&[0, 1, 2]).unwrap();
        assert_eq!(injection.delta, ndarray::arr2(&[[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]));
        let filled: Vec<_> = injection.mask.indexed_iter().filter(|(_, share)| **share != 0.0).collect();
        let expected = [
            ((1, 1, 1), &1.0),
            ((1, 2, 2), &1.0),
            ((1, 5, 0), &1.0),
            ((1, 5, 1), &1.0),
            ((1, 6, 2), &1.0),
            ((2, 0, 0), &0.5),
            ((2, 7, 0), &0.5),
        ];
        assert_eq!(filled, expected);
    }

    #[test]
    fn only_concepts_in_use_take_slots() {
        let marked = marked(&[row(Role::Conditional, &[("two", 1.0, &[1, 2])])]).unwrap();
        assert_eq!(marked.injection(&[0]).unwrap().delta.nrows(), 2);
        let none = Marked::new(&concepts(), &[row(Role::Conditional, &[])], (1, 8), &layers()).unwrap();
        assert!(none.injection(&[0]).is_none() && none.rows().is_empty());
    }

    #[test]
    fn a_phrase_of_another_length_is_refused() {
        let error = marked(&[row(Role::Conditional, &[("two", 1.0, &[1, 2, 3])])]).unwrap_err().to_string();
        assert!(error.contains("2 tokens") && error.contains("3 positions"), "{error}");
    }
}
