use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::runtime::{Session, SessionOptions};

use super::Result;

/// A model of the pipeline, loaded when it is first needed.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    options: SessionOptions,
    session: Mutex<Option<Arc<Session>>>,
}

impl Part {
    pub fn new(path: &Path, options: &SessionOptions) -> Self {
        Self { path: path.to_owned(), options: options.clone(), session: Mutex::new(None) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The session; the first call loads it.
    pub fn session(&self) -> Result<Arc<Session>> {
        let mut held = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = held.as_ref() {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::open(&self.path, &self.options)?);
        *held = Some(Arc::clone(&session));
        Ok(session)
    }

    /// The session, if it is loaded.
    pub fn loaded(&self) -> Option<Arc<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Drops the session; the next use loads it again.
    pub fn release(&self) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
