use std::fmt;

use ort::value::ValueType;

use super::{ElementType, Tensor};
use crate::onnx::DataType;
use crate::onnx::proto::tensor_shape_proto::dimension;
use crate::onnx::proto::{ValueInfoProto, type_proto};

/// One axis of an input or output as the model declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// A fixed length.
    Fixed(usize),
    /// Any length, under the name that the model gives it; the same name means the same length.
    Symbolic(String),
}

/// What a model says of one of its inputs or outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub element_type: ElementType,
    /// Its axes; none for a scalar.
    pub dims: Vec<Dim>,
    /// Whether it is an input with a default, so that it need not be fed.
    pub optional: bool,
}

impl TensorSpec {
    pub(super) fn from_ort(name: &str, dtype: &ValueType, optional: bool) -> Result<Self, String> {
        let ValueType::Tensor { ty, shape, dimension_symbols } = dtype else {
            return Err("is a sequence or map, and only tensors are supported".to_owned());
        };
        let element_type =
            ElementType::from_ort(*ty).ok_or_else(|| format!("has elements of type {ty}, which are not supported"))?;
        let dims = shape.iter().enumerate().map(|(axis, &length)| match usize::try_from(length) {
            Ok(length) => Dim::Fixed(length),
            Err(_) => Dim::Symbolic(dimension_symbols.get(axis).cloned().unwrap_or_default()),
        });
        Ok(Self { name: name.to_owned(), element_type, dims: dims.collect(), optional })
    }

    /// What a model's file says of an input.
    pub(super) fn from_proto(input: &ValueInfoProto, optional: bool) -> Result<Self, String> {
        let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|it| it.value.as_ref()) else {
            return Err("is no tensor".to_owned());
        };
        let number = tensor.elem_type();
        let element_type = DataType::try_from(number).ok().and_then(ElementType::from_proto);
        let element_type =
            element_type.ok_or_else(|| format!("has elements of type {number}, which are not supported"))?;
        let dims = tensor.shape.iter().flat_map(|shape| &shape.dim).map(|dim| match &dim.value {
            Some(dimension::Value::DimValue(length)) if *length >= 0 => Dim::Fixed(*length as usize),
            Some(dimension::Value::DimParam(name)) => Dim::Symbolic(name.clone()),
            _ => Dim::Symbolic(String::new()),
        });
        Ok(Self { name: input.name().to_owned(), element_type, dims: dims.collect(), optional })
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// The length of `axis`, if the model fixes it.
    pub fn fixed(&self, axis: usize) -> Option<usize> {
        match self.dims.get(axis) {
            Some(Dim::Fixed(length)) => Some(*length),
            _ => None,
        }
    }

    /// Why `tensor` cannot be fed here, if it cannot.
    pub fn mismatch(&self, element_type: ElementType, shape: &[usize]) -> Option<String> {
        if element_type != self.element_type {
            return Some(format!("is {}, and {element_type} was given", self.element_type));
        }
        let agrees = shape.len() == self.rank()
            && self.dims.iter().zip(shape).all(|(dim, &length)| match dim {
                Dim::Fixed(fixed) => *fixed == length,
                Dim::Symbolic(_) => true,
            });
        (!agrees).then(|| format!("has shape {}, and {shape:?} was given", self.shape_text()))
    }

    /// Why `tensor` cannot be fed here, if it cannot.
    pub fn refuses(&self, tensor: &Tensor) -> Option<String> {
        self.mismatch(tensor.element_type(), tensor.shape())
    }

    fn shape_text(&self) -> String {
        let axes = self.dims.iter().map(|dim| match dim {
            Dim::Fixed(length) => length.to_string(),
            Dim::Symbolic(name) if name.is_empty() => "?".to_owned(),
            Dim::Symbolic(name) => name.clone(),
        });
        format!("[{}]", axes.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} {}", self.name, self.element_type, self.shape_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_does_not_fit() {
        let spec = TensorSpec {
            name: "sample".to_owned(),
            element_type: ElementType::F32,
            dims: vec![Dim::Symbolic("batch".to_owned()), Dim::Fixed(4)],
            optional: false,
        };
        assert_eq!(spec.mismatch(ElementType::F32, &[7, 4]), None);
        assert_eq!(spec.mismatch(ElementType::F16, &[7, 4]).unwrap(), "is float32, and float16 was given");
        assert_eq!(spec.mismatch(ElementType::F32, &[7, 5]).unwrap(), "has shape [batch, 4], and [7, 5] was given");
        assert_eq!(spec.to_string(), "sample: float32 [batch, 4]");
    }
}
