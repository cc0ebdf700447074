use super::layout::{Axis, Layout, Sizes};
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::{DataType, Graph, Model, NodeBuilder, Result};

/// Draws nodes into a graph; every method answers with the name of the tensor it made.
pub struct Sketch<'m> {
    /// The graph drawn into.
    pub graph: &'m mut Graph,
    opset: i64,
    scope: String,
}

impl<'m> Sketch<'m> {
    /// Draws into `model`; new tensors and nodes are called `infusion.…`.
    pub fn new(model: &'m mut Model) -> Self {
        let opset = model.opset("").unwrap_or(17);
        Self { graph: &mut model.graph, opset, scope: "infusion".to_owned() }
    }

    /// Names what follows after layer `index`.
    pub fn enter_layer(&mut self, index: usize) {
        self.scope = format!("infusion.{index}");
    }

    /// Names what follows after no layer.
    pub fn leave_layer(&mut self) {
        self.scope = "infusion".to_owned();
    }

    /// Adds `node` with one new output called after `stem`.
    pub fn draw(&mut self, stem: &str, node: NodeBuilder) -> Result<String> {
        let name = self.graph.fresh_name(&format!("{}.{stem}", self.scope));
        self.draw_as(&name, node)
    }

    /// Adds `node` with one new output called `name`.
    pub fn draw_as(&mut self, name: &str, node: NodeBuilder) -> Result<String> {
        self.graph.add(node.name(name).output(name).build())?;
        Ok(name.to_owned())
    }

    /// Adds a copy of `node` with other inputs and new names for its outputs; answers with those.
    pub fn copy(&mut self, node: &NodeProto, inputs: Vec<String>) -> Result<Vec<String>> {
        let mut copy = node.clone();
        copy.input = inputs;
        for output in copy.output.iter_mut().filter(|name| !name.is_empty()) {
            *output = self.graph.fresh_name(&format!("{}{}", self.scope, slashed(output)));
        }
        copy.name = Some(copy.output.first().cloned().unwrap_or_default());
        let outputs = copy.output.clone();
        self.graph.add(copy)?;
        Ok(outputs)
    }

    /// A constant vector; equal ones are made once.
    pub fn ints(&mut self, values: &[i64]) -> Result<String> {
        let listed = values.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        self.constant(longs(&format!("infusion.ints.{listed}"), values))
    }

    /// A constant float scalar; equal ones are made once.
    pub fn float(&mut self, value: f32, elem: DataType) -> Result<String> {
        self.constant(filled(&format!("infusion.{}.{value}", elem.as_str_name().to_lowercase()), &[], value, elem))
    }

    fn constant(&mut self, tensor: TensorProto) -> Result<String> {
        match self.graph.initializers().contains_key(tensor.name()) {
            true => Ok(tensor.name().to_owned()),
            false => self.graph.add_initializer(tensor),
        }
    }

    /// `x` with other extents; 0 keeps one, -1 takes the rest.
    pub fn reshape(&mut self, x: &str, extents: &[i64]) -> Result<String> {
        let extents = self.ints(extents)?;
        self.draw("reshape", NodeBuilder::new("Reshape").input(x).input(extents))
    }

    /// `x` with its axes in the order `perm`; `x` itself if that is the order it has.
    pub fn transpose(&mut self, x: &str, perm: &[usize]) -> Result<String> {
        if perm.iter().enumerate().all(|(to, &from)| to == from) {
            return Ok(x.to_owned());
        }
        let perm: Vec<i64> = perm.iter().map(|&axis| axis as i64).collect();
        self.draw("transpose", NodeBuilder::new("Transpose").input(x).attr("perm", perm))
    }

    /// `x` with extents of 1 put in.
    pub fn unsqueeze(&mut self, x: &str, axes: &[i64]) -> Result<String> {
        self.over_axes("Unsqueeze", x, axes)
    }

    /// `x` with extents of 1 taken out.
    pub fn squeeze(&mut self, x: &str, axes: &[i64]) -> Result<String> {
        self.over_axes("Squeeze", x, axes)
    }

    fn over_axes(&mut self, op: &str, x: &str, axes: &[i64]) -> Result<String> {
        let node = NodeBuilder::new(op).input(x);
        let node = match self.opset >= 13 {
            true => node.input(self.ints(axes)?),
            false => node.attr("axes", axes.to_vec()),
        };
        self.draw(&op.to_lowercase(), node)
    }

    /// `parts` one after the other along `axis`.
    pub fn concat(&mut self, parts: &[String], axis: i64) -> Result<String> {
        match parts {
            [only] => Ok(only.clone()),
            parts => self.draw("concat", NodeBuilder::new("Concat").inputs(parts).attr("axis", axis)),
        }
    }

    /// `x[start..end]` along `axis`; both are tensors of one element.
    pub fn slice(&mut self, x: &str, start: &str, end: &str, axis: i64) -> Result<String> {
        let axes = self.ints(&[axis])?;
        self.draw("slice", NodeBuilder::new("Slice").inputs([x, start, end, &axes]))
    }

    /// The entries of `x` at `indices` along `axis`.
    pub fn gather(&mut self, x: &str, indices: &str, axis: i64) -> Result<String> {
        self.draw("gather", NodeBuilder::new("Gather").inputs([x, indices]).attr("axis", axis))
    }

    /// The sizes of `x` along axes `from..to`.
    pub fn sizes(&mut self, x: &str, from: i64, to: i64) -> Result<String> {
        let shape = self.draw("shape", NodeBuilder::new("Shape").input(x))?;
        let (from, to) = (self.ints(&[from])?, self.ints(&[to])?);
        self.slice(&shape, &from, &to, 0)
    }

