use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ndarray::{Array3, ArrayView3, Axis, stack};

use super::{FoundationStep, Role};
use crate::pipeline::{Error, Result};

/// The foundation's trajectories of the pictures under way.
#[derive(Debug, Default)]
pub(super) struct Images(Mutex<HashMap<u64, Image>>);

#[derive(Debug)]
struct Image {
    /// The evaluation that the rest is about.
    index: u32,
    /// What F is given at it.
    sample: Array3<f32>,
    /// What F predicted of the rows seen so far.
    rows: Vec<(Role, Array3<f32>)>,
    /// What F is given next, once all rows were seen.
    next: Option<Array3<f32>>,
    /// Whether C left F's trajectory: some row has carried a concept.
    diverged: bool,
}

/// Where F stands when a call begins.
pub(super) struct Begun {
    pub sample: Array3<f32>,
    pub diverged: bool,
}

impl Images {
    /// Goes on to evaluation `index` of a picture, or begins it: F then starts from C's latents. As long as
    /// no row carries a concept, F is where C is.
    pub fn begin(&self, image: u64, index: u32, customised: ArrayView3<'_, f32>, carries: bool) -> Result<Begun> {
        let setting = || format!("picture {image}, evaluation {index}");
        let mut images = self.lock();
        let known = images.get_mut(&image).filter(|known| index > known.index || !known.is_at_end_of(index));
        let Some(known) = known else {
            let sample = customised.to_owned();
            let begun = Begun { sample: sample.clone(), diverged: carries };
            images.insert(image, Image { index, sample, rows: Vec::new(), next: None, diverged: carries });
            return Ok(begun);
        };
        if known.sample.shape() != customised.shape() {
            let reason = format!("latents are {:?}, and were {:?} before", customised.shape(), known.sample.shape());
            return Err(Error::setting(setting(), reason));
        }
        if index > known.index {
            let Some(next) = known.next.take() else {
                let reason = format!(
                    "only {} rows of evaluation {} were given; see rows_per_image",
                    known.rows.len(),
                    known.index
                );
                return Err(Error::setting(setting(), reason));
            };
            known.index = index;
            known.rows.clear();
            known.sample = if known.diverged { next } else { customised.to_owned() };
        }
        known.diverged |= carries;
        Ok(Begun { sample: known.sample.clone(), diverged: known.diverged })
    }

    /// Keeps what F predicted of some rows; once `all` rows are there, what there is to follow.
    pub fn record(&self, image: u64, rows: Vec<(Role, Array3<f32>)>, all: usize) -> Result<Option<FoundationStep>> {
        let mut images = self.lock();
        let Some(known) = images.get_mut(&image) else { return Ok(None) };
        known.rows.extend(rows);
        if known.rows.len() < all {
            return Ok(None);
        }
        let noise: Vec<_> = known.rows.iter().map(|(_, noise)| noise.view()).collect();
        let noise = stack(Axis(0), &noise).map_err(|error| Error::setting("rows", error.to_string()))?;
        let roles = known.rows.iter().map(|(role, _)| *role).collect();
        Ok(Some(FoundationStep { image, index: known.index, roles, noise, sample: known.sample.clone() }))
    }

    /// Keeps what F is given next.
    pub fn advance(&self, image: u64, next: Array3<f32>) {
        if let Some(known) = self.lock().get_mut(&image) {
            known.rows.clear();
            known.next = Some(next);
        }
    }

    /// Forgets the last `count` rows, whose call failed after all.
    pub fn take_back(&self, image: u64, count: usize) {
        if let Some(known) = self.lock().get_mut(&image) {
            known.rows.truncate(known.rows.len().saturating_sub(count));
        }
    }

    pub fn end(&self, image: u64) {
        self.lock().remove(&image);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Image>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Image {
    /// Whether evaluation `index` was given whole, or lies before the one that was given last.
    fn is_at_end_of(&self, index: u32) -> bool {
        index < self.index || self.next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latents(value: f32) -> Array3<f32> {
        Array3::from_elem((1, 1, 1), value)
    }

    fn rows(values: &[f32]) -> Vec<(Role, Array3<f32>)> {
        values.iter().map(|&value| (Role::Conditional, latents(value))).collect()
    }

    #[test]
    fn f_follows_its_own_way_once_a_row_carries_a_concept() {
        let images = Images::default();
        for (index, carries, customised, expected) in [(0, false, 1.0, 1.0), (1, true, 2.0, 2.0), (2, false, 3.0, 20.0)]
        {
            let begun = images.begin(7, index, latents(customised).view(), carries).unwrap();
            assert_eq!((begun.sample[[0, 0, 0]], begun.diverged), (expected, index > 0));
            let step = images.record(7, rows(&[0.5]), 1).unwrap().unwrap();
            assert_eq!((step.index, step.noise.len()), (index, 1));
            images.advance(7, latents(index as f32 * 20.0));
        }
    }

    #[test]
    fn an_evaluation_may_take_several_calls() {
        let images = Images::default();
        images.begin(7, 0, latents(1.0).view(), true).unwrap();
        assert!(images.record(7, rows(&[1.0]), 2).unwrap().is_none());
        let error = images.begin(7, 1, latents(1.0).view(), true).err().unwrap().to_string();
        assert!(error.contains("rows_per_image"), "{error}");
        images.begin(7, 0, latents(1.0).view(), false).unwrap();
        assert_eq!(images.record(7, rows(&[2.0]), 2).unwrap().unwrap().noise.shape(), [2, 1, 1, 1]);
        images.take_back(7, 1);
        assert!(images.record(7, rows(&[2.0]), 2).unwrap().is_some());
    }

    #[test]
    fn an_evaluation_not_above_the_last_begins_anew() {
        let images = Images::default();
        images.begin(7, 5, latents(1.0).view(), true).unwrap();
        images.record(7, rows(&[1.0]), 1).unwrap();
        images.advance(7, latents(9.0));
        for (index, diverged) in [(5, false), (0, false)] {
            let begun = images.begin(7, index, latents(4.0).view(), false).unwrap();
            assert_eq!((begun.sample[[0, 0, 0]], begun.diverged), (4.0, diverged));
        }
        images.end(7);
        assert!(images.lock().is_empty());
    }
}
