use half::f16;
use ndarray::{Array, ArrayD, Dimension, IxDyn};
use ort::session::SessionInputValue;
use ort::value::{DynValue, TensorElementType, TensorRef, TensorValueTypeMarker, Value};

use crate::onnx::DataType;

/// A value of any element type that diffusion models use.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Tensor {
    F32(ArrayD<f32>),
    F16(ArrayD<f16>),
    F64(ArrayD<f64>),
    I64(ArrayD<i64>),
    I32(ArrayD<i32>),
    I8(ArrayD<i8>),
    U8(ArrayD<u8>),
    Bool(ArrayD<bool>),
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ElementType {
    F32,
    F16,
    F64,
    I64,
    I32,
    I8,
    U8,
    Bool,
}

/// A Rust type that a [`Tensor`] can hold.
pub trait Element: Sized + Clone {
    /// Its name among the element types.
    const TYPE: ElementType;
    /// The array as a tensor, without copying.
    fn wrap(array: ArrayD<Self>) -> Tensor;
    /// The tensor's array, if it is of this type.
    fn of(tensor: &Tensor) -> Option<&ArrayD<Self>>;
    /// The tensor's array, if it is of this type; else the tensor again.
    fn from_tensor(tensor: Tensor) -> Result<ArrayD<Self>, Tensor>;
}

macro_rules! elements {
    ($($variant:ident $rust:ty, $ort:ident, $proto:ident, $name:literal;)*) => {
        $(impl Element for $rust {
            const TYPE: ElementType = ElementType::$variant;
            fn wrap(array: ArrayD<Self>) -> Tensor {
                Tensor::$variant(array)
            }
            fn of(tensor: &Tensor) -> Option<&ArrayD<Self>> {
                match tensor { Tensor::$variant(array) => Some(array), _ => None }
            }
            fn from_tensor(tensor: Tensor) -> Result<ArrayD<Self>, Tensor> {
                match tensor { Tensor::$variant(array) => Ok(array), other => Err(other) }
            }
        })*

        impl ElementType {
            pub(super) fn from_ort(element: TensorElementType) -> Option<Self> {
                match element { $(TensorElementType::$ort => Some(Self::$variant),)* _ => None }
            }

            pub(super) fn from_proto(element: DataType) -> Option<Self> {
                match element { $(DataType::$proto => Some(Self::$variant),)* _ => None }
            }

            pub(super) fn to_ort(self) -> TensorElementType {
                match self { $(Self::$variant => TensorElementType::$ort,)* }
            }

            /// The name that ONNX uses, e.g. `float16`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl Tensor {
            /// The type of the elements.
            pub fn element_type(&self) -> ElementType {
                match self { $(Self::$variant(_) => ElementType::$variant,)* }
            }

            /// The length of each axis.
            pub fn shape(&self) -> &[usize] {
                match self { $(Self::$variant(array) => array.shape(),)* }
            }

            /// A copy of `value`, which must lie in the host's memory.
            pub(super) fn copy_of<T: TensorValueTypeMarker>(value: &Value<T>) -> ort::Result<Self> {
                match value.data_type() {
                    $(TensorElementType::$ort => Ok(Self::$variant(value.try_extract_array::<$rust>()?.to_owned())),)*
                    other => Err(ort::Error::new(format!("elements of type {other} are not supported"))),
                }
            }

            /// The tensor with its elements in row-major order, which ONNX Runtime reads in place.
            pub(super) fn into_standard_layout(self) -> Self {
                match self { $(Self::$variant(array) => Self::$variant(standard(array)),)* }
            }

            pub(super) fn is_standard_layout(&self) -> bool {
                match self { $(Self::$variant(array) => array.is_standard_layout(),)* }
            }

            /// A value that borrows this tensor, which must be in standard layout.
            pub(super) fn borrowed(&self) -> ort::Result<SessionInputValue<'_>> {
                match self { $(Self::$variant(array) => Ok(TensorRef::from_array_view(array.view())?.into()),)* }
            }

            /// Writes the elements, in row-major order, to `target`; answers whether they lay in that order.
            ///
            /// # Safety
            /// `target` must be memory of the host with room for all elements.
            pub(super) unsafe fn write_to(&self, target: *mut std::ffi::c_void) -> bool {
                match self {
                    $(Self::$variant(array) => array.as_slice().map(|elements| {
                        // SAFETY: the caller vouches for the room.
                        unsafe { std::ptr::copy_nonoverlapping(elements.as_ptr(), target.cast(), elements.len()) }
                    }).is_some(),)*
                }
            }

            /// A copy of elements in row-major order.
            ///
            /// # Safety
            /// `source` must be memory of the host that holds as many elements of this type as `shape` says.
            pub(super) unsafe fn read_from(
                source: *const std::ffi::c_void,
                element_type: ElementType,
                shape: &[usize],
            ) -> Option<Self> {
                let count = shape.iter().product();
                match element_type {
                    $(ElementType::$variant => {
                        // SAFETY: the caller vouches for the elements.
                        let elements = unsafe { std::slice::from_raw_parts(source.cast::<$rust>(), count) };
                        ArrayD::from_shape_vec(IxDyn(shape), elements.to_vec()).ok().map(Self::$variant)
                    })*
                }
            }

            /// A value that owns a copy of this tensor.
            pub(super) fn owned(&self) -> ort::Result<DynValue> {
                match self { $(Self::$variant(array) => Ok(ort::value::Tensor::from_array(standard(array.clone()))?.into_dyn()),)* }
            }
        }
    };
}

