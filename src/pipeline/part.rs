use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::runtime::{Session, SessionOptions, ShapeRange, TensorSpec, declared_inputs, providers};

use super::Result;

/// A model of the pipeline, loaded when it is first needed.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    options: SessionOptions,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    made_for: Preparation,
    session: Arc<Session>,
}

/// What a session is made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Preparation {
    /// Another form of the model.
    pub file: Option<PathBuf>,
    /// The lengths of its inputs.
    pub shapes: Vec<ShapeRange>,
    /// Whether its work is recorded, where the provider's options ask for it.
    pub record: bool,
}

impl Part {
    pub fn new(path: &Path, options: &SessionOptions) -> Self {
        Self { path: path.to_owned(), options: options.clone(), held: Mutex::new(None) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The session for inputs of any size; the first call loads it.
    pub fn session(&self) -> Result<Arc<Session>> {
        self.prepared(Preparation::default())
    }

    /// The session for inputs of the shapes that `shape` gives, loaded anew for others where the provider
    /// prepares for shapes.
    pub fn session_for(&self, shape: impl Fn(&TensorSpec) -> Vec<usize>) -> Result<Arc<Session>> {
        if !providers::choose(&self.options.provider)?.spec.settles_shapes() {
            return self.session();
        }
        let specs = declared_inputs(&self.path)?;
        let exact = |spec: &TensorSpec| ShapeRange::exact(&spec.name, &shape(spec));
        self.prepared(Preparation { shapes: specs.iter().map(exact).collect(), ..Default::default() })
    }

    /// The session that is made for this; one that was made for something else is dropped.
    pub fn prepared(&self, preparation: Preparation) -> Result<Arc<Session>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_ref().filter(|held| held.made_for == preparation) {
            return Ok(Arc::clone(&held.session));
        }
        *held = None;
        let options =
            SessionOptions { shapes: preparation.shapes.clone(), record: preparation.record, ..self.options.clone() };
        let session = Arc::new(Session::open(preparation.file.as_ref().unwrap_or(&self.path), &options)?);
        *held = Some(Held { made_for: preparation, session: Arc::clone(&session) });
        Ok(session)
    }

    /// The session, if it is loaded.
    pub fn loaded(&self) -> Option<Arc<Session>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map(|held| Arc::clone(&held.session))
    }

    /// Drops the session; the next use loads it again.
    pub fn release(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
