use std::ffi::{c_char, c_void};

use super::arguments::{output, text};
use super::status::{Status, call};
use super::{Error, Result};
use crate::runtime::{LibraryChoice, library};

/// `infusion_init_options`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct InitOptions {
    struct_size: u32,
    ort_api_base: *const c_void,
    onnxruntime_path: *const c_char,
}

/// Chooses the ONNX Runtime.
///
/// # Safety
/// `options` is as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_init(options: *const InitOptions) -> *mut Status {
    call(|| {
        if options.is_null() {
            library::load(&LibraryChoice::default())?;
            return Ok(());
        }
        // SAFETY: not NULL; the caller vouches for the rest.
        unsafe { init(output("options", options.cast_mut())?.as_ptr()) }
    })
}

/// # Safety
/// `options` is aligned and opens with its size.
unsafe fn init(options: *const InitOptions) -> Result<()> {
    // SAFETY: every struct opens with its size, whatever its version.
    let size = unsafe { options.cast::<u32>().read() } as usize;
    if size < size_of::<InitOptions>() {
        let reason = format!("is {size}; set it to sizeof(infusion_init_options)");
        return Err(Error::argument("struct_size", reason));
    }
    // SAFETY: the caller says that the struct is this long.
    let options = unsafe { options.read() };
    if !options.ort_api_base.is_null() {
        // SAFETY: the caller vouches for what `OrtGetApiBase()` returned.
        unsafe { library::adopt(options.ort_api_base.cast()) }?;
        return Ok(());
    }
    let path = match options.onnxruntime_path.is_null() {
        true => None,
        // SAFETY: the caller vouches for a text that ends in NUL.
        false => Some(unsafe { text("onnxruntime_path", options.onnxruntime_path) }?.into()),
    };
    library::load(&LibraryChoice { path, threads: None })?;
    Ok(())
}
