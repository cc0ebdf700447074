//! The C ABI as a host in Rust sees it: the header's structs and functions, and what owns them.
#![allow(dead_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr;

use ndarray::{Array, Dimension};

// The functions are exported by name; without a path into the crate it would not be linked.
use infusion as _;

pub const UNCONDITIONAL: i32 = 0;
pub const CONDITIONAL: i32 = 1;
pub const OTHER: i32 = 2;
pub const SEPARATE: i32 = 1;
pub const SHARED: i32 = 2;
pub const TWO_GRAPHS: i32 = 1;
pub const ONE_GRAPH: i32 = 2;

#[repr(C)]
pub struct Status {
    _opaque: [u8; 0],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tensor {
    pub struct_size: u32,
    pub element_type: i32,
    pub data: *mut c_void,
    pub size: usize,
    pub dims: *const i64,
    pub rank: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Mark {
    pub struct_size: u32,
    pub strength: f32,
    pub concept_name: *const c_char,
    pub positions: *const usize,
    pub positions_count: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Row {
    pub struct_size: u32,
    pub role: i32,
    pub image: u64,
    pub marks: *const Mark,
    pub marks_count: usize,
    pub ids: *const i64,
    pub ids_count: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Input {
    pub struct_size: u32,
    pub name: *const c_char,
    pub tensor: *const Tensor,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Step {
    pub struct_size: u32,
    pub index: u32,
    pub steps: u32,
    pub rows_per_image: u32,
    pub rows: *const Row,
    pub rows_count: usize,
    pub inputs: *const Input,
    pub inputs_count: usize,
}

#[repr(C)]
pub struct Foundation {
    pub struct_size: u32,
    pub index: u32,
    pub image: u64,
    pub rows: usize,
    pub roles: *const i32,
    pub noise: *const f32,
    pub sample: *const f32,
    pub next: *mut f32,
    pub channels: i64,
    pub height: i64,
    pub width: i64,
}

pub type Scheduler = unsafe extern "C" fn(*mut c_void, *const Foundation) -> i32;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct UnetOptions {
    pub struct_size: u32,
    pub mode: i32,
    pub graphs: i32,
    pub threads: u32,
    pub low_memory: i32,
    pub provider: *const c_char,
    pub cache: *const c_char,
    pub graph_folder: *const c_char,
    pub tokenizer: usize,
    pub scheduler: Option<Scheduler>,
    pub scheduler_user: *mut c_void,
}

unsafe extern "C" {
    pub fn infusion_status_code(status: *const Status) -> i32;
    pub fn infusion_status_text(status: *const Status) -> *const c_char;
    pub fn infusion_status_free(status: *mut Status);
    pub fn infusion_init(options: *const c_void) -> *mut Status;
    pub fn infusion_buffer_data(buffer: usize) -> *const c_void;
    pub fn infusion_buffer_size(buffer: usize) -> usize;
    pub fn infusion_buffer_free(buffer: usize);
    pub fn infusion_tokenizer_create(folder: *const c_char, out: *mut usize) -> *mut Status;
    pub fn infusion_tokenizer_free(tokenizer: usize);
    pub fn infusion_concept_load(path: *const c_char, out: *mut usize) -> *mut Status;
    pub fn infusion_concept_load_memory(
        bytes: *const c_void,
        size: usize,
        name: *const c_char,
        out: *mut usize,
    ) -> *mut Status;
    pub fn infusion_concept_free(concept: usize);
    pub fn infusion_unet_open(model: *const c_char, options: *const UnetOptions, out: *mut usize) -> *mut Status;
    pub fn infusion_unet_free(unet: usize);
    pub fn infusion_unet_describe(unet: usize, json: *mut usize) -> *mut Status;
    pub fn infusion_unet_concepts(unet: usize, json: *mut usize) -> *mut Status;
    pub fn infusion_unet_set_concept(
        unet: usize,
        name: *const c_char,
        concept: usize,
        weight: f32,
        phrase: *const c_char,
        force: i32,
    ) -> *mut Status;
    pub fn infusion_unet_set_weight(unet: usize, name: *const c_char, weight: f32) -> *mut Status;
    pub fn infusion_unet_remove_concept(unet: usize, name: *const c_char) -> *mut Status;
    pub fn infusion_unet_end_image(unet: usize, image: u64) -> *mut Status;
    pub fn infusion_unet_run(
        unet: usize,
        step: *const Step,
        sample: *const Tensor,
        timestep: *const Tensor,
        encoder_hidden_states: *const Tensor,
        out: *mut Tensor,
    ) -> *mut Status;
    pub fn infusion_unet_run2(
        unet: usize,
        step: *const Step,
        foundation: *const Tensor,
        sample: *const Tensor,
        timestep: *const Tensor,
        encoder_hidden_states: *const Tensor,
        foundation_out: *mut Tensor,
        out: *mut Tensor,
    ) -> *mut Status;
}

unsafe extern "C" {
    pub fn infusion_model_open(path: *const c_char, out: *mut usize) -> *mut Status;
    pub fn infusion_model_open_memory(
        bytes: *const c_void,
        size: usize,
        path: *const c_char,
        out: *mut usize,
    ) -> *mut Status;
    pub fn infusion_model_describe(model: usize, json: *mut usize) -> *mut Status;
    pub fn infusion_model_graph(model: usize, variant: i32, onnx: *mut usize) -> *mut Status;
    pub fn infusion_model_save(
        model: usize,
        folder: *const c_char,
        options: *const SaveOptions,
        manifest: *mut usize,
    ) -> *mut Status;
    pub fn infusion_model_delta(
        model: usize,
        concept: usize,
        delta: *mut f32,
        count: *mut usize,
        dims: *mut i64,
    ) -> *mut Status;
    pub fn infusion_model_free(model: usize);
}

#[repr(C)]
pub struct SaveOptions {
    pub struct_size: u32,
    pub variants: *const c_char,
    pub self_contained: i32,
    pub overwrite: i32,
}

/// Success, or code and text.
pub fn checked(status: *mut Status) -> Result<(), (i32, String)> {
    if status.is_null() {
        return Ok(());
    }
    // SAFETY: the status is the library's, and freed once.
    unsafe {
        let error =
            (infusion_status_code(status), CStr::from_ptr(infusion_status_text(status)).to_string_lossy().into_owned());
        infusion_status_free(status);
        Err(error)
    }
}

pub fn c_text(text: impl AsRef<Path>) -> CString {
    CString::new(text.as_ref().to_str().unwrap()).unwrap()
}

/// The bytes of a buffer, which is freed.
pub fn bytes(make: impl FnOnce(*mut usize) -> *mut Status) -> Vec<u8> {
    let mut buffer = 0;
    checked(make(&mut buffer)).unwrap();
    // SAFETY: the buffer is live until it is freed.
    unsafe {
        let bytes = std::slice::from_raw_parts(infusion_buffer_data(buffer).cast::<u8>(), infusion_buffer_size(buffer));
        let bytes = bytes.to_vec();
        infusion_buffer_free(buffer);
        bytes
    }
}

/// The same as JSON.
pub fn json(make: impl FnOnce(*mut usize) -> *mut Status) -> serde_json::Value {
    serde_json::from_slice(&bytes(make)).unwrap()
}

/// A number type of tensors.
pub trait Number: Copy {
    const TYPE: i32;
}

macro_rules! numbers {
    ($($number:ty = $value:literal)*) => { $(impl Number for $number { const TYPE: i32 = $value; })* };
}

numbers! { f32 = 1 half::f16 = 2 f64 = 3 i32 = 4 i64 = 5 }

/// Numbers that a [`Tensor`] points to.
pub struct Host<T> {
    values: Vec<T>,
    dims: Vec<i64>,
}

impl<T: Number> Host<T> {
    pub fn new(values: Vec<T>, dims: &[i64]) -> Self {
        assert_eq!(values.len(), dims.iter().product::<i64>() as usize);
        Self { values, dims: dims.to_vec() }
    }

    pub fn of<D: Dimension>(array: &Array<T, D>) -> Self {
        let dims: Vec<i64> = array.shape().iter().map(|&length| length as i64).collect();
        Self::new(array.iter().copied().collect(), &dims)
    }

    pub fn tensor(&self) -> Tensor {
        Tensor {
            struct_size: size_of::<Tensor>() as u32,
            element_type: T::TYPE,
            data: self.values.as_ptr().cast_mut().cast(),
            size: size_of_val(self.values.as_slice()),
            dims: self.dims.as_ptr(),
            rank: self.dims.len(),
        }
    }

    /// The tensor for an output.
    pub fn tensor_mut(&mut self) -> Tensor {
        Tensor { data: self.values.as_mut_ptr().cast(), ..self.tensor() }
    }

    pub fn values(&self) -> &[T] {
        &self.values
    }
}

/// A row of the batch whose marks live as long as it.
pub struct OwnedRow {
    name: CString,
    positions: Vec<usize>,
    marks: Vec<Mark>,
    ids: Vec<i64>,
    role: i32,
    image: u64,
}

impl OwnedRow {
    pub fn new(role: i32, image: u64) -> Self {
        Self { name: CString::default(), positions: Vec::new(), marks: Vec::new(), ids: Vec::new(), role, image }
    }

    /// With the concept `name` at `positions`.
    pub fn marked(mut self, name: &str, positions: &[usize], strength: f32) -> Self {
        (self.name, self.positions) = (CString::new(name).unwrap(), positions.to_vec());
        let struct_size = size_of::<Mark>() as u32;
        let (concept_name, positions) = (self.name.as_ptr(), self.positions.as_ptr());
        let positions_count = self.positions.len();
        self.marks.push(Mark { struct_size, strength, concept_name, positions, positions_count });
        self
    }

    pub fn with_ids(mut self, ids: &[i64]) -> Self {
        self.ids = ids.to_vec();
        self
    }

    pub fn row(&self) -> Row {
        Row {
            struct_size: size_of::<Row>() as u32,
            role: self.role,
            image: self.image,
            marks: self.marks.as_ptr(),
            marks_count: self.marks.len(),
            ids: self.ids.as_ptr(),
            ids_count: self.ids.len(),
        }
    }
}

pub fn step(index: u32, rows: &[Row]) -> Step {
    Step {
        struct_size: size_of::<Step>() as u32,
        index,
        steps: 0,
        rows_per_image: 0,
        rows: rows.as_ptr(),
        rows_count: rows.len(),
        inputs: ptr::null(),
        inputs_count: 0,
    }
}

pub fn unet_options() -> UnetOptions {
    UnetOptions {
        struct_size: size_of::<UnetOptions>() as u32,
        mode: 0,
        graphs: 0,
        threads: 0,
        low_memory: 0,
        provider: ptr::null(),
        cache: ptr::null(),
        graph_folder: ptr::null(),
        tokenizer: 0,
        scheduler: None,
        scheduler_user: ptr::null_mut(),
    }
}

/// An `infusion_unet`.
pub struct Unet(pub usize);

impl Unet {
    pub fn open(model: &Path, options: &UnetOptions) -> Self {
        let mut unet = 0;
        // SAFETY: text, struct and output live during the call.
        checked(unsafe { infusion_unet_open(c_text(model).as_ptr(), options, &mut unet) }).unwrap();
        Self(unet)
    }

    /// Sets the concept file `path` as `name`.
    pub fn set(&self, name: &str, path: &Path, weight: f32) {
        let concept = Concept::load(path);
        // SAFETY: texts live during the call.
        let status =
            unsafe { infusion_unet_set_concept(self.0, c_text(name).as_ptr(), concept.0, weight, ptr::null(), 1) };
        checked(status).unwrap();
    }

    pub fn run(
        &self,
        step: &Step,
        sample: &Tensor,
        timestep: &Tensor,
        context: &Tensor,
        out: &mut Tensor,
    ) -> Result<(), (i32, String)> {
        // SAFETY: everything that the structs point to lives during the call.
        checked(unsafe { infusion_unet_run(self.0, step, sample, timestep, context, out) })
    }
}

impl Drop for Unet {
    fn drop(&mut self) {
        // SAFETY: any handle may be freed.
        unsafe { infusion_unet_free(self.0) };
    }
}

/// An `infusion_concept`.
pub struct Concept(pub usize);

impl Concept {
    pub fn load(path: &Path) -> Self {
        let mut concept = 0;
        // SAFETY: text and output live during the call.
        checked(unsafe { infusion_concept_load(c_text(path).as_ptr(), &mut concept) }).unwrap();
        Self(concept)
    }
}

impl Drop for Concept {
    fn drop(&mut self) {
        // SAFETY: any handle may be freed.
        unsafe { infusion_concept_free(self.0) };
    }
}
