//! Where the bytes of a tensor are, and how to get at them without copying.
//!
//! ONNX keeps them in one of three places: `raw_data` (a slice of the mapped
//! model file), `external_data` (a file beside the model, mapped when first
//! asked for), or typed fields such as `float_data` (in memory, after decoding).

use std::collections::HashMap;
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use memmap2::Mmap;

use super::constant::{decode_f32s, decode_ints};
use super::proto::TensorProto;
use super::proto::tensor_proto::DataLocation;
use super::{DataType, Error, Model, Result};

/// Where the bytes of a tensor are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightSource {
    /// In the model file itself.
    ModelFile {
        /// Bytes from the start of the file.
        offset: u64,
        /// Bytes of the tensor.
        length: u64,
    },
    /// In another file.
    External(ExternalData),
    /// In memory only: typed fields, or a tensor made by an edit.
    Memory,
}

/// What a tensor's `external_data` entries say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalData {
    /// The file, relative to the model's folder, as the model spells it.
    pub location: String,
    /// Bytes from the start of that file.
    pub offset: u64,
    /// Bytes of the tensor; the rest of the file where absent.
    pub length: Option<u64>,
}

/// The external files of a model, each mapped once and kept.
#[derive(Debug, Default)]
pub(super) struct ExternalFiles(Mutex<HashMap<PathBuf, Bytes>>);

impl ExternalFiles {
    fn map(&self, path: &Path) -> Result<Bytes> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = files.get(path) {
            return Ok(bytes.clone());
        }
        let bytes = Bytes::from_owner(map_file(path)?);
        files.insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

/// Maps the regular file at `path` for reading.
pub(super) fn map_file(path: &Path) -> Result<Mmap> {
    let failed = |source| Error::io(path, source);
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("is not a regular file")));
    }
    let file = File::open(path).map_err(failed)?;
    // SAFETY: the map is read-only; a file that another process cuts short meanwhile is
    // outside of what any reader of mapped files can defend against.
    unsafe { Mmap::map(&file) }.map_err(failed)
}

impl Model {
    /// Where the bytes of `tensor`, one of this model's, are.
    ///
    /// # Errors
    /// External data that lacks a location or has one that leaves the model's folder.
    pub fn weight_source(&self, tensor: &TensorProto) -> Result<WeightSource> {
        if let Some(external) = external_data(tensor)? {
            return Ok(WeightSource::External(external));
        }
        let inside = tensor.raw_data.as_ref().zip(self.mapped()).and_then(|(raw, map)| {
            let offset = (raw.as_ptr() as usize).checked_sub(map.as_ptr() as usize)?;
            (offset.checked_add(raw.len())? <= map.len()).then_some((offset as u64, raw.len() as u64))
        });
        Ok(inside.map_or(WeightSource::Memory, |(offset, length)| WeightSource::ModelFile { offset, length }))
    }

    /// The little-endian bytes of `tensor`, wherever the model keeps them. Nothing is copied
    /// but what sits in typed fields.
    ///
    /// # Errors
    /// External data that is missing, too short, or outside of the model's folder; strings.
    pub fn tensor_bytes(&self, tensor: &TensorProto) -> Result<Bytes> {
        let Some(external) = external_data(tensor)? else { return inline_bytes(tensor) };
        let path = self.external_path(tensor, &external)?;
        let file = self.external.map(&path).map_err(|error| unreadable(tensor, &error))?;
        let range = external.range(tensor, &path, file.len() as u64)?;
        Ok(file.slice(range))
    }

    /// The elements of any float tensor as `f32`, in row-major order.
    ///
    /// # Errors
    /// As [`Model::tensor_bytes`]; another element type.
    pub fn tensor_f32s(&self, tensor: &TensorProto) -> Result<Vec<f32>> {
        decode_f32s(tensor, &self.tensor_bytes(tensor)?)
    }

    /// The elements of any integer or boolean tensor, in row-major order.
    ///
    /// # Errors
    /// As [`Model::tensor_bytes`]; another element type.
    pub fn tensor_ints(&self, tensor: &TensorProto) -> Result<Vec<i64>> {
        decode_ints(tensor, &self.tensor_bytes(tensor)?)
    }

