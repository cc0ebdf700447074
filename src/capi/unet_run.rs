use std::ffi::c_char;

use ndarray::{Ix3, Ix4};

use super::arguments::{slice, text};
use super::status::{Status, call};
use super::structs::{self, Struct};
use super::tensor::{Checked, InputArgument, TensorArgument};
use super::unet::UNETS;
use super::{Error, Result};
use crate::pipeline::step::{Inputs, Mark, Role, Step, StepRow};

const LATENTS: &str = "[rows, 4, height, width]";

/// `infusion_step`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct StepArgument {
    struct_size: u32,
    index: u32,
    steps: u32,
    rows_per_image: u32,
    rows: *const RowArgument,
    rows_count: usize,
    inputs: *const InputArgument,
    inputs_count: usize,
}

/// `infusion_row`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RowArgument {
    struct_size: u32,
    role: i32,
    image: u64,
    marks: *const MarkArgument,
    marks_count: usize,
    ids: *const i64,
    ids_count: usize,
}

/// `infusion_mark`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct MarkArgument {
    struct_size: u32,
    strength: f32,
    concept_name: *const c_char,
    positions: *const usize,
    positions_count: usize,
}

// SAFETY: numbers and raw pointers, of which any bytes make some.
unsafe impl Struct for StepArgument {
    const NAME: &'static str = "infusion_step";
}
// SAFETY: as above.
unsafe impl Struct for RowArgument {
    const NAME: &'static str = "infusion_row";
}
// SAFETY: as above.
unsafe impl Struct for MarkArgument {
    const NAME: &'static str = "infusion_mark";
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_unet_run(
    unet: usize,
    step: *const StepArgument,
    sample: *const TensorArgument,
    timestep: *const TensorArgument,
    encoder_hidden_states: *const TensorArgument,
    out: *mut TensorArgument,
) -> *mut Status {
    call(|| {
        let unet = UNETS.get(unet)?;
        // SAFETY: the caller vouches for the structs and the memory that they name.
        unsafe {
            let (step, further) = read_step(step)?;
            let sample = Checked::new("sample", sample)?.floats_of::<Ix4>(LATENTS)?;
            let out = Checked::new("out", out)?;
            out.takes(sample.shape())?;
            let inputs = inputs(timestep, encoder_hidden_states, further)?;
            out.write(&unet.run(&step, &sample, &inputs)?)
        }
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_unet_run2(
    unet: usize,
    step: *const StepArgument,
    foundation: *const TensorArgument,
    sample: *const TensorArgument,
    timestep: *const TensorArgument,
    encoder_hidden_states: *const TensorArgument,
    foundation_out: *mut TensorArgument,
    out: *mut TensorArgument,
) -> *mut Status {
    call(|| {
        let unet = UNETS.get(unet)?;
        // SAFETY: the caller vouches for the structs and the memory that they name.
        unsafe {
            let (step, further) = read_step(step)?;
            let foundation = Checked::new("foundation", foundation)?.floats_of::<Ix4>(LATENTS)?;
            let sample = Checked::new("sample", sample)?.floats_of::<Ix4>(LATENTS)?;
            let foundation_out = Checked::new("foundation_out", foundation_out)?;
            let out = Checked::new("out", out)?;
            foundation_out.takes(sample.shape())?;
            out.takes(sample.shape())?;
            let inputs = inputs(timestep, encoder_hidden_states, further)?;
            let predicted = unet.run2(&step, &foundation, &sample, &inputs)?;
            foundation_out.write(&predicted.foundation)?;
            out.write(&predicted.customised)
        }
    })
}

/// Further inputs of the export, by name.
type FurtherInputs = Vec<(String, ndarray::ArrayD<f32>)>;

/// # Safety
/// Pointers are as the header says.
unsafe fn inputs(
    timestep: *const TensorArgument,
    encoder_hidden_states: *const TensorArgument,
    further: FurtherInputs,
) -> Result<Inputs> {
    // SAFETY: the caller vouches for the structs and the memory that they name.
    unsafe {
        let context = Checked::new("encoder_hidden_states", encoder_hidden_states)?;
        Ok(Inputs {
            timesteps: Checked::new("timestep", timestep)?.timesteps()?,
            context: context.floats_of::<Ix3>("[rows, tokens, width]")?,
            further,
        })
    }
}

/// The step and its further inputs; nothing of both for NULL.
///
/// # Safety
/// Pointers are as the header says.
unsafe fn read_step(step: *const StepArgument) -> Result<(Step, FurtherInputs)> {
    // SAFETY: the caller vouches for the structs.
    unsafe {
        let given = structs::read_or_zero("step", step)?;
        let rows = structs::read_all("rows", given.rows, given.rows_count)?;
        let inputs = structs::read_all("inputs", given.inputs, given.inputs_count)?;
        let step = Step {
            index: given.index,
            steps: given.steps,
            rows_per_image: given.rows_per_image as usize,
            rows: rows.iter().map(|row| read_row(row)).collect::<Result<_>>()?,
        };
        let further = inputs.iter().map(|input| input.read()).collect::<Result<_>>()?;
        Ok((step, further))
    }
}

/// # Safety
/// Pointers are as the header says.
unsafe fn read_row(row: &RowArgument) -> Result<StepRow> {
    let role = match row.role {
        0 => Role::Unconditional,
        1 => Role::Conditional,
        2 => Role::Other,
        other => return Err(Error::argument("role", format!("{other} is no infusion_role"))),
    };
    // SAFETY: the caller vouches for the structs and numbers.
    unsafe {
        let marks = structs::read_all("marks", row.marks, row.marks_count)?;
        Ok(StepRow {
            role,
            image: row.image,
            marks: marks.iter().map(|mark| read_mark(mark)).collect::<Result<_>>()?,
            ids: slice("ids", row.ids, row.ids_count)?.to_vec(),
        })
    }
}

/// # Safety
/// Pointers are as the header says.
unsafe fn read_mark(mark: &MarkArgument) -> Result<Mark> {
    // SAFETY: the caller vouches for the text and the numbers.
    unsafe {
        Ok(Mark {
            concept: text("concept_name", mark.concept_name)?.to_owned(),
            strength: mark.strength,
            positions: slice("positions", mark.positions, mark.positions_count)?.to_vec(),
        })
    }
}
