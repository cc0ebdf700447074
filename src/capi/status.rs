//! What a call returns: nothing, or an error that the caller owns.

use std::any::Any;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::Code;
use super::{Error, Result};

/// `infusion_status`
#[derive(Debug)]
pub struct Status {
    code: Code,
    text: CString,
}

/// Runs `body`; a panic becomes an error, and an error a status that the caller frees.
pub(super) fn call(body: impl FnOnce() -> Result<()>) -> *mut Status {
    let caught = catch_unwind(AssertUnwindSafe(body));
    match caught.unwrap_or_else(|panic| Err(Error::Panic(panic_text(panic.as_ref())))) {
        Ok(()) => std::ptr::null_mut(),
        Err(error) => Box::into_raw(Box::new(Status { code: error.code(), text: c_text(&error.to_string()) })),
    }
}

/// Runs `body` for a function without a status; `otherwise` is its answer where there was a panic.
pub(super) fn guarded<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// The text up to its first NUL, which messages of other libraries might hold.
pub(super) fn c_text(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text").to_owned()
}

/// # Safety
/// `status` is NULL or was returned by this library and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_status_code(status: *const Status) -> i32 {
    // SAFETY: the caller vouches for `status`.
    guarded(Code::Panic, || unsafe { status.as_ref() }.map_or(Code::Ok, |status| status.code)) as i32
}

/// # Safety
/// As [`infusion_status_code`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_status_text(status: *const Status) -> *const c_char {
    // SAFETY: the caller vouches for `status`.
    guarded(c"".as_ptr(), || unsafe { status.as_ref() }.map_or(c"".as_ptr(), |status| status.text.as_ptr()))
}

/// # Safety
/// As [`infusion_status_code`]; nothing uses `status` afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_status_free(status: *mut Status) {
    if !status.is_null() {
        // SAFETY: it was made by `Box::into_raw` above, and the caller vouches that it is freed once.
        guarded((), || drop(unsafe { Box::from_raw(status) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(body: impl FnOnce() -> Result<()>) -> (i32, String) {
        let status = call(body);
        // SAFETY: `status` comes from `call` and is freed once.
        unsafe {
            let text = std::ffi::CStr::from_ptr(infusion_status_text(status)).to_string_lossy().into_owned();
            let code = infusion_status_code(status);
            infusion_status_free(status);
            (code, text)
        }
    }

    #[test]
    fn success_is_null_and_errors_carry_code_and_text() {
        assert_eq!(code_of(|| Ok(())), (0, String::new()));
        let (code, text) = code_of(|| Err(Error::argument("ids", "is NULL")));
        assert_eq!((code, text.as_str()), (1, "ids: is NULL"));
    }

    #[test]
    fn a_panic_comes_back_as_an_error() {
        let (code, text) = code_of(|| panic!("on {}", "purpose"));
        assert!(code == 9 && text.contains("on purpose"), "{code} {text}");
    }

    #[test]
    fn a_panic_without_a_status_ends_in_the_answer_for_nothing() {
        assert_eq!(guarded(0, || 7), 7);
        assert_eq!(guarded(0, || panic!("on purpose")), 0);
    }

    #[test]
    fn a_text_with_a_nul_is_cut_there() {
        assert_eq!(c_text("before\0after").as_c_str(), c"before");
    }
}
