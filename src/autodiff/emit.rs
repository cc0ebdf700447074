use std::collections::HashMap;

use super::{Error, Result};
use crate::onnx::infer::{Dim, Shapes};
use crate::onnx::proto::TensorProto;
use crate::onnx::{DataType, Graph, NodeBuilder};

/// Writes nodes of the model's opset, and knows the shape of what it writes.
pub(super) struct Emit<'a> {
    pub graph: &'a mut Graph,
    pub shapes: &'a mut Shapes,
    pub opset: i64,
    constants: HashMap<(i32, Vec<i64>, Vec<u8>), String>,
    shape_tensors: HashMap<String, String>,
}

impl<'a> Emit<'a> {
    pub fn new(graph: &'a mut Graph, shapes: &'a mut Shapes, opset: i64) -> Self {
        Self { graph, shapes, opset, constants: HashMap::new(), shape_tensors: HashMap::new() }
    }

    /// Adds a node with one output and returns that output's name.
    pub fn node(&mut self, node: NodeBuilder) -> Result<String> {
        let mut node = node.build();
        let name = self.graph.fresh_name(&format!("infusion.grad/{}", node.op_type()));
        node.name = Some(name.clone());
        node.output = vec![name.clone()];
        self.shapes.add_node(&node, self.opset);
        self.graph.add(node)?;
        Ok(name)
    }

    /// Adds a node without attributes.
    pub fn op(&mut self, op_type: &str, inputs: &[&str]) -> Result<String> {
        self.node(NodeBuilder::new(op_type).inputs(inputs.iter().copied()))
    }

    /// The element type of a tensor; float where nothing is known.
    pub fn elem(&self, tensor: &str) -> Result<DataType> {
        self.shapes.elem_type(tensor).ok_or_else(|| Error::Unsupported {
            place: format!("tensor '{tensor}'"),
            reason: "its element type is unknown".to_owned(),
        })
    }

    fn constant(&mut self, elem: DataType, dims: Vec<i64>, bytes: Vec<u8>) -> Result<String> {
        let key = (elem as i32, dims.clone(), bytes.clone());
        if let Some(name) = self.constants.get(&key) {
            return Ok(name.clone());
        }
        let name = self.graph.fresh_name("infusion.grad/constant");
        let tensor = TensorProto {
            name: Some(name.clone()),
            dims,
            data_type: Some(elem as i32),
            raw_data: Some(bytes.into()),
            ..Default::default()
        };
        self.shapes.add_constant(&tensor);
        self.graph.add_initializer(tensor)?;
        self.constants.insert(key, name.clone());
        Ok(name)
    }

