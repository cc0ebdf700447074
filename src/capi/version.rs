use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use super::status::c_text;
use crate::runtime::library;

/// `INFUSION_ABI_VERSION` of the header.
const ABI_VERSION: u32 = 1;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

/// This library's version.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_version() -> *const c_char {
    VERSION.as_ptr().cast()
}

/// The version of the signatures and structs.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_abi_version() -> u32 {
    ABI_VERSION
}

/// The version of the ONNX Runtime in use; NULL if none is.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_onnxruntime_version() -> *const c_char {
    static TEXT: OnceLock<CString> = OnceLock::new();
    match library::loaded() {
        Some(info) => TEXT.get_or_init(|| c_text(&info.version)).as_ptr(),
        None => std::ptr::null(),
    }
}
