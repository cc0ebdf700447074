//! Pointers of a caller as checked references.

use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

use super::{Error, Result};

/// A text that must be there.
///
/// # Safety
/// `text` is NULL or ends in NUL, and lives as long as the result.
pub(super) unsafe fn text<'a>(name: &'static str, text: *const c_char) -> Result<&'a str> {
    if text.is_null() {
        return Err(Error::argument(name, "is NULL"));
    }
    // SAFETY: the caller vouches for a text that ends in NUL.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|error| Error::argument(name, format!("is not UTF-8: {error}")))
}

/// A text that may be NULL.
///
/// # Safety
/// As [`text`].
pub(super) unsafe fn optional_text<'a>(name: &'static str, place: *const c_char) -> Result<Option<&'a str>> {
    match place.is_null() {
        true => Ok(None),
        // SAFETY: not NULL; the caller vouches for the rest.
        false => Ok(Some(unsafe { text(name, place) }?)),
    }
}

/// A number that stands for a default where it is 0.
pub(super) fn or_default(number: u32, default: usize) -> usize {
    if number == 0 { default } else { number as usize }
}

/// Where an output goes.
pub(super) fn output<T>(name: &'static str, place: *mut T) -> Result<NonNull<T>> {
    let place = NonNull::new(place).ok_or_else(|| Error::argument(name, "is NULL"))?;
    if !place.is_aligned() {
        return Err(Error::argument(name, "is not aligned as its type needs"));
    }
    Ok(place)
}

/// `count` values that are read; NULL is allowed for none.
///
/// # Safety
/// `first` is NULL or points to `count` values that live as long as the result.
pub(super) unsafe fn slice<'a, T>(name: &'static str, first: *const T, count: usize) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    let first = output(name, first.cast_mut())?;
    if count.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Error::argument(name, format!("{count} values are more than fit into memory")));
    }
    // SAFETY: not NULL, aligned, of a possible size, and the caller vouches for the values.
    Ok(unsafe { std::slice::from_raw_parts(first.as_ptr(), count) })
}

/// Writes `values` to `first` and their number to `count`, which says how many there is room for.
///
/// # Safety
/// `count` is NULL or readable and writable, and `first` is NULL or has room for `*count` values.
pub(super) unsafe fn write_all<T: Copy>(
    name: &'static str,
    values: &[T],
    first: *mut T,
    count: *mut usize,
) -> Result<()> {
    let count = output("count", count)?;
    // SAFETY: not NULL and aligned; the caller vouches for the rest.
    let room = unsafe { count.read() };
    if room < values.len() {
        return Err(Error::argument(name, format!("has room for {room}, and {} are needed", values.len())));
    }
    let first = output(name, first)?;
    // SAFETY: there is room for the values, and the caller's memory is not ours.
    unsafe {
        std::ptr::copy_nonoverlapping(values.as_ptr(), first.as_ptr(), values.len());
        count.write(values.len());
    }
    Ok(())
}