    /// A list of int64.
    pub fn ints(&mut self, values: &[i64]) -> Result<String> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(DataType::Int64, vec![values.len() as i64], bytes)
    }

    /// A scalar int64.
    pub fn int(&mut self, value: i64) -> Result<String> {
        self.constant(DataType::Int64, Vec::new(), value.to_le_bytes().to_vec())
    }

    /// A scalar of a float type.
    pub fn scalar(&mut self, value: f64, elem: DataType) -> Result<String> {
        let bytes = float_bytes(value, elem)?;
        self.constant(elem, Vec::new(), bytes)
    }

    /// A float tensor of `dims` filled with `value`.
    pub fn filled(&mut self, value: f64, elem: DataType, dims: &[i64]) -> Result<String> {
        let count = dims.iter().product::<i64>().max(0) as usize;
        let bytes = float_bytes(value, elem)?.repeat(count);
        self.constant(elem, dims.to_vec(), bytes)
    }

    /// `tensor · factor`.
    pub fn scale(&mut self, tensor: &str, factor: f64) -> Result<String> {
        let factor = self.scalar(factor, self.elem(tensor)?)?;
        self.op("Mul", &[tensor, &factor])
    }

    /// `tensor` as `elem`, itself if it is that already.
    pub fn cast(&mut self, tensor: &str, elem: DataType) -> Result<String> {
        if self.shapes.elem_type(tensor) == Some(elem) {
            return Ok(tensor.to_owned());
        }
        self.node(NodeBuilder::new("Cast").input(tensor).attr("to", elem as i64))
    }

    /// `tensor` in float32 where it has less precision: for sums over many elements.
    pub fn widened(&mut self, tensor: &str) -> Result<String> {
        match self.elem(tensor)? {
            DataType::Double => Ok(tensor.to_owned()),
            _ => self.cast(tensor, DataType::Float),
        }
    }

    /// A reduction over `axes`, with axes of extent 1 left in their place.
    pub fn reduce(&mut self, op_type: &str, tensor: &str, axes: &[i64]) -> Result<String> {
        let since = if op_type == "ReduceSum" { 13 } else { 18 };
        if self.opset < since {
            return self.node(NodeBuilder::new(op_type).input(tensor).attr("axes", axes.to_vec()).attr("keepdims", 1));
        }
        let axes = self.ints(axes)?;
        self.node(NodeBuilder::new(op_type).input(tensor).input(axes).attr("keepdims", 1))
    }

    /// `tensor` with its axes permuted.
    pub fn transpose(&mut self, tensor: &str, order: &[usize]) -> Result<String> {
        let order: Vec<i64> = order.iter().map(|&axis| axis as i64).collect();
        self.node(NodeBuilder::new("Transpose").input(tensor).attr("perm", order))
    }

    /// `tensor` of `rank` with its last two axes swapped.
    pub fn transpose_last(&mut self, tensor: &str, rank: usize) -> Result<String> {
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(rank - 1, rank - 2);
        self.transpose(tensor, &order)
    }

    /// The extents of `tensor`, as a tensor: a constant where they are known.
    pub fn shape_of(&mut self, tensor: &str) -> Result<String> {
        if let Some(shape) = self.shapes.known_shape(tensor) {
            return self.ints(&shape);
        }
        if let Some(name) = self.shape_tensors.get(tensor) {
            return Ok(name.clone());
        }
        let name = self.op("Shape", &[tensor])?;
        self.shape_tensors.insert(tensor.to_owned(), name.clone());
        Ok(name)
    }

    /// The extent of `tensor` along `axis`, as an int64 list of one.
    pub fn extent(&mut self, tensor: &str, axis: usize) -> Result<String> {
        if let Some(Dim::Known(extent)) = self.shapes.shape(tensor).and_then(|shape| shape.get(axis)) {
            let extent = *extent;
            return self.ints(&[extent]);
        }
        let shape = self.shape_of(tensor)?;
        let axis = self.ints(&[axis as i64])?;
        self.op("Gather", &[&shape, &axis])
    }

    /// `tensor` reshaped to constant extents, with ONNX's 0 and -1.
    pub fn reshape(&mut self, tensor: &str, dims: &[i64]) -> Result<String> {
        let dims = self.ints(dims)?;
        self.op("Reshape", &[tensor, &dims])
    }

    /// `tensor` in the shape of `like`, which has as many elements. The shape is written as
    /// a constant wherever possible, so that `like` need not be kept for it.
    pub fn reshape_like(&mut self, tensor: &str, like: &str) -> Result<String> {
        if self.shapes.same_shape(tensor, like) {
            return Ok(tensor.to_owned());
        }
        let dims = match self.shapes.shape(like) {
            Some(target) => constant_target(self.shapes.shape(tensor), target),
            None => None,
        };
        let shape = match dims {
            Some(dims) => self.ints(&dims)?,
            None => self.shape_of(like)?,
        };
        let reshaped = self.op("Reshape", &[tensor, &shape])?;
        if let (Some(elem), Some(target)) = (self.shapes.elem_type(tensor), self.shapes.shape(like)) {
            let target = target.to_vec();
            self.shapes.state(&reshaped, elem, target);
        }
        Ok(reshaped)
    }

    /// `tensor`, which has the shape that `target` was broadcast to, summed to `target`'s own.
    pub fn sum_to(&mut self, tensor: &str, target: &str) -> Result<String> {
        if self.shapes.same_shape(tensor, target) {
            return Ok(tensor.to_owned());
        }
        let (Some(from), Some(to)) = (self.shapes.shape(tensor), self.shapes.shape(target)) else {
            return Err(Error::Unsupported {
                place: format!("tensor '{target}'"),
                reason: "its rank is unknown, and it may have been broadcast".to_owned(),
            });
        };
        let Some(leading) = from.len().checked_sub(to.len()) else { return self.expand_like(tensor, target) };
        let mut axes: Vec<i64> = (0..leading as i64).collect();
        let mut open = false;
        let mut wider = false;
        for (axis, (from, to)) in from[leading..].iter().zip(to).enumerate() {
            match (from, to) {
                (Dim::Known(1), to) => wider |= *to != Dim::Known(1),
                (_, Dim::Known(1)) => axes.push((leading + axis) as i64),
                (_, Dim::Known(_)) => {}
                (from, to) => open |= !from.equals(to),
            }
        }
        if open {
            return self.sum_to_at_run_time(tensor, target, leading);
        }
        let mut summed = tensor.to_owned();
        if !axes.is_empty() {
            summed = self.reduce("ReduceSum", tensor, &axes)?;
        }
        if leading > 0 {
            summed = self.reshape_like(&summed, target)?;
        }
        if wider { self.expand_like(&summed, target) } else { Ok(summed) }
    }

    /// Sums over the axes whose extents turn out to differ.
    fn sum_to_at_run_time(&mut self, tensor: &str, target: &str, leading: usize) -> Result<String> {
        let from = self.shape_of(tensor)?;
        let to = self.shape_of(target)?;
        let ones = self.ints(&vec![1; leading])?;
        let aligned = match leading {
            0 => to.clone(),
            _ => self.node(NodeBuilder::new("Concat").inputs([ones, to.clone()]).attr("axis", 0))?,
        };
        let equal = self.op("Equal", &[&from, &aligned])?;
        let different = self.op("Not", &[&equal])?;
        let axes = self.op("NonZero", &[&different])?;
        let axes = self.reshape(&axes, &[-1])?;
        let sum = NodeBuilder::new("ReduceSum").inputs([tensor, &axes]);
        let sum = self.node(sum.attr("keepdims", 1).attr("noop_with_empty_axes", 1))?;
        let summed = self.op("Reshape", &[&sum, &to])?;
        let (elem, shape) = (self.elem(tensor)?, self.shapes.shape(target).map(<[Dim]>::to_vec));
        if let Some(shape) = shape {
            self.shapes.state(&summed, elem, shape);
        }
        Ok(summed)
    }

    /// `tensor` repeated along axes of extent 1 to the shape of `like`.
    pub fn expand_like(&mut self, tensor: &str, like: &str) -> Result<String> {
        if self.shapes.same_shape(tensor, like) {
            return Ok(tensor.to_owned());
        }
        let shape = self.shape_of(like)?;
        let expanded = self.op("Expand", &[tensor, &shape])?;
        if let (Some(elem), Some(target)) = (self.shapes.elem_type(tensor), self.shapes.shape(like)) {
            let target = target.to_vec();
            self.shapes.state(&expanded, elem, target);
        }
        Ok(expanded)
    }

    /// Zeros in the shape and type of `like`.
    pub fn zeros_like(&mut self, like: &str) -> Result<String> {
        let zero = self.scalar(0.0, self.elem(like)?)?;
        self.expand_like(&zero, like)
    }

    /// Part of `tensor` along one axis; bounds are int64 lists of one.
    pub fn slice(&mut self, tensor: &str, start: &str, end: &str, axis: usize) -> Result<String> {
        let axis = self.ints(&[axis as i64])?;
        self.op("Slice", &[tensor, start, end, &axis])
    }

    /// `tensor` with zeros before and after along one axis; amounts are int64 lists of one.
    pub fn pad(&mut self, tensor: &str, before: &str, after: &str, axis: usize) -> Result<String> {
        let rank = self.shapes.rank(tensor).unwrap_or(axis + 1);
        let lead = self.ints(&vec![0; axis])?;
        let between = self.ints(&vec![0; rank - 1])?;
        let tail = self.ints(&vec![0; rank - 1 - axis])?;
        let known = |name: &str| self.shapes.known_ints(name).filter(|ints| ints.len() == 1).map(|ints| ints[0]);
        let pads = match (known(before), known(after)) {
            (Some(before), Some(after)) => {
                let mut pads = vec![0; 2 * rank];
                pads[axis] = before;
                pads[rank + axis] = after;
                self.ints(&pads)?
            }
            _ => {
                let parts = [lead.as_str(), before, &between, after, &tail];
                let parts = parts.into_iter().filter(|part| self.shapes.known_shape(part) != Some(vec![0]));
                let concat = NodeBuilder::new("Concat").inputs(parts.map(str::to_owned).collect::<Vec<_>>());
                self.node(concat.attr("axis", 0))?
            }
        };
        let zero = self.scalar(0.0, self.elem(tensor)?)?;
        self.op("Pad", &[tensor, &pads, &zero])
    }
}

