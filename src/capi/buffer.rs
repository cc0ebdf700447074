use std::ffi::c_void;

use serde_json::Value;

use super::Result;
use super::arguments::output;
use super::handles::Table;
use super::status::guarded;

/// Bytes that were handed to a caller, and a NUL behind them.
static BUFFERS: Table<Vec<u8>> = Table::new(2, "infusion_buffer");

/// Hands `bytes` over, and writes their handle to `out`.
///
/// # Safety
/// `out` is NULL or writable.
pub(super) unsafe fn hand_over(name: &'static str, mut bytes: Vec<u8>, out: *mut usize) -> Result<()> {
    let out = output(name, out)?;
    bytes.push(0);
    let token = BUFFERS.insert(bytes)?;
    // SAFETY: not NULL and aligned; the caller vouches for the rest.
    unsafe { out.write(token) };
    Ok(())
}

/// The same with a value as JSON.
///
/// # Safety
/// As [`hand_over`].
pub(super) unsafe fn hand_over_json(value: &Value, out: *mut usize) -> Result<()> {
    // SAFETY: the caller vouches for `out`.
    unsafe { hand_over("json", format!("{value:#}").into_bytes(), out) }
}

/// The bytes of a buffer.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_buffer_data(buffer: usize) -> *const c_void {
    guarded(std::ptr::null(), || BUFFERS.get(buffer).map_or(std::ptr::null(), |bytes| bytes.as_ptr().cast()))
}

/// How many there are.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_buffer_size(buffer: usize) -> usize {
    guarded(0, || BUFFERS.get(buffer).map_or(0, |bytes| bytes.len().saturating_sub(1)))
}

/// Frees a buffer.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_buffer_free(buffer: usize) {
    guarded((), || BUFFERS.remove(buffer));
}
