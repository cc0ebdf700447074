//! Graph inputs and outputs.

use crate::onnx::DataType;
use crate::onnx::proto::tensor_shape_proto::Dimension;
use crate::onnx::proto::tensor_shape_proto::dimension::Value;
use crate::onnx::proto::type_proto::{Tensor, Value as TypeValue};
use crate::onnx::proto::{TensorShapeProto, TypeProto, ValueInfoProto};

/// An extent of a graph input or output.
#[derive(Clone, Debug)]
pub enum Extent<'a> {
    /// A number.
    Fixed(usize),
    /// A name for what may change.
    Free(&'a str),
}

/// The graph input or output `name`.
pub fn value_info(name: &str, elem: DataType, extents: &[Extent]) -> ValueInfoProto {
    let dimension = |extent: &Extent| Dimension {
        denotation: None,
        value: Some(match extent {
            Extent::Fixed(size) => Value::DimValue(*size as i64),
            Extent::Free(symbol) => Value::DimParam((*symbol).to_owned()),
        }),
    };
    let shape = TensorShapeProto { dim: extents.iter().map(dimension).collect() };
    let tensor = Tensor { elem_type: Some(elem as i32), shape: Some(shape) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { denotation: None, value: Some(TypeValue::TensorType(tensor)) }),
        ..Default::default()
    }
}

/// The extents that `value` states, for editing.
pub fn dimensions_mut(value: &mut ValueInfoProto) -> Option<&mut Vec<Dimension>> {
    match value.r#type.as_mut()?.value.as_mut()? {
        TypeValue::TensorType(tensor) => tensor.shape.as_mut().map(|shape| &mut shape.dim),
        _ => None,
    }
}
