//! Runs of one session with the same inputs again and again: what did not change stays on the device.

use ort::AsPointer as _;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session};
use ort::sys::{OrtMemoryInfo, OrtMemoryInfoDeviceType, OrtSession, OrtStatusPtr};
use ort::value::{DynTensor, DynTensorValueType};

use super::session::GRAPH;
use super::{ElementType, Tensor, library};

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
    /// Whether inputs and output must keep their addresses: a recorded CUDA graph reads and writes there.
    pub fixed: bool,
}

/// The output that a resident run is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub name: String,
    pub element_type: ElementType,
    pub shape: Vec<usize>,
}

/// A binding that is kept from run to run, with what was last fed.
///
/// Inputs are sent to the device when they change. Without fixed addresses they are bound anew then, which
/// copies them to wherever the graph reads them; with fixed addresses they are written in place.
#[derive(Debug)]
pub(super) struct Resident {
    binding: IoBinding,
    slots: Vec<Slot>,
    wanted: Wanted,
    output: Output,
    /// Tells the recorded graph of this binding's addresses from those of earlier ones.
    graph: Option<i32>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    last: Tensor,
    staging: Option<DynTensor>,
    in_place: Option<DynTensor>,
}

#[derive(Debug)]
enum Output {
    /// Bound on the device, and fetched after each run.
    Device(DynTensor),
    /// Bound to the host's memory, where ONNX Runtime makes it in the first run.
    Made,
}

impl Resident {
    /// Binds `feeds` and the output; `graph` is a number that no earlier binding of the session had.
    pub fn new(
        session: &Session,
        placement: &Placement,
        feeds: &[(&str, &Tensor)],
        wanted: Wanted,
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
        let device = match placement.fixed {
            true => Some(allocator(session, &placement.device, placement.id)?),
            false => None,
        };
        let mut slots = Vec::with_capacity(feeds.len());
        for (name, tensor) in feeds {
            let new =
                |allocator: &Allocator| DynTensor::new(allocator, tensor.element_type().to_ort(), dims(tensor.shape()));
            let mut slot = Slot {
                name: (*name).to_owned(),
                last: (*tensor).clone(),
                staging: pinned.as_ref().and_then(|pinned| new(pinned).ok()),
                in_place: device.as_ref().map(new).transpose()?,
            };
            slot.send(&mut binding)?;
            if let Some(tensor) = &slot.in_place {
                binding.bind_input(*name, tensor)?;
            }
            slots.push(slot);
        }
        let output = Output::bind(&mut binding, &wanted, device.as_ref())?;
        binding.synchronize_inputs()?;
        Ok(Self { binding, slots, wanted, output, graph: placement.fixed.then_some(graph) })
    }

    /// Whether the binding serves such feeds: the same names, types and shapes.
    pub fn fits(&self, feeds: &[(&str, &Tensor)], wanted: &Wanted) -> bool {
        let alike = |(slot, (name, tensor)): (&Slot, &(&str, &Tensor))| {
            slot.name == *name
                && slot.last.element_type() == tensor.element_type()
                && slot.last.shape() == tensor.shape()
        };
        *wanted == self.wanted && feeds.len() == self.slots.len() && self.slots.iter().zip(feeds).all(alike)
    }

    /// Sends the feeds that changed; answers how many these were.
    pub fn update(&mut self, feeds: &[(&str, &Tensor)]) -> ort::Result<usize> {
        let mut sent = 0;
        for (slot, (_, tensor)) in self.slots.iter_mut().zip(feeds) {
            if slot.last != **tensor {
                slot.last = (*tensor).clone();
                slot.send(&mut self.binding)?;
                sent += 1;
            }
        }
        self.binding.synchronize_inputs()?;
        Ok(sent)
    }

    /// Runs and fetches the output.
    pub fn run(&mut self, session: &mut Session) -> ort::Result<Tensor> {
        let mut options = RunOptions::new()?;
        if let Some(graph) = self.graph {
            options.set(GRAPH, graph.to_string())?;
        }
        let mut made = session.run_binding_with_options(&self.binding, &options)?;
        match &self.output {
            Output::Device(tensor) if tensor.memory_info().is_cpu_accessible() => read(tensor, &self.wanted),
            Output::Device(tensor) => Tensor::copy_of(&tensor.to(AllocationDevice::CPU, 0)?),
            Output::Made => {
                let value = made.remove(&self.wanted.name);
                Tensor::copy_of(&value.ok_or_else(|| ort::Error::new("the run made no output"))?)
            }
        }
    }

    /// Where each input lies, for tests of its constancy.
    #[cfg(test)]
    pub fn addresses(&self) -> Vec<*const std::ffi::c_void> {
        self.slots.iter().filter_map(|slot| Some(slot.in_place.as_ref()?.data_ptr())).collect()
    }
}

impl Slot {
    /// Sends what was last fed to the device.
    fn send(&mut self, binding: &mut IoBinding) -> ort::Result<()> {
        if let Some(target) = self.in_place.as_mut().filter(|target| target.memory_info().is_cpu_accessible()) {
            return write(&self.last, target);
        }
        let owned;
        let source = match &mut self.staging {
            Some(staging) => {
                write(&self.last, staging)?;
                &*staging
            }
            None => {
                owned = self.last.owned()?.downcast::<DynTensorValueType>()?;
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
    fn bind(binding: &mut IoBinding, wanted: &Wanted, device: Option<&Allocator>) -> ort::Result<Self> {
        match device {
            Some(device) => {
                let mut tensor = DynTensor::new(device, wanted.element_type.to_ort(), dims(&wanted.shape))?;
                binding.bind_output(&wanted.name, &mut tensor)?;
                Ok(Self::Device(tensor))
            }
            None => {
                let host = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
                binding.bind_output_to_device(&wanted.name, &host)?;
                Ok(Self::Made)
            }
        }
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

fn read(source: &DynTensor, wanted: &Wanted) -> ort::Result<Tensor> {
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
