use super::proto::attribute_proto::AttributeType;
use super::proto::{AttributeProto, NodeProto, TensorProto};

/// The value of an attribute, for [`NodeBuilder::attr`].
#[derive(Clone, Debug)]
pub enum Attr {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f32),
    /// A string.
    Str(String),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A tensor.
    Tensor(Box<TensorProto>),
}

impl From<i64> for Attr {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<f32> for Attr {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}
impl From<&str> for Attr {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}
impl From<Vec<i64>> for Attr {
    fn from(value: Vec<i64>) -> Self {
        Self::Ints(value)
    }
}
impl From<TensorProto> for Attr {
    fn from(value: TensorProto) -> Self {
        Self::Tensor(Box::new(value))
    }
}

/// Builds a [`NodeProto`] in one expression.
///
/// ```
/// use infusion::onnx::{NodeBuilder, NodeExt};
/// let node = NodeBuilder::new("Softmax").input("scores").output("probs").attr("axis", -1).build();
/// assert_eq!(node.attr_int("axis"), Some(-1));
/// ```
#[derive(Clone, Debug, Default)]
pub struct NodeBuilder(NodeProto);

impl NodeBuilder {
    /// A node of the standard domain with no inputs or outputs yet.
    pub fn new(op_type: &str) -> Self {
        Self(NodeProto { op_type: Some(op_type.to_owned()), ..Default::default() })
    }

    /// Sets the operator's domain, e.g. `com.microsoft`.
    pub fn domain(mut self, domain: &str) -> Self {
        self.0.domain = Some(domain.to_owned());
        self
    }

    /// Sets the node's name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.0.name = Some(name.into());
        self
    }

    /// Appends an input; `""` leaves an optional one out.
    pub fn input(mut self, name: impl Into<String>) -> Self {
        self.0.input.push(name.into());
        self
    }

    /// Appends several inputs.
    pub fn inputs<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.0.input.extend(names.into_iter().map(Into::into));
        self
    }

    /// Appends an output.
    pub fn output(mut self, name: impl Into<String>) -> Self {
        self.0.output.push(name.into());
        self
    }

    /// Appends several outputs.
    pub fn outputs<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.0.output.extend(names.into_iter().map(Into::into));
        self
    }

    /// Sets an attribute.
    pub fn attr(mut self, name: &str, value: impl Into<Attr>) -> Self {
        self.0.attribute.push(attribute(name, value.into()));
        self
    }

    /// The finished node.
    pub fn build(self) -> NodeProto {
        self.0
    }
}

fn attribute(name: &str, value: Attr) -> AttributeProto {
    let mut attribute = AttributeProto { name: Some(name.to_owned()), ..Default::default() };
    match value {
        Attr::Int(value) => {
            attribute.i = Some(value);
            attribute.set_type(AttributeType::Int);
        }
        Attr::Float(value) => {
            attribute.f = Some(value);
            attribute.set_type(AttributeType::Float);
        }
        Attr::Str(value) => {
            attribute.s = Some(value.into_bytes().into());
            attribute.set_type(AttributeType::String);
        }
        Attr::Ints(value) => {
            attribute.ints = value;
            attribute.set_type(AttributeType::Ints);
        }
        Attr::Tensor(value) => {
            attribute.t = Some(*value);
            attribute.set_type(AttributeType::Tensor);
        }
    }
    attribute
}

/// Reading a [`NodeProto`].
pub trait NodeExt {
    /// The operator's domain; the standard one is `""`.
    fn domain_name(&self) -> &str;
    /// Whether this is operator `op_type` of the standard domain.
    fn is(&self, op_type: &str) -> bool;
    /// Whether this is operator `op_type` of `com.microsoft`.
    fn is_microsoft(&self, op_type: &str) -> bool;
    /// The name of input `slot`, if the node has it.
    fn input_name(&self, slot: usize) -> Option<&str>;
    /// The name of output `slot`, if the node has it.
    fn output_name(&self, slot: usize) -> Option<&str>;
    /// The attribute of that name.
    fn attr(&self, name: &str) -> Option<&AttributeProto>;
    /// An integer attribute.
    fn attr_int(&self, name: &str) -> Option<i64>;
    /// A float attribute.
    fn attr_float(&self, name: &str) -> Option<f32>;
    /// A list of integers.
    fn attr_ints(&self, name: &str) -> Option<&[i64]>;
    /// A string attribute, if it is UTF-8.
    fn attr_str(&self, name: &str) -> Option<&str>;
    /// The value under `key` in the node's `metadata_props`.
    fn metadata(&self, key: &str) -> Option<&str>;
    /// How messages name this node: `node 'name' (OpType)`.
    fn place(&self) -> String;
}

impl NodeExt for NodeProto {
    fn domain_name(&self) -> &str {
        match self.domain() {
            "ai.onnx" => "",
            domain => domain,
        }
    }

    fn is(&self, op_type: &str) -> bool {
        self.op_type() == op_type && self.domain_name().is_empty()
    }

    fn is_microsoft(&self, op_type: &str) -> bool {
        self.op_type() == op_type && self.domain() == "com.microsoft"
    }

    fn input_name(&self, slot: usize) -> Option<&str> {
        self.input.get(slot).map(String::as_str).filter(|name| !name.is_empty())
    }

    fn output_name(&self, slot: usize) -> Option<&str> {
        self.output.get(slot).map(String::as_str).filter(|name| !name.is_empty())
    }

    fn attr(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name() == name)
    }

    fn attr_int(&self, name: &str) -> Option<i64> {
        self.attr(name)?.i
    }

    fn attr_float(&self, name: &str) -> Option<f32> {
        self.attr(name)?.f
    }

    fn attr_ints(&self, name: &str) -> Option<&[i64]> {
        self.attr(name).map(|attribute| attribute.ints.as_slice())
    }

    fn attr_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.attr(name)?.s.as_ref()?).ok()
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata_props.iter().find(|entry| entry.key() == key).map(|entry| entry.value())
    }

    fn place(&self) -> String {
        let name = match self.name() {
            "" => self.output.first().map_or("?", String::as_str),
            name => name,
        };
        format!("node '{name}' ({})", self.op_type())
    }
}
