//! Concepts as ONNX Runtime's `.onnx_adapter` files.
//!
//! Such a file names values for a model's optional inputs, so a host that knows adapters feeds
//! `infusion.delta` without any code of ours. It is a FlatBuffer; the schema is ONNX Runtime's
//! `onnxruntime/lora/adapter_format/adapter_schema.fbs`, format version 1:
//!
//! ```text
//! table Parameter { name: string; dims: [int64]; data_type: int32; raw_data: [uint8]; }
//! table Adapter { format_version: int; adapter_version: int; model_version: int; parameters: [Parameter]; }
//! file_identifier "TORT";
//! ```

use std::path::Path;

use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset, WIPOffset};
use half::f16;
use ndarray::{Array, Dimension};

use super::write::write_whole;
use super::{Error, Existing, Result};

const FORMAT_VERSION: i32 = 1;
const IDENTIFIER: &str = "TORT";

/// The float type of the graph that is to read the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FloatType {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits.
    F16,
}

impl FloatType {
    /// ONNX's number for the element type.
    fn code(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::F16 => 10,
        }
    }

    fn bits(self) -> usize {
        match self {
            Self::F32 => 32,
            Self::F16 => 16,
        }
    }

    fn holds(self, value: f32) -> bool {
        match self {
            Self::F32 => value.is_finite(),
            Self::F16 => f16::from_f32(value).is_finite(),
        }
    }

    fn bytes(self, values: impl Iterator<Item = f32>) -> Vec<u8> {
        match self {
            Self::F32 => values.flat_map(f32::to_le_bytes).collect(),
            Self::F16 => values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect(),
        }
    }
}

/// A value for an optional input of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    name: String,
    dims: Vec<i64>,
    data_type: i32,
    data: Vec<u8>,
}

impl Parameter {
    /// `values` for the input `name`, e.g. `infusion.delta` `[S, D]` or `infusion.mask` `[B, L, S]`.
    ///
    /// Fails where a value is beyond the range of `float`.
    pub fn new<D: Dimension>(name: &str, values: &Array<f32, D>, float: FloatType) -> Result<Self> {
        if let Some(value) = values.iter().find(|&&value| !float.holds(value)) {
            let reason = format!("{value} is not a number of {} bits", float.bits());
            return Err(Error::invalid("adapter", format!("parameter '{name}'"), reason));
        }
        Ok(Self {
            name: name.into(),
            dims: values.shape().iter().map(|&dim| dim as i64).collect(),
            data_type: float.code(),
            data: float.bytes(values.iter().copied()),
        })
    }
}

/// The bytes of an adapter file; `version` is the user's own number for it.
pub fn encode(parameters: &[Parameter], version: i32) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let parameters: Vec<_> = parameters.iter().map(|parameter| put(&mut builder, parameter)).collect();
    let parameters = builder.create_vector(&parameters);
    let table = builder.start_table();
    builder.push_slot_always(slot(0), FORMAT_VERSION);
    builder.push_slot_always(slot(1), version);
    builder.push_slot_always(slot(2), 1i32);
    builder.push_slot_always(slot(3), parameters);
    let adapter = builder.end_table(table);
    builder.finish(adapter, Some(IDENTIFIER));
    builder.finished_data().to_vec()
}

/// Writes an adapter file, under a temporary name first.
pub fn save(path: impl AsRef<Path>, parameters: &[Parameter], existing: Existing) -> Result<usize> {
    let bytes = encode(parameters, 1);
    write_whole(path.as_ref(), &bytes, existing)?;
    Ok(bytes.len())
}

fn put(builder: &mut FlatBufferBuilder, parameter: &Parameter) -> WIPOffset<TableFinishedWIPOffset> {
    let data = builder.create_vector(&parameter.data);
    let dims = builder.create_vector(&parameter.dims);
    let name = builder.create_string(&parameter.name);
    let table = builder.start_table();
    builder.push_slot_always(slot(0), name);
    builder.push_slot_always(slot(1), dims);
    builder.push_slot_always(slot(2), parameter.data_type);
    builder.push_slot_always(slot(3), data);
    builder.end_table(table)
}

/// The position of a table's n-th field in its vtable.
fn slot(field: u16) -> u16 {
    4 + 2 * field
}