    /// The file that `external` of `tensor` names; links are followed when it is read.
    pub(super) fn external_path(&self, tensor: &TensorProto, external: &ExternalData) -> Result<PathBuf> {
        let Some(model) = self.path() else {
            let reason = format!("its data is in '{}', but the model was not read from a file", external.location);
            return Err(Error::invalid(tensor_place(tensor), reason));
        };
        Ok(folder_of(model).join(&external.location))
    }
}

impl ExternalData {
    /// The bytes of a file of `size` bytes at `path` that are `tensor`'s.
    pub(super) fn range(&self, tensor: &TensorProto, path: &Path, size: u64) -> Result<std::ops::Range<usize>> {
        let end = match self.length {
            Some(length) => self.offset.checked_add(length),
            None => self.offset.checked_add(tensor_size(tensor)?),
        };
        match end {
            Some(end) if end <= size => Ok(self.offset as usize..end as usize),
            _ => {
                let (file, offset) = (path.display(), self.offset);
                let reason = match self.length {
                    Some(length) => {
                        format!("its data, {length} bytes at {offset}, passes the end of '{file}' ({size} bytes)")
                    }
                    None => format!("its data at {offset} passes the end of '{file}' ({size} bytes)"),
                };
                Err(Error::invalid(tensor_place(tensor), reason))
            }
        }
    }
}

/// The folder a file is in; `.` for a bare name.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What `external_data` of `tensor` says, if its data is external.
///
/// # Errors
/// No location, one that leaves the model's folder, or numbers that are none.
pub fn external_data(tensor: &TensorProto) -> Result<Option<ExternalData>> {
    if tensor.data_location() != DataLocation::External {
        return Ok(None);
    }
    let value = |key: &str| tensor.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value());
    let number = |key: &str| {
        let wrong = |value: &str| format!("its external data has the {key} '{value}', which is no number of bytes");
        let parsed = value(key).map(|text| text.parse::<u64>().map_err(|_| wrong(text)));
        parsed.transpose().map_err(|reason| Error::invalid(tensor_place(tensor), reason))
    };
    let location = value("location").unwrap_or_default();
    if !stays_inside(location) {
        let reason = match location {
            "" => "its data is external, but no location is given".to_owned(),
            _ => format!("its external data is in '{location}', outside of the model's folder"),
        };
        return Err(Error::invalid(tensor_place(tensor), reason));
    }
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    Ok(Some(ExternalData { location: location.to_owned(), offset, length }))
}

