//! Files and bytes to concepts, with an error for every way in which a file can lie.

use std::path::Path;

use half::{bf16, f16};
use indexmap::IndexMap;
use ndarray::Array2;
use safetensors::Dtype;

use super::container::{self, Contents, LARGEST_FILE, Tensor};
use super::layers::{canonical, module_path, natural_order, tensor_name};
use super::write::PACKED_SCALE;
use super::{Concept, Error, Precision, Result, metadata, quantise};

impl Concept {
    /// Reads a concept file of any precision.
    ///
    /// Fails with [`Error::Invalid`] where the file is not one, contradicts itself, or holds NaN or Inf.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read_small(path)?;
        let mut concept = Self::from_bytes(&bytes, &path.display().to_string())?;
        concept.path = Some(path.into());
        Ok(concept)
    }

    /// Reads a concept from the bytes of a file; `origin` is how messages name it.
    pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<Self> {
        let contents = container::decode(origin, bytes)?;
        let mut concept = metadata::interpret(origin, &contents.metadata)?;
        concept.layers = layers(origin, &contents)?;
        concept.stored_as = stored_as(&contents);
        concept.path = Some(origin.into());
        concept.check()?;
        concept.path = None;
        Ok(concept)
    }
}

/// The coarsest precision of any layer.
fn stored_as(contents: &Contents) -> Option<Precision> {
    let deltas = contents.tensors.iter().filter(|(name, _)| module_path(name).is_some());
    let precision = |(_, tensor): (&String, &Tensor)| match tensor.dtype {
        Dtype::U8 => Precision::I4,
        Dtype::I8 => Precision::I8,
        Dtype::F32 => Precision::F32,
        _ => Precision::F16,
    };
    deltas.map(precision).max()
}

pub(super) fn read_small(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| Error::io(path, source);
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > LARGEST_FILE {
        let reason = format!("{size} bytes are too many for a concept (at most {LARGEST_FILE}); is this a model?");
        return Err(Error::invalid(path.display().to_string(), "size", reason));
    }
    std::fs::read(path).map_err(failed)
}

fn layers(file: &str, contents: &Contents) -> Result<IndexMap<String, Array2<f32>>> {
    let widths = metadata::widths(file, &contents.metadata)?;
    let mut scales = Scales::new(file, contents)?;
    let mut layers = IndexMap::new();
    for (name, tensor) in &contents.tensors {
        if let Some(path) = module_path(name) {
            let width = widths.get(path).copied();
            layers.insert(canonical(path).to_owned(), Reader { file, name, tensor }.delta(width, &mut scales)?);
        } else if !scales.knows(name) {
            let reason = "is neither a layer's Δ (unet.….attn2.to_v.infusion_delta) nor a layer's scale";
            return Err(Error::invalid(file, format!("tensor '{name}'"), reason));
        }
    }
    scales.finish(&layers)?;
    layers.sort_by(|a, _, b, _| natural_order(a, b));
    Ok(layers)
}

/// The numbers of a float tensor.
pub(super) fn floats(file: &str, name: &str, tensor: &Tensor) -> Result<Vec<f32>> {
    let halves = || tensor.data.chunks_exact(2).map(|b| [b[0], b[1]]);
    let words = || tensor.data.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
    let values: Vec<f32> = match tensor.dtype {
        Dtype::F32 => words().map(f32::from_le_bytes).collect(),
        Dtype::F16 => halves().map(|b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => halves().map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
        other => {
            let reason = format!("is of type {other}, where F32, F16, BF16, I8 or U8 is expected");
            return Err(Error::invalid(file, format!("tensor '{name}'"), reason));
        }
    };
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(at) => Err(Error::invalid(file, format!("tensor '{name}'"), format!("number {at} is {}", values[at]))),
    }
}

/// One layer's tensor and how messages name it.
struct Reader<'a> {
    file: &'a str,
    name: &'a str,
    tensor: &'a Tensor<'a>,
}

