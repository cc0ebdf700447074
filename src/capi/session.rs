//! The options that every object with sessions has.

use std::ffi::c_char;
use std::path::PathBuf;

use super::Result;
use super::arguments::optional_text;
use crate::runtime::{ProviderSpec, SessionOptions};

/// How a host wants its sessions.
pub(super) struct SessionArguments {
    pub provider: *const c_char,
    pub cache: *const c_char,
    pub threads: u32,
    pub low_memory: i32,
}

impl SessionArguments {
    /// # Safety
    /// Texts are NULL or end in NUL.
    pub unsafe fn options(&self) -> Result<SessionOptions> {
        // SAFETY: the caller vouches for the texts.
        let (provider, cache) =
            unsafe { (optional_text("provider", self.provider)?, optional_text("cache", self.cache)?) };
        Ok(SessionOptions {
            provider: provider.map(str::parse::<ProviderSpec>).transpose()?.unwrap_or_default(),
            cache: cache.map(PathBuf::from),
            threads: (self.threads > 0).then_some(self.threads as usize),
            low_memory: self.low_memory != 0,
            ..Default::default()
        })
    }
}
