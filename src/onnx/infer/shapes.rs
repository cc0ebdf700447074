use std::collections::HashMap;

use super::Dim;
use super::engine::outputs_of;
use super::site::Fact;
use crate::onnx::DataType;
use crate::onnx::proto::{NodeProto, TensorProto};

/// What [`infer`](super::infer) found out about a model's tensors.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    pub(super) facts: HashMap<String, Fact>,
}

impl Shapes {
    /// The extents of `tensor`, if its rank is known.
    pub fn shape(&self, tensor: &str) -> Option<&[Dim]> {
        self.facts.get(tensor)?.shape.as_deref()
    }

    /// The number of axes of `tensor`.
    pub fn rank(&self, tensor: &str) -> Option<usize> {
        self.shape(tensor).map(<[Dim]>::len)
    }

    /// The extent of `tensor` along `axis`, which counts from the end if negative.
    pub fn dim(&self, tensor: &str, axis: i64) -> Option<&Dim> {
        let shape = self.shape(tensor)?;
        let axis = if axis < 0 { axis.checked_add(shape.len() as i64)? } else { axis };
        shape.get(usize::try_from(axis).ok()?)
    }

    /// The extents of `tensor`, if all are numbers.
    pub fn known_shape(&self, tensor: &str) -> Option<Vec<i64>> {
        self.shape(tensor)?.iter().map(Dim::known).collect()
    }

    /// The element type of `tensor`.
    pub fn elem_type(&self, tensor: &str) -> Option<DataType> {
        self.facts.get(tensor)?.elem
    }

    /// The elements of the small integer (or bool, as 0 and 1) tensor `tensor`, in row-major order.
    pub fn ints(&self, tensor: &str) -> Option<&[Dim]> {
        let fact = self.facts.get(tensor)?;
        let integral = matches!(fact.elem?, DataType::Int64 | DataType::Int32 | DataType::Bool);
        fact.value.as_deref().filter(|_| integral)
    }

    /// The elements of `tensor`, if all are numbers.
    pub fn known_ints(&self, tensor: &str) -> Option<Vec<i64>> {
        self.ints(tensor)?.iter().map(Dim::known).collect()
    }

    /// Whether both have the same shape for all sizes the model may be run with.
    pub fn same_shape(&self, a: &str, b: &str) -> bool {
        match (self.shape(a), self.shape(b)) {
            (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b)),
            _ => false,
        }
    }

    /// States the type and extents of a tensor that was added after inference.
    pub fn state(&mut self, tensor: &str, elem: DataType, shape: Vec<Dim>) {
        self.facts.insert(tensor.to_owned(), Fact::new(Some(elem), Some(shape)));
    }

    /// Learns about a constant that was added after inference.
    pub fn add_constant(&mut self, tensor: &TensorProto) {
        self.facts.insert(tensor.name().to_owned(), Fact::of_tensor(tensor));
    }

    /// Infers the outputs of a node that was added after inference, of a domain at version `opset`.
    pub fn add_node(&mut self, node: &NodeProto, opset: i64) {
        let outputs = outputs_of(node, opset, &self.facts);
        let mut outputs = outputs.into_iter();
        for name in &node.output {
            let fact = outputs.next().unwrap_or_default();
            if !name.is_empty() {
                self.facts.insert(name.clone(), fact);
            }
        }
    }
}
