//! Runs of one session with the same inputs again and again: what did not change stays on the device.

use std::sync::Arc;

use ort::AsPointer as _;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session};
use ort::sys::{OrtMemoryInfo, OrtMemoryInfoDeviceType, OrtSession, OrtStatusPtr};
use ort::value::{DynTensor, DynTensorValueType, DynValue};

use super::outputs::Value;
use super::session::{Feed, GRAPH};
use super::{DeviceTensor, ElementType, Tensor, library};

/// Where a session computes, and how a resident binding serves it.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    /// The device's memory.
    pub device: AllocationDevice<'static>,
    /// The device's index.
    pub id: i32,
    /// Memory of the host that the device reads without a detour, where the provider has some. Outputs do not go
    /// there: ONNX Runtime 1.31 fails to copy one to pinned memory that it is bound to.
    pub pinned: Option<AllocationDevice<'static>>,
    /// Whether inputs and outputs must keep their addresses: a recorded CUDA graph reads and writes there.
    pub fixed: bool,
}

/// An output that a resident run is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub name: String,
    pub element_type: ElementType,
    pub shape: Vec<usize>,
    /// Whether it stays on the device.
    pub stays: bool,
}

/// A binding that is kept from run to run, with what was last fed.
///
/// Inputs are sent to the device when they change. Without fixed addresses they are bound anew then, which
/// copies them to wherever the graph reads them; with fixed addresses they are written in place. What a recorded
/// graph of another session rewrites is read where it lies.
#[derive(Debug)]
pub(super) struct Resident {
    binding: IoBinding,
    slots: Vec<Slot>,
    outputs: Vec<Output>,
    /// Tells the recorded graph of this binding's addresses from those of earlier ones.
    graph: Option<i32>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    last: Fed,
    staging: Option<DynTensor>,
    in_place: Option<DynTensor>,
}

/// What a slot was last fed.
#[derive(Debug)]
enum Fed {
    Host(Tensor),
    Device(DeviceTensor),
}

#[derive(Debug)]
struct Output {
    bound: Bound,
    /// Where it is written; `None` where ONNX Runtime makes it in each run.
    place: Option<Arc<DynTensor>>,
}