impl Reader<'_> {
    fn fail<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(Error::invalid(self.file, format!("tensor '{}'", self.name), reason))
    }

    fn delta(&self, width: Option<usize>, scales: &mut Scales) -> Result<Array2<f32>> {
        let &[tokens, stored] = self.tensor.shape.as_slice() else {
            return self.fail(format!("is of shape {:?}, where [T, d] is expected", self.tensor.shape));
        };
        if tokens == 0 || stored == 0 {
            return self.fail(format!("is empty, of shape [{tokens}, {stored}]"));
        }
        let (width, values) = match self.tensor.dtype {
            Dtype::I8 => {
                let numbers = self.tensor.data.iter().map(|&byte| byte as i8);
                (stored, scales.apply(self, tokens, stored, numbers.collect())?)
            }
            Dtype::U8 => {
                let width = width.unwrap_or(2 * stored);
                if width.div_ceil(2) != stored {
                    let reason = format!("has {stored} bytes a row, but the metadata gives it {width} numbers a row");
                    return self.fail(reason);
                }
                let rows = self.tensor.data.chunks_exact(stored);
                let numbers = rows.flat_map(|row| quantise::unpack(row, width));
                (width, scales.apply(self, tokens, width, numbers.collect())?)
            }
            _ => (stored, floats(self.file, self.name, self.tensor)?),
        };
        Array2::from_shape_vec((tokens, width), values).or_else(|e| self.fail(e.to_string()))
    }
}

/// The scales of a quantised file: one tensor a layer, or one for all.
struct Scales<'a> {
    file: &'a str,
    contents: &'a Contents<'a>,
    block: Option<usize>,
    packed: Option<Vec<f32>>,
    used: usize,
}

impl<'a> Scales<'a> {
    fn new(file: &'a str, contents: &'a Contents<'a>) -> Result<Self> {
        let packed = contents.tensors.get(PACKED_SCALE).map(|tensor| floats(file, PACKED_SCALE, tensor)).transpose()?;
        Ok(Self { file, contents, block: metadata::scale_block(file, &contents.metadata)?, packed, used: 0 })
    }

    fn knows(&self, name: &str) -> bool {
        name == PACKED_SCALE || name.strip_suffix(".scale").is_some_and(|name| self.contents.tensors.contains_key(name))
    }

    /// `numbers`, row by row, times their scales.
    fn apply(&mut self, of: &Reader, tokens: usize, width: usize, numbers: Vec<i8>) -> Result<Vec<f32>> {
        let block = self.block.unwrap_or(width).min(width);
        let a_row = width.div_ceil(block);
        let scales = self.take(of, tokens * a_row)?;
        let scale = |i: usize| scales[i / width * a_row + i % width / block];
        Ok(numbers.iter().enumerate().map(|(i, &q)| f32::from(q) * scale(i)).collect())
    }

    fn take(&mut self, of: &Reader, count: usize) -> Result<Vec<f32>> {
        let name = format!("{}.scale", of.name);
        if let Some(tensor) = self.contents.tensors.get(&name) {
            let scales = floats(self.file, &name, tensor)?;
            if scales.len() != count {
                return of.fail(format!("needs {count} scales, but '{name}' has {}", scales.len()));
            }
            return Ok(scales);
        }
        let Some(packed) = &self.packed else {
            return of.fail(format!("is quantised, but there is neither '{name}' nor '{PACKED_SCALE}'"));
        };
        let Some(scales) = packed.get(self.used..self.used + count) else {
            return of
                .fail(format!("needs {count} scales, but '{PACKED_SCALE}' has {} left", packed.len() - self.used));
        };
        self.used += count;
        Ok(scales.to_vec())
    }

    /// Fails if scales are left over: then they belong to other numbers than those in the file.
    fn finish(&self, layers: &IndexMap<String, Array2<f32>>) -> Result<()> {
        let left = self.packed.as_ref().map_or(0, Vec::len) - self.used;
        if left > 0 {
            let place = format!("tensor '{PACKED_SCALE}'");
            return Err(Error::invalid(self.file, place, format!("has {left} scales more than the layers need")));
        }
        let quantised = |path: &&String| {
            let tensor = self.contents.tensors.get(&tensor_name(path));
            tensor.is_some_and(|tensor| matches!(tensor.dtype, Dtype::I8 | Dtype::U8))
        };
        for path in layers.keys().filter(|path| !quantised(path)) {
            let name = format!("{}.scale", tensor_name(path));
            if self.contents.tensors.contains_key(&name) {
                let reason = "is the scale of a tensor of floats, which has none";
                return Err(Error::invalid(self.file, format!("tensor '{name}'"), reason));
            }
        }
        Ok(())
    }
}
