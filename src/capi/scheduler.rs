use std::ffi::c_void;

use ndarray::Array3;

use crate::pipeline::step::{FoundationScheduler, FoundationStep, Role};
use crate::pipeline::{Error, Result};

/// `infusion_scheduler`
pub type SchedulerCallback = unsafe extern "C" fn(*mut c_void, *const FoundationArgument) -> i32;

/// `infusion_foundation`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct FoundationArgument {
    struct_size: u32,
    index: u32,
    image: u64,
    rows: usize,
    roles: *const i32,
    noise: *const f32,
    sample: *const f32,
    next: *mut f32,
    channels: i64,
    height: i64,
    width: i64,
}

/// A host's scheduler of F's latents.
pub(super) struct HostScheduler {
    pub callback: SchedulerCallback,
    pub user: *mut c_void,
}

// SAFETY: the header says that the callback runs on whatever thread calls, with `user` as the host's own business.
unsafe impl Send for HostScheduler {}
// SAFETY: as above.
unsafe impl Sync for HostScheduler {}

impl FoundationScheduler for HostScheduler {
    fn step(&self, foundation: &FoundationStep) -> Result<Array3<f32>> {
        let roles: Vec<i32> = foundation.roles.iter().copied().map(number).collect();
        let noise = foundation.noise.as_standard_layout();
        let sample = foundation.sample.as_standard_layout();
        let (channels, height, width) = sample.dim();
        // A host that forgets to write is told by the check for numbers.
        let mut next = Array3::from_elem((channels, height, width), f32::NAN);
        let argument = FoundationArgument {
            struct_size: size_of::<FoundationArgument>() as u32,
            index: foundation.index,
            image: foundation.image,
            rows: roles.len(),
            roles: roles.as_ptr(),
            noise: noise.as_ptr(),
            sample: sample.as_ptr(),
            next: next.as_mut_ptr(),
            channels: channels as i64,
            height: height as i64,
            width: width as i64,
        };
        // SAFETY: the host vouches for the callback; everything that the struct points to outlives the call.
        match unsafe { (self.callback)(self.user, &argument) } {
            0 => Ok(next),
            _ => Err(Error::Cancelled("the host's scheduler")),
        }
    }
}

/// `infusion_role`
fn number(role: Role) -> i32 {
    match role {
        Role::Unconditional => 0,
        Role::Conditional => 1,
        Role::Other => 2,
    }
}
