//! `infusion_tensor`: numbers of a caller as arrays, and arrays back.

use std::ffi::c_void;

use half::f16;
use ndarray::{Array, ArrayD, Dimension, IxDyn};

use super::structs::{self, Struct};
use super::{Error, Result};
use crate::schedulers::Timestep;

/// More axes than any input of a UNet has.
const LARGEST_RANK: usize = 8;

/// `infusion_tensor`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TensorArgument {
    struct_size: u32,
    element_type: i32,
    data: *mut c_void,
    size: usize,
    dims: *const i64,
    rank: usize,
}

// SAFETY: numbers and raw pointers, of which any bytes make some.
unsafe impl Struct for TensorArgument {
    const NAME: &'static str = "infusion_tensor";
}

/// A tensor that was checked, and may be read or written in place.
pub(super) struct Checked {
    name: String,
    element: Element,
    data: *mut c_void,
    dims: Vec<usize>,
}

/// `infusion_type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    F32,
    F16,
    F64,
    I32,
    I64,
}

impl Element {
    fn of(number: i32) -> Option<Self> {
        [Self::F32, Self::F16, Self::F64, Self::I32, Self::I64]
            .into_iter()
            .zip(1..)
            .find(|(_, known)| *known == number)
            .map(|(element, _)| element)
    }

    fn width(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::F64 => "float64",
            Self::I32 => "int32",
            Self::I64 => "int64",
        }
    }
}

impl Checked {
    /// Checks that the tensor is one, and that its bytes are as many as its dims need.
    ///
    /// # Safety
    /// `tensor` is NULL or a struct of the header's, whose `dims` are `rank` numbers.
    pub unsafe fn new(name: &'static str, tensor: *const TensorArgument) -> Result<Self> {
        // SAFETY: the caller vouches for the struct.
        let tensor = unsafe { structs::read(name, tensor) }?;
        // SAFETY: as above.
        unsafe { Self::of(name, tensor) }
    }

    /// # Safety
    /// As [`Checked::new`].
    unsafe fn of(name: &str, tensor: TensorArgument) -> Result<Self> {
        let wrong = |reason: String| Err(Error::tensor(name, reason));
        let Some(element) = Element::of(tensor.element_type) else {
            return wrong(format!("type {} is no infusion_type", tensor.element_type));
        };
        if tensor.rank > LARGEST_RANK {
            return wrong(format!("rank {} is more than {LARGEST_RANK}", tensor.rank));
        }
        if tensor.rank > 0 && (tensor.dims.is_null() || !tensor.dims.is_aligned()) {
            return wrong(format!("dims are NULL or not aligned, and rank is {}", tensor.rank));
        }
        let mut dims = Vec::with_capacity(tensor.rank);
        for axis in 0..tensor.rank {
            // SAFETY: not NULL and aligned, and the caller vouches for `rank` numbers.
            let length = unsafe { tensor.dims.add(axis).read() };
            match usize::try_from(length) {
                Ok(length) if length > 0 => dims.push(length),
                _ => return wrong(format!("axis {axis} has the length {length}")),
            }
        }
        let bytes = dims.iter().try_fold(element.width(), |bytes, &length| bytes.checked_mul(length));
        let Some(bytes) = bytes.filter(|bytes| *bytes <= isize::MAX as usize) else {
            return wrong(format!("{dims:?} are more numbers than fit into memory"));
        };
        if tensor.size < bytes {
            return wrong(format!("size is {} bytes, and {dims:?} of {} need {bytes}", tensor.size, element.name()));
        }
        if tensor.data.is_null() || !tensor.data.addr().is_multiple_of(element.width()) {
            return wrong(format!("data is NULL or not aligned for {}", element.name()));
        }
        Ok(Self { name: name.to_owned(), element, data: tensor.data, dims })
    }

    /// The numbers of a float tensor.
    ///
    /// # Safety
    /// The caller's memory is as the tensor says.
    pub unsafe fn floats(&self) -> Result<ArrayD<f32>> {
        // SAFETY: the caller vouches for the memory.
        let values = unsafe {
            match self.element {
                Element::F32 => self.slice::<f32>().to_vec(),
                Element::F16 => self.slice::<f16>().iter().map(|value| value.to_f32()).collect(),
                other => return Err(self.wrong_type(other)),
            }
        };
        ArrayD::from_shape_vec(IxDyn(&self.dims), values).map_err(|error| Error::tensor(&self.name, error.to_string()))
    }