    /// `op` of two operands.
    pub fn binary(&mut self, op: &str, a: &str, b: &str) -> Result<String> {
        self.draw(&op.to_lowercase(), NodeBuilder::new(op).inputs([a, b]))
    }

    /// Softmax over the last of four axes.
    pub fn softmax(&mut self, x: &str) -> Result<String> {
        self.draw("softmax", NodeBuilder::new("Softmax").input(x).attr("axis", 3))
    }

    /// `x` as `to`; `x` itself if it has that type.
    pub fn cast(&mut self, x: &str, from: DataType, to: DataType) -> Result<String> {
        if from == to {
            return Ok(x.to_owned());
        }
        self.draw("cast", NodeBuilder::new("Cast").input(x).attr("to", i64::from(to as i32)))
    }

    /// `x` of layout `from` as one of layout `to`.
    pub fn arrange(&mut self, x: &str, from: &Layout, to: &Layout, sizes: &Sizes) -> Result<String> {
        if from == to {
            return Ok(x.to_owned());
        }
        let spread = self.spread(x, from, sizes)?;
        let (has, wants) = (from.axes(), to.axes());
        let perm: Vec<usize> = wants.iter().filter_map(|axis| has.iter().position(|other| other == axis)).collect();
        let ordered = self.transpose(&spread, &perm)?;
        self.join(&ordered, to, sizes)
    }

    /// Gives each axis an extent of its own.
    fn spread(&mut self, x: &str, layout: &Layout, sizes: &Sizes) -> Result<String> {
        let ones: Vec<i64> = extents(layout, |extent| extent.is_empty());
        let mut x = if ones.is_empty() { x.to_owned() } else { self.squeeze(x, &ones)? };
        let mut layout: Vec<Vec<Axis>> = layout.0.iter().filter(|extent| !extent.is_empty()).cloned().collect();
        while let Some(at) = layout.iter().position(|extent| extent.len() > 1) {
            let inner = layout[at].split_off(1);
            let (outer_size, inner_size) = (known(&layout[at], sizes), known(&inner, sizes));
            layout.insert(at + 1, inner);
            x = self.unsqueeze(&x, &[at as i64 + 1])?;
            let mut shape = vec![0; layout.len()];
            (shape[at], shape[at + 1]) = match (outer_size, inner_size) {
                (_, Some(inner)) => (-1, inner),
                (outer, None) => (outer.unwrap_or(0), -1),
            };
            x = self.reshape(&x, &shape)?;
        }
        Ok(x)
    }

    /// Joins axes of a tensor whose extents hold one axis each.
    fn join(&mut self, x: &str, to: &Layout, sizes: &Sizes) -> Result<String> {
        let mut x = x.to_owned();
        let mut has: Vec<Vec<Axis>> = to.axes().into_iter().map(|axis| vec![axis]).collect();
        if let Some(first) = to.0.first().filter(|first| first.len() > 1 && known(first, sizes).is_none()) {
            x = self.draw("flatten", NodeBuilder::new("Flatten").input(x).attr("axis", first.len() as i64))?;
            has = vec![first.clone(), has.split_off(first.len()).concat()];
        }
        if has == to.0 {
            return Ok(x);
        }
        let target = |(at, extent): (usize, &Vec<Axis>)| match (extent.is_empty(), has.get(at) == Some(extent)) {
            (true, _) => 1,
            (_, true) => 0,
            _ => known(extent, sizes).unwrap_or(-1),
        };
        let shape: Vec<i64> = to.0.iter().enumerate().map(target).collect();
        self.reshape(&x, &shape)
    }
}

/// A tensor of equal floats.
pub fn filled(name: &str, dims: &[i64], value: f32, elem: DataType) -> TensorProto {
    let count = dims.iter().product::<i64>().max(0) as usize;
    floats(name, dims, std::iter::repeat_n(value, count), elem)
}

/// A tensor of floats in row-major order, stored as `elem`.
pub fn floats(name: &str, dims: &[i64], values: impl Iterator<Item = f32>, elem: DataType) -> TensorProto {
    let bytes = |value: f32| match elem {
        DataType::Float16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
        DataType::Bfloat16 => half::bf16::from_f32(value).to_le_bytes().to_vec(),
        DataType::Double => f64::from(value).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    };
    tensor(name, dims, elem, values.flat_map(bytes).collect())
}

/// A vector of int64.
pub fn longs(name: &str, values: &[i64]) -> TensorProto {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, &[values.len() as i64], DataType::Int64, bytes)
}

fn tensor(name: &str, dims: &[i64], elem: DataType, bytes: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(elem as i32),
        raw_data: Some(bytes.into()),
        ..Default::default()
    }
}

fn extents(layout: &Layout, wanted: impl Fn(&[Axis]) -> bool) -> Vec<i64> {
    let matching = layout.0.iter().enumerate().filter(|(_, extent)| wanted(extent));
    matching.map(|(at, _)| at as i64).collect()
}

/// The product of the axes' sizes where all are numbers that do not change with the batch or the prompt.
fn known(axes: &[Axis], sizes: &Sizes) -> Option<i64> {
    let fixed = |axis: &Axis| match axis {
        Axis::Heads => Some(sizes.heads),
        Axis::Width => Some(sizes.width),
        Axis::Pair => Some(2),
        Axis::Rows | Axis::Query | Axis::Tokens => None,
    };
    axes.iter().map(fixed).product()
}

fn slashed(name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("/{name}") }
}
