use std::ffi::c_char;

use super::Error;
use super::arguments::{output, slice, text, write_all};
use super::handles::Table;
use super::status::{Status, call, guarded};
use crate::prompt::Tokenizer;

pub(super) static TOKENIZERS: Table<Tokenizer> = Table::new(1, "infusion_tokenizer");

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_tokenizer_create(folder: *const c_char, out: *mut usize) -> *mut Status {
    call(|| {
        let out = output("out", out)?;
        // SAFETY: the caller vouches for a text that ends in NUL.
        let tokenizer = Tokenizer::open(unsafe { text("folder", folder) }?)?;
        let token = TOKENIZERS.insert(tokenizer)?;
        // SAFETY: not NULL and aligned; the caller vouches for the rest.
        unsafe { out.write(token) };
        Ok(())
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_tokenizer_encode(
    tokenizer: usize,
    prompt: *const c_char,
    ids: *mut i64,
    count: *mut usize,
) -> *mut Status {
    call(|| {
        let tokenizer = TOKENIZERS.get(tokenizer)?;
        // SAFETY: the caller vouches for a text that ends in NUL.
        let encoded = tokenizer.encode_padded(unsafe { text("text", prompt) }?)?;
        // SAFETY: the caller vouches for the room that `count` says.
        unsafe { write_all("ids", &encoded, ids, count) }
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_tokenizer_find(
    tokenizer: usize,
    phrase: *const c_char,
    ids: *const i64,
    count: usize,
    positions: *mut usize,
    positions_count: *mut usize,
) -> *mut Status {
    call(|| {
        let tokenizer = TOKENIZERS.get(tokenizer)?;
        // SAFETY: the caller vouches for a text that ends in NUL and for `count` numbers.
        let (phrase, ids) = unsafe { (text("phrase", phrase)?, slice("ids", ids, count)?) };
        let wanted = tokenizer.encode(phrase)?;
        if wanted.is_empty() {
            return Err(Error::argument("phrase", format!("{phrase:?} has no tokens")));
        }
        let starts = (0..ids.len()).filter(|&at| ids[at..].starts_with(&wanted));
        let found: Vec<usize> = starts.flat_map(|at| at..at + wanted.len()).collect();
        if found.is_empty() {
            return Err(Error::NotFound(format!("the ids do not contain {phrase:?}, whose tokens are {wanted:?}")));
        }
        // SAFETY: the caller vouches for the room that `positions_count` says.
        unsafe { write_all("positions", &found, positions, positions_count) }
    })
}

/// Frees a tokenizer.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_tokenizer_free(tokenizer: usize) {
    guarded((), || TOKENIZERS.remove(tokenizer));
}