    /// The numbers of a float tensor of a certain rank; `shape` is how messages describe it.
    ///
    /// # Safety
    /// As [`Checked::floats`].
    pub unsafe fn floats_of<D: Dimension>(&self, shape: &str) -> Result<Array<f32, D>> {
        if D::NDIM != Some(self.dims.len()) {
            let reason = format!("has rank {}, and {shape} is needed", self.dims.len());
            return Err(Error::tensor(&self.name, reason));
        }
        // SAFETY: the caller vouches for the memory.
        let floats = unsafe { self.floats() }?;
        floats.into_dimensionality().map_err(|error| Error::tensor(&self.name, error.to_string()))
    }

    /// One timestep or a row of them.
    ///
    /// # Safety
    /// As [`Checked::floats`].
    pub unsafe fn timesteps(&self) -> Result<Vec<Timestep>> {
        if self.dims.len() > 1 {
            let reason = format!("has rank {}, and rank 0, [1] or [rows] is needed", self.dims.len());
            return Err(Error::tensor(&self.name, reason));
        }
        // SAFETY: the caller vouches for the memory.
        let values: Vec<f64> = unsafe {
            match self.element {
                Element::F32 => self.slice::<f32>().iter().map(|&value| f64::from(value)).collect(),
                Element::F16 => self.slice::<f16>().iter().map(|value| value.to_f64()).collect(),
                Element::F64 => self.slice::<f64>().to_vec(),
                Element::I32 => self.slice::<i32>().iter().map(|&value| f64::from(value)).collect(),
                Element::I64 => self.slice::<i64>().iter().map(|&value| value as f64).collect(),
            }
        };
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(Error::tensor(&self.name, format!("holds {value}"))),
            None => Ok(values.into_iter().map(Timestep::from).collect()),
        }
    }

    /// Fails unless numbers of these dims can be written here.
    pub fn takes(&self, dims: &[usize]) -> Result<()> {
        if !matches!(self.element, Element::F32 | Element::F16) {
            return Err(self.wrong_type(self.element));
        }
        match self.dims == dims {
            true => Ok(()),
            false => Err(Error::tensor(&self.name, format!("has dims {:?}, and {dims:?} will be written", self.dims))),
        }
    }

    /// Writes what [`Checked::takes`] said would fit.
    ///
    /// # Safety
    /// The caller's memory is as the tensor says, and may be written.
    pub unsafe fn write<D: Dimension>(&self, values: &Array<f32, D>) -> Result<()> {
        self.takes(values.shape())?;
        // SAFETY: as many places as values, and the caller vouches for the memory.
        unsafe {
            match self.element {
                Element::F16 => {
                    let places = self.data.cast::<f16>();
                    values.iter().enumerate().for_each(|(at, &value)| places.add(at).write(f16::from_f32(value)));
                }
                _ => {
                    let places = self.data.cast::<f32>();
                    values.iter().enumerate().for_each(|(at, &value)| places.add(at).write(value));
                }
            }
        }
        Ok(())
    }

    /// # Safety
    /// `T` is the type of the elements, and the caller's memory is as the tensor says.
    unsafe fn slice<T>(&self) -> &[T] {
        // SAFETY: not NULL, aligned and long enough, which `of` checked.
        unsafe { std::slice::from_raw_parts(self.data.cast::<T>(), self.dims.iter().product()) }
    }

    fn wrong_type(&self, found: Element) -> Error {
        Error::tensor(&self.name, format!("is {}, and float32 or float16 is needed", found.name()))
    }
}

/// `infusion_input`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct InputArgument {
    struct_size: u32,
    name: *const std::ffi::c_char,
    tensor: *const TensorArgument,
}

// SAFETY: a number and raw pointers, of which any bytes make some.
unsafe impl Struct for InputArgument {
    const NAME: &'static str = "infusion_input";
}

