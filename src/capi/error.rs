use crate::{concept, onnx, patch, pipeline, prompt, runtime};

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
    Panic = 9,
    Failed = 10,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum Error {
    #[error("{name}: {reason}")]
    Argument { name: &'static str, reason: String },
    #[error("{token:#x} is no live {kind}: it was freed, never made, or belongs to another kind of object")]
    Handle { kind: &'static str, token: usize },
    #[error("{0}")]
    NotFound(String),
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
}

/// A result whose error is this module's [`Error`].
pub(super) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn argument(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Argument { name, reason: reason.into() }
    }

    pub fn code(&self) -> Code {
        match self {
            Self::Argument { .. } => Code::InvalidArgument,
            Self::Handle { .. } => Code::InvalidHandle,
            Self::NotFound(_) => Code::NotFound,
            Self::Panic(_) => Code::Panic,
            Self::Concept(error) => concept_code(error),
            Self::Prompt(error) => prompt_code(error),
            Self::Runtime(error) => runtime_code(error),
            Self::Pipeline(error) => pipeline_code(error),
            Self::Patch(_) | Self::Onnx(_) => Code::InvalidFile,
        }
    }
}

fn concept_code(error: &concept::Error) -> Code {
    match error {
        concept::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Code::NotFound,
        concept::Error::WrongModel { .. } | concept::Error::Layer { .. } => Code::WrongModel,
        concept::Error::Merge { .. } => Code::Failed,
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
        pipeline::Error::Folder { .. } | pipeline::Error::Patch(_) | pipeline::Error::Onnx(_) => Code::InvalidFile,
        pipeline::Error::Setting { .. } => Code::InvalidArgument,
        pipeline::Error::Concept(error) => concept_code(error),
        pipeline::Error::Prompt(error) => prompt_code(error),
        pipeline::Error::Runtime(error) => runtime_code(error),
        _ => Code::Failed,
    }
}
