use super::Dim;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::{DataType, NodeExt, tensor_f32s, tensor_ints};

/// Contents are followed up to this many elements.
pub(super) const MOST_ELEMENTS: usize = 256;

/// What is known about one tensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fact {
    pub elem: Option<DataType>,
    pub shape: Option<Vec<Dim>>,
    /// The elements, where all are whole numbers; `shape` is then fully known.
    pub value: Option<Vec<Dim>>,
    /// The elements of a small constant of a float type.
    pub floats: Option<Vec<f32>>,
}

impl Fact {
    pub fn new(elem: Option<DataType>, shape: Option<Vec<Dim>>) -> Self {
        Self { elem, shape, ..Self::default() }
    }

    /// An int64 tensor of rank 1 with these elements.
    pub fn ints(value: Vec<Dim>) -> Self {
        let shape = Some(vec![Dim::Known(value.len() as i64)]);
        Self { elem: Some(DataType::Int64), shape, value: Some(value), floats: None }.bounded()
    }

    /// An int64 scalar.
    pub fn int(value: Dim) -> Self {
        Self { elem: Some(DataType::Int64), shape: Some(Vec::new()), value: Some(vec![value]), floats: None }
    }

    pub fn with_value(mut self, value: Option<Vec<Dim>>) -> Self {
        self.value = value;
        self.bounded()
    }

    /// Drops contents that are too many or do not fit the shape.
    fn bounded(mut self) -> Self {
        let elements = self.shape.as_ref().and_then(|shape| Dim::product(shape).known());
        let fits = |length: usize| length <= MOST_ELEMENTS && elements == Some(length as i64);
        self.value = self.value.filter(|value| fits(value.len()));
        self
    }

    /// What a constant says about itself.
    pub fn of_tensor(tensor: &TensorProto) -> Self {
        let elem = DataType::try_from(tensor.data_type()).ok();
        let mut fact = Self::new(elem, Some(tensor.dims.iter().map(|&dim| Dim::Known(dim)).collect()));
        let elements = tensor.dims.iter().try_fold(1i64, |product, &dim| product.checked_mul(dim));
        let Some(elements) = elements.filter(|&elements| (0..=MOST_ELEMENTS as i64).contains(&elements)) else {
            return fact;
        };
        let complete = |length: usize| length as i64 == elements;
        match elem {
            Some(DataType::Int64 | DataType::Int32) => {
                fact.value = tensor_ints(tensor).ok().map(|ints| ints.into_iter().map(Dim::Known).collect());
            }
            Some(DataType::Bool) => {
                fact.value = match &tensor.raw_data {
                    Some(raw) => Some(raw.iter().map(|&byte| Dim::Known((byte != 0).into())).collect()),
                    None => Some(tensor.int32_data.iter().map(|&int| Dim::Known((int != 0).into())).collect()),
                };
            }
            _ => fact.floats = tensor_f32s(tensor).ok().filter(|floats| complete(floats.len())),
        }
        if let Some(floats) = &fact.floats {
            let whole = |&x: &f32| (x.fract() == 0.0 && x.abs() < 1e9).then_some(Dim::Known(x as i64));
            fact.value = floats.iter().map(whole).collect();
        }
        fact.bounded()
    }
}

/// A rule: what a node's inputs say about each of its outputs.
pub(super) type Rule = fn(&Site<'_>) -> Vec<Fact>;

/// A node with what is known about its inputs.
pub(super) struct Site<'a> {
    pub node: &'a NodeProto,
    /// The version of the node's own operator set.
    pub opset: i64,
    pub inputs: Vec<Option<&'a Fact>>,
}

impl Site<'_> {
    pub fn has(&self, slot: usize) -> bool {
        self.node.input_name(slot).is_some()
    }

    pub fn fact(&self, slot: usize) -> Option<&Fact> {
        self.inputs.get(slot).copied().flatten()
    }

    pub fn shape(&self, slot: usize) -> Option<&[Dim]> {
        self.fact(slot)?.shape.as_deref()
    }

    pub fn rank(&self, slot: usize) -> Option<usize> {
        self.shape(slot).map(<[Dim]>::len)
    }

    pub fn value(&self, slot: usize) -> Option<&[Dim]> {
        self.fact(slot)?.value.as_deref()
    }

    pub fn elem(&self, slot: usize) -> Option<DataType> {
        self.fact(slot)?.elem
    }

    /// The extent of an input along `axis`; unknown where there is none.
    pub fn dim(&self, slot: usize, axis: i64) -> Dim {
        let find = || {
            let shape = self.shape(slot)?;
            shape.get(place(axis, shape.len())?).cloned()
        };
        find().unwrap_or(Dim::Unknown)
    }

    /// The elements of an input, if all are numbers.
    pub fn known(&self, slot: usize) -> Option<Vec<i64>> {
        self.value(slot)?.iter().map(Dim::known).collect()
    }

    /// Integers that are attribute `name` in old opsets and input `slot` in new ones:
    /// `Some(None)` where neither is given, `None` where they cannot be told.
    pub fn ints(&self, name: &str, slot: usize) -> Option<Option<Vec<i64>>> {
        match self.node.attr_ints(name) {
            Some(ints) => Some(Some(ints.to_vec())),
            None if self.has(slot) => self.known(slot).map(Some),
            None => Some(None),
        }
    }

    pub fn int_attr(&self, name: &str, default: i64) -> i64 {
        self.node.attr_int(name).unwrap_or(default)
    }

    /// An output like input `slot` in type, of the given shape.
    pub fn like(&self, slot: usize, shape: Option<Vec<Dim>>) -> Vec<Fact> {
        vec![Fact::new(self.elem(slot), shape)]
    }
}

/// `axis` as an index into a shape of `rank`, from the end if negative.
pub(super) fn place(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

/// The shape that several shapes broadcast to.
pub(super) fn broadcast(shapes: &[&[Dim]]) -> Vec<Dim> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut out = vec![Dim::Known(1); rank];
    for shape in shapes {
        let offset = rank - shape.len();
        for (axis, dim) in shape.iter().enumerate() {
            out[offset + axis] = out[offset + axis].broadcast(dim);
        }
    }
    out
}
