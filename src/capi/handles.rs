//! Tokens for objects that callers hold: kind, generation and index in one number.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Error, Result};

const INDEX_BITS: u32 = usize::BITS / 2;
const KIND_BITS: u32 = 4;
const GENERATION_BITS: u32 = usize::BITS - INDEX_BITS - KIND_BITS;
const LAST_GENERATION: usize = (1 << GENERATION_BITS) - 1;

/// All live objects of one kind.
///
/// A slot's generation grows whenever its object is freed, so that old tokens are told from new
/// ones; a slot whose generations are used up is never used again.
pub(super) struct Table<T> {
    kind: usize,
    name: &'static str,
    slots: Mutex<Slots<T>>,
}

struct Slots<T> {
    all: Vec<Slot<T>>,
    free: Vec<usize>,
}

struct Slot<T> {
    generation: usize,
    object: Option<Arc<T>>,
}

impl<T> Table<T> {
    /// `kind` is a number of its own for each table, from 1 to 15.
    pub const fn new(kind: usize, name: &'static str) -> Self {
        assert!(kind > 0 && kind < 1 << KIND_BITS);
        Self { kind, name, slots: Mutex::new(Slots { all: Vec::new(), free: Vec::new() }) }
    }

    pub fn insert(&self, object: T) -> Result<usize> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let object = Some(Arc::new(object));
        if let Some(index) = slots.free.pop() {
            slots.all[index].object = object;
            return Ok(self.token(index, slots.all[index].generation));
        }
        let index = slots.all.len();
        if index >> INDEX_BITS != 0 {
            return Err(Error::argument("handle", format!("there is no room for more objects of {}", self.name)));
        }
        slots.all.push(Slot { generation: 1, object });
        Ok(self.token(index, 1))
    }

    /// The object, which lives at least as long as what is returned.
    pub fn get(&self, token: usize) -> Result<Arc<T>> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let object = self.index(token).and_then(|(index, generation)| {
            slots.all.get(index).filter(|slot| slot.generation == generation)?.object.clone()
        });
        object.ok_or(Error::Handle { kind: self.name, token })
    }

    /// Takes the object out of the table; 0 and tokens that are not live change nothing.
    pub fn remove(&self, token: usize) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((index, generation)) = self.index(token) else { return };
        let Some(slot) = slots.all.get_mut(index).filter(|slot| slot.generation == generation) else { return };
        let Some(object) = slot.object.take() else { return };
        if slot.generation < LAST_GENERATION {
            slot.generation += 1;
            slots.free.push(index);
        }
        drop(slots);
        drop(object);
    }

    fn token(&self, index: usize, generation: usize) -> usize {
        self.kind << (usize::BITS - KIND_BITS) | generation << INDEX_BITS | index
    }

    fn index(&self, token: usize) -> Option<(usize, usize)> {
        let (index, generation) = (token & ((1 << INDEX_BITS) - 1), token >> INDEX_BITS & LAST_GENERATION);
        (token == self.token(index, generation)).then_some((index, generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_foreign_and_invented_tokens_are_refused() {
        let (words, numbers) = (Table::new(1, "words"), Table::new(2, "numbers"));
        let word = words.insert("a").unwrap();
        let number = numbers.insert(7).unwrap();
        assert_eq!((*words.get(word).unwrap(), *numbers.get(number).unwrap()), ("a", 7));
        for wrong in [0, 1, number, word ^ 1, usize::MAX] {
            let error = words.get(wrong).unwrap_err().to_string();
            assert!(error.contains("words") && error.contains("freed"), "{error}");
        }
        words.remove(number);
        words.remove(word);
        words.remove(word);
        let second = words.insert("b").unwrap();
        assert!(words.get(word).is_err(), "the slot is the same, the generation is not");
        assert_eq!(*words.get(second).unwrap(), "b");
        assert_eq!(*numbers.get(number).unwrap(), 7);
    }

    #[test]
    fn an_object_outlives_its_token_while_it_is_used() {
        let table = Table::new(1, "words");
        let token = table.insert(String::from("kept")).unwrap();
        let held = table.get(token).unwrap();
        table.remove(token);
        assert_eq!(held.as_str(), "kept");
    }

    #[test]
    fn threads_that_make_and_free_never_meet_each_other() {
        let table = Table::new(3, "numbers");
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..500 {
                        let token = table.insert((thread, round)).unwrap();
                        assert_eq!(*table.get(token).unwrap(), (thread, round));
                        table.remove(token);
                        assert!(table.get(token).is_err());
                    }
                });
            }
        });
        assert!(table.slots.lock().unwrap().all.len() <= 4);
    }
}
