use std::ffi::{c_char, c_void};
use std::sync::Arc;

use serde_json::json;

use super::arguments::{optional_text, output, slice, text};
use super::buffer;
use super::handles::Table;
use super::status::{Status, call, guarded};
use super::{Error, Result};
use crate::concept::{Concept, Existing, Precision};

pub(super) static CONCEPTS: Table<Arc<Concept>> = Table::new(3, "infusion_concept");

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_concept_load(path: *const c_char, out: *mut usize) -> *mut Status {
    call(|| {
        let out = output("out", out)?;
        // SAFETY: the caller vouches for a text that ends in NUL.
        let concept = Concept::load(unsafe { text("path", path) }?)?;
        // SAFETY: not NULL and aligned; the caller vouches for the rest.
        unsafe { out.write(CONCEPTS.insert(Arc::new(concept))?) };
        Ok(())
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_concept_load_memory(
    bytes: *const c_void,
    size: usize,
    name: *const c_char,
    out: *mut usize,
) -> *mut Status {
    call(|| {
        let out = output("out", out)?;
        // SAFETY: the caller vouches for a text that ends in NUL and for `size` bytes.
        let (name, bytes) = unsafe { (optional_text("name", name)?, slice("bytes", bytes.cast::<u8>(), size)?) };
        let concept = Concept::from_bytes(bytes, name.unwrap_or("concept in memory"))?;
        // SAFETY: not NULL and aligned; the caller vouches for the rest.
        unsafe { out.write(CONCEPTS.insert(Arc::new(concept))?) };
        Ok(())
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_concept_describe(concept: usize, json: *mut usize) -> *mut Status {
    call(|| {
        let concept = CONCEPTS.get(concept)?;
        let layers = concept.layer_specs();
        let layers: Vec<_> =
            layers.iter().map(|layer| json!({"module_path": layer.module_path, "width": layer.width})).collect();
        let described = json!({
            "word": concept.word,
            "class": concept.class,
            "tokens": concept.tokens(),
            "parameters": concept.parameters(),
            "precision": concept.stored_as.map(Precision::name),
            "base_model_hash": concept.base_model_hash,
            "training": concept.training,
            "layers": layers,
        });
        // SAFETY: the caller vouches for `json`.
        unsafe { buffer::hand_over_json(&described, json) }
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_concept_save(
    concept: usize,
    path: *const c_char,
    precision: *const c_char,
    overwrite: i32,
) -> *mut Status {
    call(|| {
        let concept = CONCEPTS.get(concept)?;
        // SAFETY: the caller vouches for texts that end in NUL.
        let (path, precision) = unsafe { (text("path", path)?, precision_of(precision)?) };
        let existing = if overwrite == 0 { Existing::Keep } else { Existing::Replace };
        concept.save(path, precision, existing)?;
        Ok(())
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_concept_encode(
    concept: usize,
    precision: *const c_char,
    bytes: *mut usize,
) -> *mut Status {
    call(|| {
        let concept = CONCEPTS.get(concept)?;
        // SAFETY: the caller vouches for a text that ends in NUL.
        let encoded = concept.encode(unsafe { precision_of(precision) }?)?;
        // SAFETY: the caller vouches for `bytes`.
        unsafe { buffer::hand_over("bytes", encoded.bytes, bytes) }
    })
}

/// Frees a concept.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_concept_free(concept: usize) {
    guarded((), || CONCEPTS.remove(concept));
}

/// # Safety
/// `name` is NULL or ends in NUL.
unsafe fn precision_of(name: *const c_char) -> Result<Precision> {
    // SAFETY: the caller vouches for a text that ends in NUL.
    match unsafe { optional_text("precision", name) }? {
        None => Ok(Precision::default()),
        Some(name) => name.parse().map_err(|reason: String| Error::argument("precision", reason)),
    }
}