elements! {
    F32 f32, Float32, Float, "float32";
    F16 f16, Float16, Float16, "float16";
    F64 f64, Float64, Double, "float64";
    I64 i64, Int64, Int64, "int64";
    I32 i32, Int32, Int32, "int32";
    I8 i8, Int8, Int8, "int8";
    U8 u8, Uint8, Uint8, "uint8";
    Bool bool, Bool, Bool, "bool";
}

fn standard<T: Clone>(array: ArrayD<T>) -> ArrayD<T> {
    if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() }
}

impl<T: Element, D: Dimension> From<Array<T, D>> for Tensor {
    fn from(array: Array<T, D>) -> Self {
        T::wrap(array.into_dyn())
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

impl ElementType {
    /// Bytes of one element.
    pub fn byte_width(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether elements are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::F64)
    }
}

impl Tensor {
    /// One number as a tensor with `shape`.
    pub fn filled(shape: &[usize], element_type: ElementType, value: f64) -> Self {
        Self::F64(ArrayD::from_elem(IxDyn(shape), value)).cast(element_type)
    }

    /// The elements as `f32`; no copy if they are that already.
    pub fn into_f32(self) -> ArrayD<f32> {
        match self.cast(ElementType::F32) {
            Self::F32(array) => array,
            _ => unreachable!("cast returns the type asked for"),
        }
    }

    /// The tensor with elements of another type, rounded where that is narrower.
    pub fn cast(self, to: ElementType) -> Self {
        if self.element_type() == to {
            return self;
        }
        match self {
            Self::F32(array) => from_f32(array, to),
            Self::F16(array) => from_f32(array.mapv(f16::to_f32), to),
            Self::F64(array) => from_f64(array, to),
            Self::I64(array) => from_f64(array.mapv(|x| x as f64), to),
            Self::I32(array) => from_f64(array.mapv(f64::from), to),
            Self::I8(array) => from_f64(array.mapv(f64::from), to),
            Self::U8(array) => from_f64(array.mapv(f64::from), to),
            Self::Bool(array) => from_f64(array.mapv(|x| f64::from(u8::from(x))), to),
        }
    }
}

fn from_f32(array: ArrayD<f32>, to: ElementType) -> Tensor {
    match to {
        ElementType::F32 => Tensor::F32(array),
        ElementType::F16 => Tensor::F16(array.mapv(f16::from_f32)),
        _ => from_f64(array.mapv(f64::from), to),
    }
}

fn from_f64(array: ArrayD<f64>, to: ElementType) -> Tensor {
    match to {
        ElementType::F32 => Tensor::F32(array.mapv(|x| x as f32)),
        ElementType::F16 => Tensor::F16(array.mapv(f16::from_f64)),
        ElementType::F64 => Tensor::F64(array),
        ElementType::I64 => Tensor::I64(array.mapv(|x| x.round() as i64)),
        ElementType::I32 => Tensor::I32(array.mapv(|x| x.round() as i32)),
        ElementType::I8 => Tensor::I8(array.mapv(|x| x.round() as i8)),
        ElementType::U8 => Tensor::U8(array.mapv(|x| x.round() as u8)),
        ElementType::Bool => Tensor::Bool(array.mapv(|x| x != 0.0)),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{arr1, arr2};

    use super::*;

    #[test]
    fn casts_keep_shape_and_round() {
        let tensor = Tensor::from(arr2(&[[1.4_f32, -2.6], [0.0, 300.0]]));
        let ints = tensor.clone().cast(ElementType::I64);
        assert_eq!(ints, Tensor::from(arr2(&[[1_i64, -3], [0, 300]])));
        assert_eq!(tensor.clone().cast(ElementType::Bool), Tensor::from(arr2(&[[true, true], [false, true]])));
        assert_eq!(tensor.clone().cast(ElementType::F16).into_f32().shape(), [2, 2]);
        assert_eq!(tensor.clone().cast(ElementType::F32), tensor);
    }

    #[test]
    fn large_timesteps_survive_in_half() {
        assert_eq!(Tensor::from(arr1(&[999_i64])).cast(ElementType::F16).into_f32()[[0]], 999.0);
    }

    #[test]
    fn a_transposed_array_is_laid_out_anew() {
        let transposed = arr2(&[[1_i32, 2, 3], [4, 5, 6]]).reversed_axes();
        let tensor = Tensor::from(transposed);
        assert!(!tensor.is_standard_layout());
        let standard = tensor.clone().into_standard_layout();
        assert!(standard.is_standard_layout());
        assert_eq!(standard, tensor);
    }
}
