//! Options of every command that runs models: which library, where, with how many threads.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use infusion::runtime::{LibraryChoice, ProviderSpec, SessionOptions, library};

#[derive(Clone, Debug, Args)]
pub struct RuntimeArgs {
    /// Where models run: auto, cpu, cuda, tensorrt, directml, coreml or openvino, with options:
    /// cuda:device=0,arena=same-as-requested (see `infusion providers`)
    #[arg(long, value_name = "PROVIDER", default_value = "auto", help_heading = "Runtime")]
    pub provider: ProviderSpec,
    /// Threads that all models share [default: one for each physical core]
    #[arg(long, value_name = "N", help_heading = "Runtime")]
    pub threads: Option<usize>,
    /// The ONNX Runtime library, or its folder [default: ORT_DYLIB_PATH, then a search]
    #[arg(long, value_name = "FILE", help_heading = "Runtime")]
    pub onnxruntime: Option<PathBuf>,
    /// Folder of optimised models, for faster later starts; about twice the models' size
    /// [default: infusion in the user's cache folder]
    #[arg(long, value_name = "DIR", help_heading = "Runtime")]
    pub cache: Option<PathBuf>,
    /// Keep no optimised models
    #[arg(long, conflicts_with = "cache", help_heading = "Runtime")]
    pub no_cache: bool,
}

impl RuntimeArgs {
    /// Loads the library; call before anything that runs a model.
    pub fn load(&self) -> Result<&'static infusion::runtime::LibraryInfo> {
        Ok(library::load(&LibraryChoice { path: self.onnxruntime.clone(), threads: self.threads })?)
    }

    pub fn session_options(&self) -> SessionOptions {
        SessionOptions { provider: self.provider.clone(), cache: self.cache_folder(), ..Default::default() }
    }

    pub fn cache_folder(&self) -> Option<PathBuf> {
        if self.no_cache { None } else { self.cache.clone().or_else(default_cache) }
    }
}

fn default_cache() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = match std::env::consts::OS {
        "windows" => folder("LOCALAPPDATA"),
        "macos" => folder("HOME").map(|home| home.join("Library/Caches")),
        _ => folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache"))),
    };
    Some(home?.join("infusion"))
}
