use std::collections::HashSet;
use std::ffi::{c_char, c_void};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::arguments::{optional_text, output, slice, text};
use super::handles::Table;
use super::status::{Status, call, guarded};
use super::structs::{self, Struct};
use super::{Error, Result, buffer};
use crate::concept::LayerSpec;
use crate::onnx::infer::infer;
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::write::Overwrite;
use crate::onnx::{Model, Transaction, Weights, WriteOptions};
use crate::patch::{self, CrossAttention, EmitOptions, FindOptions, Manifest, Survey, Variant, emit, find};

pub(super) static MODELS: Table<Export> = Table::new(5, "infusion_model");

/// An exported UNet, and what was found in it.
pub(super) struct Export {
    model: Model,
    survey: Survey,
}

/// `infusion_save_options`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SaveOptions {
    struct_size: u32,
    variants: *const c_char,
    self_contained: i32,
    overwrite: i32,
}

// SAFETY: numbers and a raw pointer, of which any bytes make some.
unsafe impl Struct for SaveOptions {
    const NAME: &'static str = "infusion_save_options";
}

impl Export {
    fn new(model: Model) -> Result<Self> {
        let survey = find(&model, &infer(&model), &FindOptions::default())?;
        Ok(Self { model, survey })
    }

    fn graph(&self, variant: Variant) -> patch::Result<Model> {
        emit(&self.model, &self.survey, variant, &EmitOptions::default())
    }

    pub fn layers(&self) -> Vec<LayerSpec> {
        let spec = |layer: &CrossAttention| LayerSpec { module_path: layer.module_path.clone(), width: layer.width };
        self.survey.layers.iter().map(spec).collect()
    }

