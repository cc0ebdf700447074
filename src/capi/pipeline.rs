use std::ffi::c_char;

use serde_json::{Value, json};

use super::arguments::{optional_text, output, text};
use super::buffer;
use super::handles::Table;
use super::session::SessionArguments;
use super::status::{Status, call, guarded};
use super::structs::{self, Struct};
use crate::pipeline::{Pipeline, PipelineOptions};
use crate::schedulers::SCHEDULERS;

pub(super) static PIPELINES: Table<Pipeline> = Table::new(6, "infusion_pipeline");

/// `infusion_pipeline_options`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct OpenOptions {
    struct_size: u32,
    threads: u32,
    low_memory: i32,
    provider: *const c_char,
    cache: *const c_char,
    graph_folder: *const c_char,
}

// SAFETY: numbers and raw pointers, of which any bytes make some.
unsafe impl Struct for OpenOptions {
    const NAME: &'static str = "infusion_pipeline_options";
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_pipeline_open(
    folder: *const c_char,
    options: *const OpenOptions,
    out: *mut usize,
) -> *mut Status {
    call(|| {
        let out = output("out", out)?;
        // SAFETY: the caller vouches for the texts and the struct.
        let (folder, options) = unsafe {
            let options = structs::read_or_zero("options", options)?;
            let OpenOptions { provider, cache, threads, low_memory, .. } = options;
            let session = SessionArguments { provider, cache, threads, low_memory }.options()?;
            let graph_folder = optional_text("graph_folder", options.graph_folder)?.map(Into::into);
            (text("folder", folder)?, PipelineOptions { session, low_memory: low_memory != 0, graph_folder })
        };
        let pipeline = PIPELINES.insert(Pipeline::open(folder, &options)?)?;
        // SAFETY: not NULL and aligned; the caller vouches for the rest.
        unsafe { out.write(pipeline) };
        Ok(())
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_pipeline_describe(pipeline: usize, json: *mut usize) -> *mut Status {
    call(|| {
        let pipeline = PIPELINES.get(pipeline)?;
        let (width, height) = pipeline.usual_size();
        let graphs = pipeline.graphs();
        let layers = graphs.layers.iter();
        let layers: Vec<_> =
            layers.map(|layer| json!({"module_path": layer.module_path, "width": layer.width})).collect();
        let files: serde_json::Map<String, Value> =
            graphs.files().into_iter().map(|(name, path)| (name.to_owned(), json!(path))).collect();
        let loaded = pipeline.loaded().into_iter();
        let loaded: Vec<_> =
            loaded.map(|(part, session)| json!({"part": part, "provider": session.provider().to_string()})).collect();
        let described = json!({
            "folder": pipeline.folder().root,
            "width": width,
            "height": height,
            "layers": layers,
            "base_model_hash": graphs.base_model_hash,
            "graphs": files,
            "schedulers": SCHEDULERS.iter().map(|entry| entry.name).collect::<Vec<_>>(),
            "loaded": loaded,
        });
        // SAFETY: the caller vouches for `json`.
        unsafe { buffer::hand_over_json(&described, json) }
    })
}

/// Frees a pipeline.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_pipeline_free(pipeline: usize) {
    guarded((), || PIPELINES.remove(pipeline));
}
