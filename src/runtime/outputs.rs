use std::path::Path;
use std::sync::Arc;

use ort::session::SharedSessionInner;
use ort::value::{DynTensor, DynTensorValueType, DynValue};

use super::{ElementType, Error, Result, Tensor};

/// A session's output that stayed where it was computed.
///
/// Feeding it to another session of the same provider copies nothing. Clones are the same tensor.
#[derive(Clone, Debug)]
pub struct DeviceTensor {
    pub(super) value: Arc<DynTensor>,
    element_type: ElementType,
    shape: Vec<usize>,
    /// Whether every run of a recorded graph writes it anew, at the same address.
    pub(super) rewritten: bool,
    _session: Arc<SharedSessionInner>,
}

impl DeviceTensor {
    pub(super) fn new(value: DynValue, session: Arc<SharedSessionInner>) -> ort::Result<Self> {
        Self::of(Arc::new(value.downcast::<DynTensorValueType>()?), false, session)
    }

    /// A tensor that others hold, too.
    pub(super) fn of(value: Arc<DynTensor>, rewritten: bool, session: Arc<SharedSessionInner>) -> ort::Result<Self> {
        let element_type = ElementType::from_ort(*value.data_type())
            .ok_or_else(|| ort::Error::new(format!("elements of type {} are not supported", value.data_type())))?;
        let shape = value.shape().iter().map(|&length| usize::try_from(length).unwrap_or(0)).collect();
        Ok(Self { value, element_type, shape, rewritten, _session: session })
    }

    /// Whether both are one tensor.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value)
    }

    /// The type of the elements.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether the host can read it in place.
    pub fn is_on_host(&self) -> bool {
        self.value.memory_info().is_cpu_accessible()
    }

    /// A copy in the host's memory.
    ///
    /// # Errors
    /// The device cannot be read.
    pub fn to_tensor(&self) -> Result<Tensor> {
        if self.is_on_host() {
            return Ok(Tensor::copy_of(&self.value)?);
        }
        Ok(Tensor::copy_of(&self.value.to(ort::memory::AllocationDevice::CPU, 0)?)?)
    }

    /// Bytes that it occupies.
    pub fn byte_count(&self) -> usize {
        self.shape.iter().product::<usize>() * self.element_type.byte_width()
    }
}

/// One output of a run.
#[derive(Debug)]
pub enum Value {
    /// In the host's memory.
    Host(Tensor),
    /// Where it was computed.
    Device(DeviceTensor),
}

/// The outputs of a run in the model's order, each to be taken once.
#[derive(Debug)]
pub struct Outputs {
    pub(super) model: Arc<Path>,
    pub(super) values: Vec<(String, Value)>,
}

impl Outputs {
    /// The names of the outputs not taken yet.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|(name, _)| name.as_str())
    }

    /// Takes the output called `name` into the host's memory.
    ///
    /// # Errors
    /// There is no such output, it was taken before or skipped, or the device cannot be read.
    pub fn take(&mut self, name: &str) -> Result<Tensor> {
        match self.take_value(name)? {
            Value::Host(tensor) => Ok(tensor),
            Value::Device(tensor) => tensor.to_tensor(),
        }
    }

    /// Takes the output called `name` as it is on the device.
    ///
    /// # Errors
    /// There is no such output, it was taken before, or it was fetched to the host.
    pub fn take_device(&mut self, name: &str) -> Result<DeviceTensor> {
        match self.take_value(name)? {
            Value::Device(tensor) => Ok(tensor),
            Value::Host(_) => Err(self.no_output(name, "was fetched to the host")),
        }
    }

    /// Takes the first output, which is the only one of most models.
    ///
    /// # Errors
    /// As [`Outputs::take`].
    pub fn take_first(&mut self) -> Result<Tensor> {
        let first = self.names().next().map(str::to_owned).unwrap_or_default();
        self.take(&first)
    }

    fn take_value(&mut self, name: &str) -> Result<Value> {
        let place = self.values.iter().position(|(known, _)| known == name);
        let place = place.ok_or_else(|| self.no_output(name, "is no output of this run"))?;
        Ok(self.values.remove(place).1)
    }

    fn no_output(&self, name: &str, reason: &str) -> Error {
        Error::Tensor { model: self.model.to_path_buf(), tensor: name.to_owned(), reason: reason.to_owned() }
    }
}

impl IntoIterator for Outputs {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}
