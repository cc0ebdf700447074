use std::ffi::{c_char, c_void};

use super::Result;
use super::arguments::optional_text;
use super::status::{Status, call};
use super::structs::{self, Struct};
use crate::runtime::{LibraryChoice, library};

/// `infusion_init_options`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct InitOptions {
    struct_size: u32,
    ort_api_base: *const c_void,
    onnxruntime_path: *const c_char,
}

// SAFETY: a number and raw pointers, of which any bytes make some.
unsafe impl Struct for InitOptions {
    const NAME: &'static str = "infusion_init_options";
}

/// Chooses the ONNX Runtime.
///
/// # Safety
/// `options` is as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_init(options: *const InitOptions) -> *mut Status {
    call(|| {
        // SAFETY: the caller vouches for the struct.
        unsafe { init(structs::read_or_zero("options", options)?) }
    })
}

/// # Safety
/// Pointers are as the header says.
unsafe fn init(options: InitOptions) -> Result<()> {
    if !options.ort_api_base.is_null() {
        // SAFETY: the caller vouches for what `OrtGetApiBase()` returned.
        unsafe { library::adopt(options.ort_api_base.cast()) }?;
        return Ok(());
    }
    // SAFETY: the caller vouches for a text that ends in NUL.
    let path = unsafe { optional_text("onnxruntime_path", options.onnxruntime_path) }?.map(Into::into);
    library::load(&LibraryChoice { path, threads: None })?;
    Ok(())
}