fn float_bytes(value: f64, elem: DataType) -> Result<Vec<u8>> {
    Ok(match elem {
        DataType::Float => (value as f32).to_le_bytes().to_vec(),
        DataType::Double => value.to_le_bytes().to_vec(),
        DataType::Float16 => half::f16::from_f64(value).to_le_bytes().to_vec(),
        DataType::Bfloat16 => half::bf16::from_f64(value).to_le_bytes().to_vec(),
        other => {
            let reason = format!("a gradient of type {} is no number", other.as_str_name().to_lowercase());
            return Err(Error::Unsupported { place: "constant".to_owned(), reason });
        }
    })
}

/// A `Reshape` target for `target`: 0 keeps an extent of `from`, one other may be open.
fn constant_target(from: Option<&[Dim]>, target: &[Dim]) -> Option<Vec<i64>> {
    let mut open = 0;
    let dims = target.iter().enumerate().map(|(axis, dim)| match dim {
        Dim::Known(0) => None,
        Dim::Known(extent) => Some(*extent),
        dim if from.and_then(|from| from.get(axis)).is_some_and(|own| own.equals(dim)) => Some(0),
        _ => {
            open += 1;
            Some(-1)
        }
    });
    let dims: Option<Vec<i64>> = dims.collect();
    dims.filter(|_| open <= 1)
}
