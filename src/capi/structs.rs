//! Structs of a caller, each of which opens with its size.

use super::arguments::output;
use super::{Error, Result};

/// A struct of the header: `repr(C)`, `uint32_t struct_size` first, and any bytes make one.
///
/// # Safety
/// Every bit pattern of the type must be valid, and it must open with a `u32`.
pub(super) unsafe trait Struct: Copy {
    /// Its name in the header.
    const NAME: &'static str;
}

/// The struct at `place`.
///
/// # Safety
/// `place` is NULL or points to a struct as long as its `struct_size` says.
pub(super) unsafe fn read<T: Struct>(name: &'static str, place: *const T) -> Result<T> {
    let place = output(name, place.cast_mut())?;
    // SAFETY: not NULL and aligned; every struct opens with its size.
    let size = unsafe { place.cast::<u32>().read() } as usize;
    check_size::<T>(name, size)?;
    // SAFETY: the caller says that the struct is that long, and any bytes make a `T`.
    Ok(unsafe { place.read() })
}

/// The struct at `place`; its defaults for NULL.
///
/// # Safety
/// As [`read`].
pub(super) unsafe fn read_or_zero<T: Struct>(name: &'static str, place: *const T) -> Result<T> {
    match place.is_null() {
        // SAFETY: any bytes make a `T`.
        true => Ok(unsafe { std::mem::zeroed() }),
        // SAFETY: the caller vouches for the struct.
        false => unsafe { read(name, place) },
    }
}

/// The `count` structs that lie behind each other, each as long as the first says.
///
/// # Safety
/// `first` is NULL or points to `count` structs, each as long as the `struct_size` of the first says.
pub(super) unsafe fn read_all<T: Struct>(name: &'static str, first: *const T, count: usize) -> Result<Vec<T>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let place = output(name, first.cast_mut())?;
    // SAFETY: not NULL and aligned; every struct opens with its size.
    let size = unsafe { place.cast::<u32>().read() } as usize;
    check_size::<T>(name, size)?;
    if !size.is_multiple_of(align_of::<T>()) || count.checked_mul(size).is_none_or(|bytes| bytes > isize::MAX as usize)
    {
        return Err(Error::argument(name, format!("{count} structs of {size} bytes cannot be")));
    }
    let mut all = Vec::new();
    for index in 0..count {
        // SAFETY: within the caller's array, aligned since `size` is a multiple of the alignment.
        all.push(unsafe { place.byte_add(index * size).read() });
    }
    Ok(all)
}

fn check_size<T: Struct>(name: &'static str, size: usize) -> Result<()> {
    match size >= size_of::<T>() {
        true => Ok(()),
        false => Err(Error::argument(name, format!("struct_size is {size}; set it to sizeof({})", T::NAME))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Pair {
        struct_size: u32,
        number: u32,
    }

    // SAFETY: any bytes make two numbers.
    unsafe impl Struct for Pair {
        const NAME: &'static str = "pair";
    }

    #[test]
    fn structs_of_a_newer_host_are_longer_and_lie_further_apart() {
        let array = [12_u32, 1, 0, 12, 2, 0];
        // SAFETY: the array holds two structs of 12 bytes.
        let found = unsafe { read_all("pairs", array.as_ptr().cast::<Pair>(), 2) }.unwrap();
        assert_eq!(found.iter().map(|pair| pair.number).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_struct_that_is_too_short_is_refused() {
        let array = [4_u32, 1];
        // SAFETY: the array holds at least a number.
        let error = unsafe { read("options", array.as_ptr().cast::<Pair>()) }.unwrap_err().to_string();
        assert!(error.contains("options") && error.contains("sizeof(pair)"), "{error}");
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { read_or_zero::<Pair>("options", std::ptr::null()) }.unwrap().number, 0);
        // SAFETY: NULL is refused before it is read.
        assert!(unsafe { read_all::<Pair>("pairs", std::ptr::null(), 1) }.is_err());
    }
}
