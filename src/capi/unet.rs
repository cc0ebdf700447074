use std::ffi::{c_char, c_void};
use std::sync::Arc;

use serde_json::{Value, json};

use super::arguments::{optional_text, output, text};
use super::concept::CONCEPTS;
use super::handles::Table;
use super::scheduler::{HostScheduler, SchedulerCallback};
use super::session::SessionArguments;
use super::status::{Status, call, guarded};
use super::structs::{self, Struct};
use super::tokenizer::TOKENIZERS;
use super::{Result, buffer, modes};
use crate::pipeline::step::{FoundationScheduler, Setting, StepOptions, StepUnet};
use crate::runtime::{Dim, TensorSpec};

pub(super) static UNETS: Table<StepUnet> = Table::new(4, "infusion_unet");

/// `infusion_unet_options`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct UnetOptions {
    struct_size: u32,
    mode: i32,
    graphs: i32,
    threads: u32,
    low_memory: i32,
    provider: *const c_char,
    cache: *const c_char,
    graph_folder: *const c_char,
    tokenizer: usize,
    scheduler: Option<SchedulerCallback>,
    scheduler_user: *mut c_void,
}

// SAFETY: numbers, raw pointers and a function that may be absent; the caller vouches for it as for any pointer.
unsafe impl Struct for UnetOptions {
    const NAME: &'static str = "infusion_unet_options";
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_unet_open(
    model: *const c_char,
    options: *const UnetOptions,
    out: *mut usize,
) -> *mut Status {
    call(|| {
        let out = output("out", out)?;
        // SAFETY: the caller vouches for the texts and the struct.
        let (model, options) = unsafe { (text("model", model)?, step_options(options)?) };
        let unet = UNETS.insert(StepUnet::open(model, options)?)?;
        // SAFETY: not NULL and aligned; the caller vouches for the rest.
        unsafe { out.write(unet) };
        Ok(())
    })
}

/// # Safety
/// `options` is NULL or as the header says.
unsafe fn step_options(options: *const UnetOptions) -> Result<StepOptions> {
    // SAFETY: the caller vouches for the struct and its texts.
    unsafe {
        let options = structs::read_or_zero("options", options)?;
        let UnetOptions { provider, cache, threads, low_memory, scheduler_user: user, .. } = options;
        let session = SessionArguments { provider, cache, threads, low_memory }.options()?;
        let tokenizer = match options.tokenizer {
            0 => None,
            token => Some(TOKENIZERS.get(token)?),
        };
        let scheduler = options
            .scheduler
            .map(|callback| Box::new(HostScheduler { callback, user }) as Box<dyn FoundationScheduler>);
        Ok(StepOptions {
            session,
            graph_folder: optional_text("graph_folder", options.graph_folder)?.map(Into::into),
            mode: modes::mode(options.mode)?,
            graphs: modes::graphs(options.graphs)?,
            tokenizer,
            scheduler,
        })
    }
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_unet_describe(unet: usize, json: *mut usize) -> *mut Status {
    call(|| {
        let unet = UNETS.get(unet)?;
        let (inputs, output) = unet.describe()?;
        let graphs = unet.graphs();
        let layers = graphs.layers.iter();
        let layers: Vec<_> =
            layers.map(|layer| json!({"module_path": layer.module_path, "width": layer.width})).collect();
        let files: serde_json::Map<String, Value> =
            graphs.files().into_iter().map(|(name, path)| (name.to_owned(), json!(path))).collect();
        let loaded = unet.loaded().into_iter();
        let loaded: Vec<_> = loaded
            .map(|(graph, session)| json!({"graph": graph, "provider": session.provider().to_string()}))
            .collect();
        let described = json!({
            "inputs": inputs.iter().map(described_tensor).collect::<Vec<_>>(),
            "output": described_tensor(&output),
            "layers": layers,
            "base_model_hash": graphs.base_model_hash,
            "graphs": files,
            "loaded": loaded,
        });
        // SAFETY: the caller vouches for `json`.
        unsafe { buffer::hand_over_json(&described, json) }
    })
}

/// Name, type and dims, of which free ones are names.
fn described_tensor(spec: &TensorSpec) -> Value {
    let dims = spec.dims.iter().map(|dim| match dim {
        Dim::Fixed(length) => json!(length),
        Dim::Symbolic(name) => json!(name),
    });
    let dims: Vec<Value> = dims.collect();
    json!({"name": spec.name, "type": spec.element_type.to_string(), "dims": dims})
}

/// Loads the sessions of a UNet.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_unet_preload(unet: usize) -> *mut Status {
    call(|| Ok(UNETS.get(unet)?.preload()?))
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_unet_set_concept(
    unet: usize,
    name: *const c_char,
    concept: usize,
    weight: f32,
    phrase: *const c_char,
    force: i32,
) -> *mut Status {
    call(|| {
        let unet = UNETS.get(unet)?;
        let concept = CONCEPTS.get(concept)?;
        // SAFETY: the caller vouches for texts that end in NUL.
        let (name, phrase) = unsafe { (optional_text("name", name)?, optional_text("phrase", phrase)?) };
        let setting =
            Setting { name: name.map(str::to_owned), weight, phrase: phrase.map(str::to_owned), force: force != 0 };
        Ok(unet.set_concept(Arc::clone(&concept), setting)?)
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_unet_set_weight(unet: usize, name: *const c_char, weight: f32) -> *mut Status {
    // SAFETY: the caller vouches for a text that ends in NUL.
    call(|| Ok(UNETS.get(unet)?.set_weight(unsafe { text("name", name) }?, weight)?))
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_unet_remove_concept(unet: usize, name: *const c_char) -> *mut Status {
    // SAFETY: the caller vouches for a text that ends in NUL.
    call(|| Ok(UNETS.get(unet)?.remove_concept(unsafe { text("name", name) }?)?))
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_unet_concepts(unet: usize, json: *mut usize) -> *mut Status {
    call(|| {
        let set = UNETS.get(unet)?.concepts();
        let described = set.iter().map(|set| {
            json!({
                "name": set.name,
                "word": set.concept.word,
                "class": set.concept.class,
                "phrase": set.phrase,
                "weight": set.weight,
                "tokens": set.concept.tokens(),
            })
        });
        // SAFETY: the caller vouches for `json`.
        unsafe { buffer::hand_over_json(&described.collect(), json) }
    })
}

/// Forgets a picture that will not be gone on with.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_unet_end_image(unet: usize, image: u64) -> *mut Status {
    call(|| {
        UNETS.get(unet)?.end_image(image);
        Ok(())
    })
}

/// Frees a UNet.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_unet_free(unet: usize) {
    guarded((), || UNETS.remove(unet));
}