impl InputArgument {
    /// Name and numbers.
    ///
    /// # Safety
    /// Pointers are as the header says.
    pub unsafe fn read(&self) -> Result<(String, ArrayD<f32>)> {
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            let name = super::arguments::text("inputs, name", self.name)?;
            let tensor = structs::read("inputs, tensor", self.tensor)?;
            Ok((name.to_owned(), Checked::of(name, tensor)?.floats()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Ix1, Ix2};

    use super::*;

    fn argument(element_type: i32, data: *const impl Sized, size: usize, dims: &[i64]) -> TensorArgument {
        let struct_size = size_of::<TensorArgument>() as u32;
        TensorArgument {
            struct_size,
            element_type,
            data: data.cast_mut().cast(),
            size,
            dims: dims.as_ptr(),
            rank: dims.len(),
        }
    }

    fn checked(tensor: &TensorArgument) -> Result<Checked> {
        // SAFETY: the struct is a live one.
        unsafe { Checked::new("sample", tensor) }
    }

    fn error<T>(result: Result<T>) -> String {
        result.err().unwrap().to_string()
    }

    #[test]
    fn every_type_of_timestep_is_read() {
        let (i64s, i32s, f64s) = ([981_i64, 7], [981_i32, 7], [981.0_f64, 7.0]);
        let (f32s, f16s) = ([981.0_f32, 7.0], [981.0, 7.0].map(f16::from_f64));
        let expected: Vec<Timestep> = vec![981_usize.into(), 7_usize.into()];
        let arguments = [
            argument(1, f32s.as_ptr(), 8, &[2]),
            argument(2, f16s.as_ptr(), 4, &[2]),
            argument(3, f64s.as_ptr(), 16, &[2]),
            argument(4, i32s.as_ptr(), 8, &[2]),
            argument(5, i64s.as_ptr(), 16, &[2]),
        ];
        for argument in arguments {
            // SAFETY: the arrays are alive.
            assert_eq!(unsafe { checked(&argument).unwrap().timesteps() }.unwrap(), expected);
        }
        let scalar = argument(5, i64s.as_ptr(), 8, &[]);
        // SAFETY: the array is alive.
        assert_eq!(unsafe { checked(&scalar).unwrap().timesteps() }.unwrap(), expected[..1]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let numbers = [1.0_f32; 6];
        let data = numbers.as_ptr();
        assert!(error(checked(&argument(0, data, 24, &[6]))).contains("type 0"));
        assert!(error(checked(&argument(1, data, 23, &[2, 3]))).contains("need 24"));
        assert!(error(checked(&argument(1, data, 24, &[2, -3]))).contains("length -3"));
        assert!(error(checked(&argument(1, data, 24, &[i64::MAX, 3]))).contains("memory"));
        assert!(error(checked(&argument(1, data, 24, &[1; 9]))).contains("rank 9"));
        assert!(error(checked(&argument(1, data.cast::<u8>().wrapping_add(1), 24, &[6]))).contains("aligned"));
        assert!(error(checked(&argument(1, std::ptr::null::<f32>(), 24, &[6]))).contains("NULL"));
        let tensor = checked(&argument(1, data, 24, &[2, 3])).unwrap();
        // SAFETY: the array is alive.
        unsafe {
            assert!(error(tensor.floats_of::<Ix1>("[rows]")).contains("[rows]"));
            assert_eq!(tensor.floats_of::<Ix2>("[a, b]").unwrap(), Array::<f32, Ix2>::ones((2, 3)));
            assert!(error(tensor.timesteps()).contains("rank 2"));
        }
        assert!(error(tensor.takes(&[3, 2])).contains("[3, 2]"));
    }

    #[test]
    fn halves_are_written_rounded() {
        let mut halves = [f16::ZERO; 2];
        let tensor = argument(2, halves.as_mut_ptr(), 4, &[2]);
        // SAFETY: the array is alive and as long as the tensor says.
        unsafe { checked(&tensor).unwrap().write(&Array::from(vec![1.0_f32, 0.333_333])) }.unwrap();
        assert_eq!(halves, [f16::ONE, f16::from_f32(0.333_333)]);
    }
}