    /// The file name without `.onnx`.
    fn stem(&self) -> String {
        let name = self.model.path().and_then(Path::file_stem);
        name.map_or("model".to_owned(), |stem| stem.to_string_lossy().into_owned())
    }
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_model_open(path: *const c_char, out: *mut usize) -> *mut Status {
    call(|| {
        let out = output("out", out)?;
        // SAFETY: the caller vouches for a text that ends in NUL.
        let export = Export::new(Model::open(unsafe { text("path", path) }?)?)?;
        // SAFETY: not NULL and aligned; the caller vouches for the rest.
        unsafe { out.write(MODELS.insert(export)?) };
        Ok(())
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_model_open_memory(
    bytes: *const c_void,
    size: usize,
    path: *const c_char,
    out: *mut usize,
) -> *mut Status {
    call(|| {
        let out = output("out", out)?;
        // SAFETY: the caller vouches for a text that ends in NUL and for `size` bytes.
        let (bytes, path) = unsafe { (slice("bytes", bytes.cast::<u8>(), size)?, optional_text("path", path)?) };
        let export = Export::new(Model::from_bytes(bytes.to_vec(), path.map(Path::new))?)?;
        // SAFETY: not NULL and aligned; the caller vouches for the rest.
        unsafe { out.write(MODELS.insert(export)?) };
        Ok(())
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_model_describe(model: usize, json: *mut usize) -> *mut Status {
    call(|| {
        let export = MODELS.get(model)?;
        let (mut graphs, mut refused) = (Map::new(), Map::new());
        for variant in Variant::ALL {
            match export.graph(variant) {
                Ok(graph) => graphs.insert(variant.name().to_owned(), described_graph(&graph)),
                Err(error) => refused.insert(variant.name().to_owned(), json!(error.to_string())),
            };
        }
        let mut described = value_of(&Manifest::describe(&export.model, &export.survey)?)?;
        (described["graphs"], described["refused"]) = (graphs.into(), refused.into());
        // SAFETY: the caller vouches for `json`.
        unsafe { buffer::hand_over_json(&described, json) }
    })
}

/// Inputs and outputs; those with an initializer need not be fed.
fn described_graph(model: &Model) -> Value {
    let graph = &model.graph;
    let described = |info: &ValueInfoProto| {
        let tensor = info.r#type.as_ref().and_then(tensor_type);
        let (element, dims) = tensor.unwrap_or_default();
        json!({"name": info.name(), "type": element, "dims": dims, "optional": graph.initializers().contains_key(info.name())})
    };
    json!({
        "inputs": graph.inputs().iter().map(described).collect::<Vec<_>>(),
        "outputs": graph.outputs().iter().map(described).collect::<Vec<_>>(),
    })
}

/// The name of the element type, and the dims, of which free ones are names.
fn tensor_type(info: &crate::onnx::proto::TypeProto) -> Option<(String, Vec<Value>)> {
    use crate::onnx::DataType;
    use crate::onnx::proto::tensor_shape_proto::dimension::Value as Length;
    use crate::onnx::proto::type_proto;
    let Some(type_proto::Value::TensorType(tensor)) = &info.value else { return None };
    let element = DataType::try_from(tensor.elem_type.unwrap_or_default()).ok()?;
    let name = match element {
        DataType::Float => "float32".to_owned(),
        DataType::Double => "float64".to_owned(),
        other => other.as_str_name().to_lowercase(),
    };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim).map(|dim| match &dim.value {
        Some(Length::DimValue(length)) => json!(length),
        Some(Length::DimParam(symbol)) => json!(symbol),
        None => json!(""),
    });
    Some((name, dims.collect()))
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_model_graph(model: usize, variant: i32, onnx: *mut usize) -> *mut Status {
    call(|| {
        let export = MODELS.get(model)?;
        let known = usize::try_from(variant).ok().and_then(|index| Variant::ALL.get(index));
        let Some(&variant) = known else {
            return Err(Error::argument("variant", format!("{variant} is no infusion_variant")));
        };
        let bytes = export.graph(variant)?.to_bytes()?;
        // SAFETY: the caller vouches for `onnx`.
        unsafe { buffer::hand_over("onnx", bytes, onnx) }
    })
}

/// # Safety
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn infusion_model_save(
    model: usize,
    folder: *const c_char,
    options: *const SaveOptions,
    manifest: *mut usize,
) -> *mut Status {
    call(|| {
        let export = MODELS.get(model)?;
        // SAFETY: the caller vouches for texts that end in NUL, and for the struct.
        let (folder, options, variants) = unsafe {
            let options = structs::read_or_zero("options", options)?;
            let variants = optional_text("variants", options.variants)?;
            (optional_text("folder", folder)?, options, variants.map(parse_variants).transpose()?)
        };
        let folder = match (folder, export.model.path()) {
            (Some(folder), _) => PathBuf::from(folder),
            (None, Some(source)) => source.parent().unwrap_or(Path::new("")).to_owned(),
            (None, None) => return Err(Error::argument("folder", "is NULL, and the model came from memory")),
        };
        let saved = save(&export, &folder, variants.as_deref(), &options)?;
        if manifest.is_null() {
            return Ok(());
        }
        // SAFETY: the caller vouches for `manifest`.
        unsafe { buffer::hand_over_json(&value_of(&saved)?, manifest) }
    })
}

/// `f,c,shared`
fn parse_variants(text: &str) -> Result<Vec<Variant>> {
    let parse = |name: &str| {
        let known = Variant::ALL.into_iter().find(|variant| variant.name() == name.trim());
        known.ok_or_else(|| Error::argument("variants", format!("'{name}' is none of f, c, dual, shared and train")))
    };
    text.split(',').map(parse).collect()
}

/// Writes the variants, or all that can be made, and the manifest.
fn save(export: &Export, folder: &Path, variants: Option<&[Variant]>, options: &SaveOptions) -> Result<Manifest> {
    let manifest_name = Manifest::file_name(&export.stem());
    let mut own = own_files(&folder.join(&manifest_name));
    own.insert(manifest_name.clone());
    let options = WriteOptions {
        weights: if options.self_contained != 0 { Weights::SelfContained } else { Weights::Shared },
        overwrite: if options.overwrite != 0 { Overwrite::Always } else { Overwrite::Named(own.clone()) },
        on_copy: None,
    };
    let mut manifest = Manifest::describe(&export.model, &export.survey)?;
    let mut transaction = Transaction::begin(folder, options)?;
    for &variant in variants.unwrap_or(&Variant::ALL) {
        let graph = match export.graph(variant) {
            Err(patch::Error::Variant { .. }) if variants.is_none() && !matches!(variant, Variant::F | Variant::C) => {
                continue;
            }
            graph => graph?,
        };
        let name = Manifest::graph_name(&export.stem(), variant);
        transaction.model(&name, &graph)?;
        manifest.graphs.insert(variant.name().to_owned(), name);
    }
    // Weights that an earlier run provided stay listed, so that a later one may replace them.
    let mut files: Vec<String> = transaction.file_names().into_iter().chain(own).collect();
    files.retain(|name| *name != manifest_name);
    files.sort();
    files.dedup();
    manifest.files = files;
    transaction.file(&manifest_name, format!("{:#}\n", value_of(&manifest)?).as_bytes())?;
    transaction.commit()?;
    Ok(manifest)
}

/// The files that an earlier manifest lists.
fn own_files(manifest: &Path) -> HashSet<String> {
    let earlier = std::fs::read(manifest).ok().and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
    earlier.map(|manifest| manifest.files.into_iter().collect()).unwrap_or_default()
}

fn value_of(manifest: &Manifest) -> Result<Value> {
    serde_json::to_value(manifest).map_err(|error| Error::argument("manifest", error.to_string()))
}

/// Frees a model.
#[unsafe(no_mangle)]
pub extern "C" fn infusion_model_free(model: usize) {
    guarded((), || MODELS.remove(model));
}
