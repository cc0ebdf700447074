//! The dialect exports under `tests/dialects`, unpacked into `target/dialects` on first use.
//!
//! Integration tests: `#[path = "support/dialects.rs"] mod dialects;`. Unit tests: `crate::dialects`.
#![allow(dead_code)]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;

/// One entry of `tests/dialects/index.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Dialect {
    pub name: String,
    pub about: String,
    pub exporter: String,
    pub opset: i64,
    /// `float32` or `float16`: the type of the first input.
    pub dtype: String,
    pub expect: Expect,
    pub runs_on_cpu: bool,
    files: Vec<String>,
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
    /// Number of cross-attention layers; this and what follows are empty where `expect` is `Refuse`.
    #[serde(default)]
    pub layers: usize,
    /// Per layer, in execution order.
    #[serde(default)]
    pub heads: Vec<usize>,
    #[serde(default)]
    pub value_widths: Vec<usize>,
    /// Module paths such as `down_blocks.0.attentions.0.transformer_blocks.0.attn2`.
    #[serde(default)]
    pub modules: Vec<String>,
    /// Largest difference from the references, relative to their largest element.
    #[serde(default)]
    pub tolerance: f64,
    #[serde(default)]
    reference: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// All layers are found and patched.
    Patch,
    /// Not a UNet that can be patched: a clear refusal.
    Refuse,
}

/// A graph input or output; a dim is a number, or a string where it is free.
#[derive(Clone, Debug, Deserialize)]
pub struct Value {
    pub name: String,
    #[serde(rename = "type")]
    pub elem_type: String,
    pub dims: Vec<serde_json::Value>,
}

impl Dialect {
    /// The unpacked `model.onnx`; external data lies beside it.
    pub fn model(&self) -> PathBuf {
        let folder = root().join("target/dialects").join(&self.name);
        fs::create_dir_all(&folder).unwrap();
        for file in &self.files {
            let packed = packed().join(&self.name).join(format!("{file}.gz"));
            unpack(&packed, &folder.join(file));
        }
        folder.join("model.onnx")
    }

    /// The safetensors file of reference inputs and outputs; `tools/dialects/reference.py` lists its tensors.
    pub fn reference(&self) -> PathBuf {
        packed().join(self.reference.as_deref().expect("a dialect to be patched"))
    }

    /// Whether the rows of the batch are free.
    pub fn dynamic_batch(&self) -> bool {
        self.inputs[0].dims[0].is_string()
    }
}

/// Every dialect in the index.
pub fn all() -> Vec<Dialect> {
    let index = packed().join("index.json");
    let text = fs::read_to_string(&index).unwrap_or_else(|e| panic!("{}: {e}", index.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", index.display()))
}

/// Those that `infusion-patch` must patch.
pub fn patchable() -> Vec<Dialect> {
    all().into_iter().filter(|d| d.expect == Expect::Patch).collect()
}

/// The dialect of that name.
pub fn named(name: &str) -> Dialect {
    all().into_iter().find(|d| d.name == name).unwrap_or_else(|| panic!("no dialect {name} in tests/dialects"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn packed() -> PathBuf {
    root().join("tests/dialects")
}

/// Tests of several processes may unpack the same file: each under its own name, then renamed.
fn unpack(packed: &Path, file: &Path) {
    let modified = |path: &Path| fs::metadata(path).and_then(|m| m.modified());
    let source = modified(packed).unwrap_or_else(|e| panic!("{}: {e}", packed.display()));
    if modified(file).is_ok_and(|found| found >= source) {
        return;
    }
    let mut temporary = tempfile::NamedTempFile::new_in(file.parent().unwrap()).unwrap();
    io::copy(&mut GzDecoder::new(File::open(packed).unwrap()), &mut temporary).unwrap();
    temporary.persist(file).unwrap();
}