fn stays_inside(location: &str) -> bool {
    let mut parts = Path::new(location).components().peekable();
    parts.peek().is_some()
        && !location.contains('\0')
        && parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The bytes of a tensor that is not external.
pub(super) fn inline_bytes(tensor: &TensorProto) -> Result<Bytes> {
    if let Some(external) = external_data(tensor)? {
        let reason = format!("its data is in '{}', which needs the model to be read", external.location);
        return Err(Error::invalid(tensor_place(tensor), reason));
    }
    match &tensor.raw_data {
        Some(raw) => Ok(raw.clone()),
        None => typed_bytes(tensor),
    }
}

/// `float_data` and its siblings as the bytes `raw_data` would hold.
fn typed_bytes(tensor: &TensorProto) -> Result<Bytes> {
    use DataType::*;
    fn collect<T, const N: usize>(values: &[T], bytes: impl Fn(&T) -> [u8; N]) -> Bytes {
        values.iter().flat_map(bytes).collect::<Vec<u8>>().into()
    }
    Ok(match element_type(tensor)? {
        Float | Complex64 => collect(&tensor.float_data, |x| x.to_le_bytes()),
        Double | Complex128 => collect(&tensor.double_data, |x| x.to_le_bytes()),
        Int64 => collect(&tensor.int64_data, |i| i.to_le_bytes()),
        Uint64 => collect(&tensor.uint64_data, |i| i.to_le_bytes()),
        Uint32 => collect(&tensor.uint64_data, |i| (*i as u32).to_le_bytes()),
        Int32 => collect(&tensor.int32_data, |i| i.to_le_bytes()),
        Int16 | Uint16 | Float16 | Bfloat16 => collect(&tensor.int32_data, |i| (*i as u16).to_le_bytes()),
        Undefined | String => return Err(Error::unsupported(tensor_place(tensor), "it has no elements of fixed size")),
        _ => collect(&tensor.int32_data, |i| [*i as u8]),
    })
}

/// How messages name a tensor: `tensor 'name'`.
pub(super) fn tensor_place(tensor: &TensorProto) -> String {
    format!("tensor '{}'", tensor.name())
}

/// The element type of `tensor`.
///
/// # Errors
/// A number that ONNX 1.23 does not define.
pub fn element_type(tensor: &TensorProto) -> Result<DataType> {
    DataType::try_from(tensor.data_type()).map_err(|_| {
        Error::unsupported(tensor_place(tensor), format!("its element type {} is unknown", tensor.data_type()))
    })
}

/// How many elements `tensor` has by its dims.
///
/// # Errors
/// A negative dim, or more elements than 64 bits count.
pub fn element_count(tensor: &TensorProto) -> Result<u64> {
    let count = tensor.dims.iter().try_fold(1u64, |count, &dim| count.checked_mul(u64::try_from(dim).ok()?));
    count.ok_or_else(|| Error::invalid(tensor_place(tensor), format!("has the impossible dims {:?}", tensor.dims)))
}

/// How many bytes `tensor` has by its dims and element type.
///
/// # Errors
/// As [`element_count`] and [`element_type`]; strings.
pub fn tensor_size(tensor: &TensorProto) -> Result<u64> {
    let Some(bits) = element_bits(element_type(tensor)?) else {
        return Err(Error::unsupported(tensor_place(tensor), "it has no elements of fixed size"));
    };
    let bits = element_count(tensor)?.checked_mul(bits);
    let bits = bits.ok_or_else(|| Error::invalid(tensor_place(tensor), format!("has huge dims {:?}", tensor.dims)))?;
    Ok(bits.div_ceil(8))
}

/// The bits an element takes; none for strings and the undefined type.
pub(super) fn element_bits(element: DataType) -> Option<u64> {
    use DataType::*;
    Some(match element {
        Undefined | String => return None,
        Uint2 | Int2 => 2,
        Uint4 | Int4 | Float4e2m1 => 4,
        Float6e2m3 | Float6e3m2 => 6,
        Uint8 | Int8 | Bool | Float8e4m3fn | Float8e4m3fnuz | Float8e5m2 | Float8e5m2fnuz | Float8e8m0 => 8,
        Uint16 | Int16 | Float16 | Bfloat16 => 16,
        Float | Int32 | Uint32 => 32,
        Double | Int64 | Uint64 | Complex64 => 64,
        Complex128 => 128,
    })
}

/// An error of reading the file that holds `tensor`.
pub(super) fn unreadable(tensor: &TensorProto, error: &Error) -> Error {
    Error::invalid(tensor_place(tensor), format!("its external data cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::proto::{GraphProto, ModelProto, StringStringEntryProto};

    fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> TensorProto {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
            key: Some((*key).to_owned()),
            value: Some((*value).to_owned()),
        };
        TensorProto {
            name: Some(name.to_owned()),
            dims: dims.to_vec(),
            data_type: Some(DataType::Float as i32),
            data_location: Some(DataLocation::External as i32),
            external_data: entries.iter().map(entry).collect(),
            ..Default::default()
        }
    }

    fn raw(name: &str, values: &[f32]) -> TensorProto {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        TensorProto {
            name: Some(name.to_owned()),
            dims: vec![values.len() as i64],
            data_type: Some(DataType::Float as i32),
            raw_data: Some(bytes.into()),
            ..Default::default()
        }
    }

    fn written(folder: &Path, tensors: Vec<TensorProto>) -> Model {
        let graph = GraphProto { initializer: tensors, ..Default::default() };
        let model = ModelProto {
            ir_version: Some(8),
            opset_import: vec![crate::onnx::proto::OperatorSetIdProto { domain: None, version: Some(17) }],
            graph: Some(graph),
            ..Default::default()
        };
        let path = folder.join("model.onnx");
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        Model::open(path).unwrap()
    }

    #[test]
    fn raw_data_is_found_in_the_mapped_file() {
        let folder = tempfile::tempdir().unwrap();
        let model = written(folder.path(), vec![raw("a", &[1.0, 2.0]), raw("b", &[3.0, 4.0, 5.0])]);
        let tensor = &model.graph.initializers()["b"];
        let WeightSource::ModelFile { offset, length } = model.weight_source(tensor).unwrap() else {
            panic!("not in the file");
        };
        let file = std::fs::read(model.path().unwrap()).unwrap();
        assert_eq!(&file[offset as usize..(offset + length) as usize], &tensor.raw_data.as_ref().unwrap()[..]);
        assert_eq!(model.tensor_f32s(tensor).unwrap(), [3.0, 4.0, 5.0]);
        assert_eq!(model.weight_source(&raw("c", &[1.0])).unwrap(), WeightSource::Memory);
    }

    #[test]
    fn external_data_is_read_at_its_offset_and_without_a_length() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = [1f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(folder.path().join("weights.pb"), bytes).unwrap();
        let tensors = vec![
            external("a", &[2], &[("location", "weights.pb"), ("offset", "4"), ("length", "8")]),
            external("b", &[4], &[("location", "weights.pb")]),
        ];
        let model = written(folder.path(), tensors);
        assert_eq!(model.tensor_f32s(&model.graph.initializers()["a"]).unwrap(), [2.0, 3.0]);
        assert_eq!(model.tensor_f32s(&model.graph.initializers()["b"]).unwrap(), [1.0, 2.0, 3.0, 4.0]);
        let error = super::super::tensor_f32s(&model.graph.initializers()["a"]).unwrap_err().to_string();
        assert!(error.contains("weights.pb"), "{error}");
    }

    #[test]
    fn typed_fields_give_the_bytes_of_raw_data() {
        let half = TensorProto {
            dims: vec![2],
            data_type: Some(DataType::Float16 as i32),
            int32_data: vec![0x3c00, 0xc000],
            ..Default::default()
        };
        assert_eq!(decode_f32s(&half, &inline_bytes(&half).unwrap()).unwrap(), [1.0, -2.0]);
        let bytes = TensorProto {
            dims: vec![2],
            data_type: Some(DataType::Int8 as i32),
            int32_data: vec![-1, 7],
            ..Default::default()
        };
        assert_eq!(decode_ints(&bytes, &inline_bytes(&bytes).unwrap()).unwrap(), [-1, 7]);
    }

    #[test]
    fn data_outside_of_the_folder_is_refused() {
        for location in ["", "/etc/passwd", "../weights.pb", "a/../../weights.pb"] {
            let error = external_data(&external("w", &[1], &[("location", location)])).unwrap_err().to_string();
            assert!(error.contains("'w'"), "{error}");
        }
        assert!(external_data(&external("w", &[1], &[("location", "data/w.bin")])).unwrap().is_some());
    }

    #[test]
    fn sizes_are_counted_without_overflow() {
        let sized = |dims: &[i64], ty: DataType| {
            let tensor = TensorProto { dims: dims.to_vec(), data_type: Some(ty as i32), ..Default::default() };
            tensor_size(&tensor)
        };
        assert_eq!(sized(&[3, 3], DataType::Uint4).unwrap(), 5);
        assert_eq!(sized(&[], DataType::Double).unwrap(), 8);
        assert!(sized(&[i64::MAX, 2], DataType::Uint8).is_err());
        assert!(sized(&[i64::MAX], DataType::Double).is_err());
        assert!(sized(&[-1], DataType::Float).is_err());
        assert!(sized(&[i64::MAX, i64::MAX, 0], DataType::Float).is_err());
    }
}
