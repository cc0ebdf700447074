//! The safetensors container: eight bytes of length, a JSON header, the tensors' bytes.
//!
//! Reading goes through the `safetensors` crate, behind a check for what a JSON map hides: names that
//! occur twice. The header is written here, because the crate keeps metadata in a `HashMap` and two
//! files of one concept would differ.

use std::fmt;

use indexmap::IndexMap;
use safetensors::{Dtype, SafeTensors};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use super::{Error, Result};

/// Far above any concept, far below what would hurt: T = 75 tokens of SD-1.5 in f32 are 3.7 MB.
pub(super) const LARGEST_FILE: u64 = 64 << 20;

/// One tensor to be written.
pub(super) struct Entry {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

/// One tensor as read.
pub(super) struct Tensor<'a> {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: &'a [u8],
}

/// The tensors in the order of their bytes, and the metadata.
pub(super) struct Contents<'a> {
    pub tensors: IndexMap<String, Tensor<'a>>,
    pub metadata: IndexMap<String, String>,
}

/// The bytes of a file with these tensors, in this order.
pub(super) fn encode(entries: &[Entry], metadata: &IndexMap<String, String>) -> Vec<u8> {
    let mut header = Map::new();
    let pairs: Map<_, _> = metadata.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    header.insert("__metadata__".into(), pairs.into());
    let mut offset = 0;
    for entry in entries {
        let end = offset + entry.data.len();
        let info = json!({"dtype": entry.dtype, "shape": entry.shape, "data_offsets": [offset, end]});
        header.insert(entry.name.clone(), info);
        offset = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut header);
    bytes.extend(entries.iter().flat_map(|entry| &entry.data));
    bytes
}

/// The tensors and metadata of `bytes`, which `file` is said to hold.
pub(super) fn decode<'a>(file: &str, bytes: &'a [u8]) -> Result<Contents<'a>> {
    let invalid = |reason: String| Error::invalid(file, "safetensors header", reason);
    let (header_len, header) = SafeTensors::read_metadata(bytes).map_err(|e| invalid(e.to_string()))?;
    let start = 8 + header_len;
    let text = bytes.get(8..start).unwrap_or_default();
    if let Some(name) = serde_json::from_slice::<Twice>(text).map_err(|e| invalid(e.to_string()))?.0 {
        return Err(invalid(format!("'{name}' occurs twice")));
    }
    let mut tensors = IndexMap::new();
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else { continue };
        let (from, to) = info.data_offsets;
        let data = bytes.get(start + from..start + to).ok_or_else(|| invalid(format!("'{name}' lies outside")))?;
        tensors.insert(name, Tensor { dtype: info.dtype, shape: info.shape.clone(), data });
    }
    let mut metadata: Vec<_> = header.metadata().clone().unwrap_or_default().into_iter().collect();
    metadata.sort();
    Ok(Contents { tensors, metadata: metadata.into_iter().collect() })
}

/// The first key that a JSON object, or the `__metadata__` object in it, has twice.
struct Twice(Option<String>);

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TwiceVisitor)
    }
}

struct TwiceVisitor;

impl<'de> Visitor<'de> for TwiceVisitor {
    type Value = Twice;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Twice, A::Error> {
        let mut seen = std::collections::HashSet::new();
        let mut twice = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "__metadata__" {
                twice = twice.or(map.next_value::<Twice>()?.0);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            if !seen.insert(key.clone()) {
                twice = twice.or(Some(key));
            }
        }
        Ok(Twice(twice))
    }
}
