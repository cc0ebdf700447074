use crate::{concept, onnx, patch, picture, pipeline, prompt, runtime, schedulers, train};

/// The numbers of `infusion_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Code {
    Ok = 0,
    InvalidArgument = 1,
    InvalidHandle = 2,
    NotFound = 3,
    InvalidFile = 4,
    WrongModel = 5,
    Runtime = 6,
    Cancelled = 7,
    Panic = 9,
    Failed = 10,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum Error {
    #[error("{name}: {reason}")]
    Argument { name: &'static str, reason: String },
    #[error("{name}: {reason}")]
    Tensor { name: String, reason: String },
    #[error("{token:#x} is no live {kind}: it was freed, never made, or belongs to another kind of object")]
    Handle { kind: &'static str, token: usize },
    #[error("{0}")]
    NotFound(String),
    #[error("cancelled by {0}")]
    Cancelled(&'static str),
    #[error("a defect of this library, please report it: {0}")]
    Panic(String),
    #[error(transparent)]
    Concept(#[from] concept::Error),
    #[error(transparent)]
    Prompt(#[from] prompt::Error),
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    #[error(transparent)]
    Patch(#[from] patch::Error),
    #[error(transparent)]
    Onnx(#[from] onnx::Error),
    #[error(transparent)]
    Picture(#[from] picture::Error),
    #[error(transparent)]
    Scheduler(#[from] schedulers::Error),
    #[error(transparent)]
    Train(#[from] train::Error),
}

/// A result whose error is this module's [`Error`].
pub(super) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn argument(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Argument { name, reason: reason.into() }
    }

    pub fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { name: name.to_owned(), reason: reason.into() }
    }

    pub fn code(&self) -> Code {
        match self {
            Self::Argument { .. } | Self::Tensor { .. } | Self::Scheduler(_) => Code::InvalidArgument,
            Self::Handle { .. } => Code::InvalidHandle,
            Self::NotFound(_) => Code::NotFound,
            Self::Cancelled(_) => Code::Cancelled,
            Self::Panic(_) => Code::Panic,
            Self::Concept(error) => concept_code(error),
            Self::Prompt(error) => prompt_code(error),
            Self::Runtime(error) => runtime_code(error),
            Self::Pipeline(error) => pipeline_code(error),
            Self::Patch(patch::Error::Onnx(error)) | Self::Onnx(error) => onnx_code(error),
            Self::Patch(_) => Code::InvalidFile,
            Self::Picture(error) => picture_code(error),
            Self::Train(error) => train_code(error),
        }
    }
}

fn concept_code(error: &concept::Error) -> Code {
    match error {
        concept::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Code::NotFound,
        concept::Error::WrongModel { .. } | concept::Error::Layer { .. } => Code::WrongModel,
        concept::Error::Merge { .. } | concept::Error::Exists { .. } | concept::Error::Io { .. } => Code::Failed,
        _ => Code::InvalidFile,
    }
}

fn prompt_code(error: &prompt::Error) -> Code {
    match error {
        prompt::Error::Tokenizer { .. } => Code::InvalidFile,
        prompt::Error::UnknownConcept { .. } | prompt::Error::Absent { .. } => Code::NotFound,
        _ => Code::InvalidArgument,
    }
}

fn runtime_code(error: &runtime::Error) -> Code {
    match error {
        runtime::Error::InvalidOption { .. } => Code::InvalidArgument,
        runtime::Error::Open { .. } => Code::InvalidFile,
        _ => Code::Runtime,
    }
}

fn pipeline_code(error: &pipeline::Error) -> Code {
    match error {
        pipeline::Error::Folder { .. } => Code::InvalidFile,
        pipeline::Error::Patch(patch::Error::Onnx(error)) | pipeline::Error::Onnx(error) => onnx_code(error),
        pipeline::Error::Patch(_) => Code::InvalidFile,
        pipeline::Error::Setting { .. } | pipeline::Error::Scheduler(_) => Code::InvalidArgument,
        pipeline::Error::NoConcept { .. } => Code::NotFound,
        pipeline::Error::Cancelled(_) => Code::Cancelled,
        pipeline::Error::Concept(error) => concept_code(error),
        pipeline::Error::Prompt(error) => prompt_code(error),
        // A tensor that does not fit the model came from the host.
        pipeline::Error::Runtime(runtime::Error::Tensor { .. }) => Code::InvalidArgument,
        pipeline::Error::Runtime(error) => runtime_code(error),
        _ => Code::Failed,
    }
}

fn onnx_code(error: &onnx::Error) -> Code {
    match error {
        onnx::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Code::NotFound,
        onnx::Error::Io { .. } | onnx::Error::Exists { .. } => Code::Failed,
        _ => Code::InvalidFile,
    }
}

fn picture_code(error: &picture::Error) -> Code {
    match error {
        picture::Error::Decode { .. } => Code::InvalidFile,
        _ => Code::Failed,
    }
}

fn train_code(error: &train::Error) -> Code {
    match error {
        train::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Code::NotFound,
        train::Error::Setting { .. } => Code::InvalidArgument,
        train::Error::NoPictures { .. } | train::Error::Checkpoint { .. } | train::Error::Patch(_) => Code::InvalidFile,
        train::Error::Pipeline(error) => pipeline_code(error),
        train::Error::Prompt(error) => prompt_code(error),
        train::Error::Runtime(error) => runtime_code(error),
        train::Error::Onnx(error) => onnx_code(error),
        train::Error::Concept(error) => concept_code(error),
        train::Error::Picture(error) => picture_code(error),
        _ => Code::Failed,
    }
}
