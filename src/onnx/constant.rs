use super::proto::TensorProto;
use super::weights::{element_type, inline_bytes, tensor_place};
use super::{Error, Graph, Result};

/// The element type of a tensor.
pub use super::proto::tensor_proto::DataType;

/// The integers of the constant `tensor` of `graph`; `None` if it is no constant.
///
/// # Errors
/// As [`tensor_ints`].
pub fn constant_ints(graph: &Graph, tensor: &str) -> Result<Option<Vec<i64>>> {
    graph.constant(tensor).map(tensor_ints).transpose()
}

/// The floats of the constant `tensor` of `graph`; `None` if it is no constant.
///
/// # Errors
/// As [`tensor_f32s`].
pub fn constant_f32s(graph: &Graph, tensor: &str) -> Result<Option<Vec<f32>>> {
    graph.constant(tensor).map(tensor_f32s).transpose()
}

/// The elements of an integer or boolean tensor inside the model file, in row-major order.
///
/// # Errors
/// Another element type, bytes that do not fit the type, or external data
/// ([`super::Model::tensor_ints`] reads that, too).
pub fn tensor_ints(tensor: &TensorProto) -> Result<Vec<i64>> {
    decode_ints(tensor, &inline_bytes(tensor)?)
}

/// The elements of a float tensor (float, float16, bfloat16, double) inside the model file as
/// `f32`, in row-major order.
///
/// # Errors
/// Another element type, bytes that do not fit the type, or external data
/// ([`super::Model::tensor_f32s`] reads that, too).
pub fn tensor_f32s(tensor: &TensorProto) -> Result<Vec<f32>> {
    decode_f32s(tensor, &inline_bytes(tensor)?)
}

pub(super) fn decode_ints(tensor: &TensorProto, bytes: &[u8]) -> Result<Vec<i64>> {
    match element_type(tensor)? {
        DataType::Int64 => words(tensor, bytes, i64::from_le_bytes),
        DataType::Int32 => words(tensor, bytes, |word| i32::from_le_bytes(word).into()),
        DataType::Int16 => words(tensor, bytes, |word| i16::from_le_bytes(word).into()),
        DataType::Int8 => words(tensor, bytes, |word| i8::from_le_bytes(word).into()),
        DataType::Uint32 => words(tensor, bytes, |word| u32::from_le_bytes(word).into()),
        DataType::Uint16 => words(tensor, bytes, |word| u16::from_le_bytes(word).into()),
        DataType::Uint8 | DataType::Bool => words(tensor, bytes, |[byte]| byte.into()),
        found => Err(wrong_type(tensor, found, "an integer type")),
    }
}

pub(super) fn decode_f32s(tensor: &TensorProto, bytes: &[u8]) -> Result<Vec<f32>> {
    use half::{bf16, f16};
    match element_type(tensor)? {
        DataType::Float => words(tensor, bytes, f32::from_le_bytes),
        DataType::Float16 => words(tensor, bytes, |word| f16::from_le_bytes(word).to_f32()),
        DataType::Bfloat16 => words(tensor, bytes, |word| bf16::from_le_bytes(word).to_f32()),
        DataType::Double => words(tensor, bytes, |word| f64::from_le_bytes(word) as f32),
        found => Err(wrong_type(tensor, found, "a float type")),
    }
}

fn words<const N: usize, T>(tensor: &TensorProto, bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
    let (words, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        let reason = format!("holds {} bytes, which is no multiple of {N}", bytes.len());
        return Err(Error::invalid(tensor_place(tensor), reason));
    }
    Ok(words.iter().map(|word| read(*word)).collect())
}

fn wrong_type(tensor: &TensorProto, found: DataType, wanted: &str) -> Error {
    let found = found.as_str_name().to_lowercase();
    Error::invalid(tensor_place(tensor), format!("has {found} elements where {wanted} is needed"))
}