impl Resident {
    /// Binds `feeds` and the outputs; `graph` is a number that no earlier binding of the session had.
    pub fn new(
        session: &Session,
        placement: &Placement,
        feeds: &[(&str, Feed<'_>)],
        outputs: &[Bound],
        graph: i32,
    ) -> ort::Result<Self> {
        let mut binding = session.create_binding()?;
        if placement.fixed
            && let Some(name) = first_read_by_the_host(session, &placement.device)
        {
            return Err(ort::Error::new(format!(
                "input '{name}' is read by nodes on the CPU, so it has no fixed address on the device"
            )));
        }
        let pinned = placement.pinned.as_ref().and_then(|device| allocator(session, device, placement.id).ok());
        let fixed = match placement.fixed {
            true => Some(allocator(session, &placement.device, placement.id)?),
            false => None,
        };
        let mut slots = Vec::with_capacity(feeds.len());
        for (name, feed) in feeds {
            let mut slot = Slot::new(name, *feed, pinned.as_ref(), fixed.as_ref())?;
            slot.send(&mut binding)?;
            if let Some(tensor) = &slot.in_place {
                binding.bind_input(*name, tensor)?;
            }
            slots.push(slot);
        }
        let bind = |bound: &Bound| Output::bind(&mut binding, bound, placement, fixed.as_ref());
        let outputs = outputs.iter().map(bind).collect::<ort::Result<_>>()?;
        binding.synchronize_inputs()?;
        Ok(Self { binding, slots, outputs, graph: placement.fixed.then_some(graph) })
    }

    /// Whether the binding serves such feeds: the same names, types and shapes, and for the same outputs.
    pub fn fits(&self, feeds: &[(&str, Feed<'_>)], outputs: &[Bound]) -> bool {
        feeds.len() == self.slots.len()
            && self.slots.iter().zip(feeds).all(|(slot, (name, feed))| slot.name == *name && slot.takes(feed))
            && outputs.len() == self.outputs.len()
            && self.outputs.iter().zip(outputs).all(|(known, wanted)| known.bound == *wanted)
    }

    /// Sends the feeds that changed; answers how many these were.
    pub fn update(&mut self, feeds: &[(&str, Feed<'_>)]) -> ort::Result<usize> {
        let mut sent = 0;
        for (slot, (_, feed)) in self.slots.iter_mut().zip(feeds) {
            if !slot.last.is(feed) {
                slot.last = (*feed).into();
                slot.send(&mut self.binding)?;
                sent += 1;
            }
        }
        self.binding.synchronize_inputs()?;
        Ok(sent)
    }

    /// Runs and fetches the outputs that do not stay on the device.
    pub fn run(&mut self, session: &mut Session) -> ort::Result<Vec<(String, Value)>> {
        let mut options = RunOptions::new()?;
        if let Some(graph) = self.graph {
            options.set(GRAPH, graph.to_string())?;
        }
        let inner = session.inner();
        let mut made = session.run_binding_with_options(&self.binding, &options)?;
        let mut values = Vec::with_capacity(self.outputs.len());
        for Output { bound, place } in &self.outputs {
            let value = match (place, bound.stays) {
                (Some(tensor), true) => Value::Device(DeviceTensor::of(Arc::clone(tensor), true, Arc::clone(&inner))?),
                (Some(tensor), false) if tensor.memory_info().is_cpu_accessible() => Value::Host(read(tensor, bound)?),
                (Some(tensor), false) => Value::Host(Tensor::copy_of(&tensor.to(AllocationDevice::CPU, 0)?)?),
                (None, stays) => {
                    let value: Option<DynValue> = made.remove(&bound.name);
                    let value = value.ok_or_else(|| ort::Error::new(format!("the run made no '{}'", bound.name)))?;
                    match stays {
                        true => Value::Device(DeviceTensor::new(value, Arc::clone(&inner))?),
                        false => Value::Host(Tensor::copy_of(&value)?),
                    }
                }
            };
            values.push((bound.name.clone(), value));
        }
        Ok(values)
    }

    /// Where each input lies that is written in place, for tests of its constancy.
    #[cfg(test)]
    pub fn addresses(&self) -> Vec<*const std::ffi::c_void> {
        self.slots.iter().filter_map(|slot| Some(slot.in_place.as_ref()?.data_ptr())).collect()
    }
}

impl From<Feed<'_>> for Fed {
    fn from(feed: Feed<'_>) -> Self {
        match feed {
            Feed::Host(tensor) => Self::Host(tensor.clone()),
            Feed::Device(tensor) => Self::Device(tensor.clone()),
        }
    }
}

impl Fed {
    fn is(&self, feed: &Feed<'_>) -> bool {
        match (self, feed) {
            (Self::Host(last), Feed::Host(tensor)) => last == *tensor,
            (Self::Device(last), Feed::Device(tensor)) => last.is(tensor),
            _ => false,
        }
    }

    fn kind(&self) -> (ElementType, &[usize]) {
        match self {
            Self::Host(tensor) => (tensor.element_type(), tensor.shape()),
            Self::Device(tensor) => (tensor.element_type(), tensor.shape()),
        }
    }
}

impl Slot {
    fn new(name: &str, feed: Feed<'_>, pinned: Option<&Allocator>, fixed: Option<&Allocator>) -> ort::Result<Self> {
        let last = Fed::from(feed);
        let (element_type, shape) = last.kind();
        let new = |allocator: &Allocator| DynTensor::new(allocator, element_type.to_ort(), dims(shape));
        let (staging, in_place) = match &last {
            Fed::Host(_) => (pinned.and_then(|pinned| new(pinned).ok()), fixed.map(new).transpose()?),
            Fed::Device(tensor) if tensor.rewritten => (None, None),
            Fed::Device(_) => (None, fixed.map(new).transpose()?),
        };
        Ok(Self { name: name.to_owned(), staging, in_place, last })
    }

    fn takes(&self, feed: &Feed<'_>) -> bool {
        match (&self.last, feed) {
            (Fed::Device(last), Feed::Device(tensor)) if last.rewritten || tensor.rewritten => last.is(tensor),
            (Fed::Device(_), Feed::Device(tensor)) => self.last.kind() == (tensor.element_type(), tensor.shape()),
            (Fed::Host(_), Feed::Host(tensor)) => self.last.kind() == (tensor.element_type(), tensor.shape()),
            _ => false,
        }
    }

    /// Sends what was last fed to the device.
    fn send(&mut self, binding: &mut IoBinding) -> ort::Result<()> {
        let tensor = match &self.last {
            Fed::Host(tensor) => tensor,
            Fed::Device(tensor) => {
                return match &mut self.in_place {
                    Some(target) => tensor.value.copy_into(target),
                    None => binding.bind_input(&self.name, &*tensor.value),
                };
            }
        };
        if let Some(target) = self.in_place.as_mut().filter(|target| target.memory_info().is_cpu_accessible()) {
            return write(tensor, target);
        }
        let owned;
        let source = match &mut self.staging {
            Some(staging) => {
                write(tensor, staging)?;
                &*staging
            }
            None => {
                owned = tensor.owned()?.downcast::<DynTensorValueType>()?;
                &owned
            }
        };
        match &mut self.in_place {
            Some(target) => source.copy_into(target),
            None => binding.bind_input(&self.name, source),
        }
    }
}

impl Output {
    fn bind(
        binding: &mut IoBinding,
        bound: &Bound,
        placement: &Placement,
        fixed: Option<&Allocator>,
    ) -> ort::Result<Self> {
        let bound = bound.clone();
        if let Some(device) = fixed {
            let mut tensor = DynTensor::new(device, bound.element_type.to_ort(), dims(&bound.shape))?;
            binding.bind_output(&bound.name, &mut tensor)?;
            return Ok(Self { bound, place: Some(Arc::new(tensor)) });
        }
        let memory = match bound.stays {
            true => {
                MemoryInfo::new(placement.device.clone(), placement.id, AllocatorType::Device, MemoryType::Default)?
            }
            false => MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?,
        };
        binding.bind_output_to_device(&bound.name, &memory)?;
        Ok(Self { bound, place: None })
    }
}

fn dims(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&length| length as i64).collect()
}

fn allocator(session: &Session, device: &AllocationDevice<'static>, id: i32) -> ort::Result<Allocator> {
    let kind = if *device == AllocationDevice::CUDA_PINNED { MemoryType::CPUInput } else { MemoryType::Default };
    Allocator::new(session, MemoryInfo::new(device.clone(), id, AllocatorType::Device, kind)?)
}

/// Writes to memory that the host can reach; `ort` does not know that it can reach pinned memory.
fn write(tensor: &Tensor, target: &mut DynTensor) -> ort::Result<()> {
    let standard;
    let tensor = match tensor.is_standard_layout() {
        true => tensor,
        false => {
            standard = tensor.clone().into_standard_layout();
            &standard
        }
    };
    // SAFETY: the target was made with this tensor's type and shape, in the host's or in pinned memory.
    match unsafe { tensor.write_to(target.data_ptr_mut()) } {
        true => Ok(()),
        false => Err(ort::Error::new("a tensor is not laid out in row-major order")),
    }
}

fn read(source: &DynTensor, wanted: &Bound) -> ort::Result<Tensor> {
    // SAFETY: the source was made with this type and shape, in the host's memory.
    let tensor = unsafe { Tensor::read_from(source.data_ptr(), wanted.element_type, &wanted.shape) };
    tensor.ok_or_else(|| ort::Error::new("an output has another shape than its numbers"))
}

/// The API in which ONNX Runtime began to tell where a session reads its inputs.
const API: u32 = 23;
/// Index of `SessionGetMemoryInfoForInputs` in the `OrtApi` table.
const MEMORY_OF_INPUTS: usize = 380;

type MemoryOfInputs = unsafe extern "system" fn(*const OrtSession, *mut *const OrtMemoryInfo, usize) -> OrtStatusPtr;

/// The first input that the session reads in the host's memory though it computes elsewhere. `None` where
/// ONNX Runtime does not tell, before 1.23.
fn first_read_by_the_host(session: &Session, device: &AllocationDevice<'static>) -> Option<String> {
    if *device == AllocationDevice::CPU {
        return None;
    }
    let places = memory_of_inputs(session)?;
    let input = session.inputs().iter().zip(places).find(|(_, on_host)| *on_host);
    input.map(|(input, _)| input.name().to_owned())
}

/// Whether each input is read in the host's memory.
fn memory_of_inputs(session: &Session) -> Option<Vec<bool>> {
    let table: *const MemoryOfInputs = library::api(API)?.cast();
    // SAFETY: API 23 has this function at that index, and the table is never freed.
    let function = unsafe { *table.add(MEMORY_OF_INPUTS) };
    let mut infos = vec![std::ptr::null(); session.inputs().len()];
    // SAFETY: the session is alive and there is room for one pointer an input.
    let status = unsafe { function(session.ptr(), infos.as_mut_ptr(), infos.len()) };
    if !status.0.is_null() {
        // SAFETY: a status that is not null is owned by the caller and released once.
        unsafe { (ort::api().ReleaseStatus)(status.0) };
        return None;
    }
    let on_host = infos.into_iter().map(|info| {
        let mut kind = OrtMemoryInfoDeviceType::OrtMemoryInfoDeviceType_CPU;
        // SAFETY: the infos belong to the session.
        unsafe { (ort::api().MemoryInfoGetDeviceType)(info, &mut kind) };
        kind == OrtMemoryInfoDeviceType::OrtMemoryInfoDeviceType_CPU
    });
    Some(on_host.collect())
}
