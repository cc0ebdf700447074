//! Concepts to bytes and files.

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use indexmap::IndexMap;
use ndarray::{Array2, ArrayView1};
use safetensors::Dtype;
use serde_json::json;

use crate::files;

use super::container::{self, Entry};
use super::layers::{canonical, natural_order, tensor_name};
use super::quantise::{self, Grid};
use super::{Concept, Error, Existing, Precision, Result, metadata};

/// Numbers of a row that share a scale in the i4 form.
const I4_BLOCK: usize = 64;
pub(super) const PACKED_SCALE: &str = "unet.infusion_delta.scale";

/// A concept file's bytes, and what its precision cost.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// Module path → ‖stored − exact‖ / ‖exact‖ (0 where Δ is 0), in natural order.
    pub layer_errors: IndexMap<String, f64>,
    /// The same over all layers.
    pub error: f64,
}

impl Concept {
    /// The concept as a `.safetensors` file in this precision.
    pub fn encode(&self, precision: Precision) -> Result<Encoded> {
        self.check()?;
        let mut layers: Vec<_> = self.layers.iter().collect();
        layers.sort_by(|a, b| natural_order(a.0, b.0));
        let mut parts = Parts { scales: Vec::new(), scale_entries: Vec::new(), entries: Vec::new() };
        let (mut layer_errors, mut total) = (IndexMap::new(), Squares::default());
        for (path, delta) in &layers {
            let stored = parts.add(canonical(path), delta, precision);
            if let Some(value) = stored.iter().find(|value| !value.is_finite()) {
                let largest = delta.iter().fold(0f32, |m, v| m.max(v.abs()));
                let reason = format!("Δ reaches {largest}, which {precision} turns into {value}; use f32");
                return Err(Error::layer(self.origin(), *path, reason));
            }
            let squares = Squares::between(delta, &stored);
            layer_errors.insert((*path).clone(), squares.ratio());
            total.add(&squares);
        }
        let mut pairs = metadata::describe(self);
        if precision == Precision::I4 {
            pairs.insert(metadata::SCALE_BLOCK.into(), I4_BLOCK.to_string());
            let odd = layers.iter().filter(|(_, delta)| delta.ncols() % 2 == 1);
            let odd: BTreeMap<_, _> = odd.map(|(path, delta)| (canonical(path), delta.ncols())).collect();
            if !odd.is_empty() {
                pairs.insert(metadata::WIDTHS.into(), json!(odd).to_string());
            }
        }
        let bytes = container::encode(&parts.finish(), &pairs);
        Ok(Encoded { bytes, layer_errors, error: total.ratio() })
    }

    /// Writes the concept file, under a temporary name first, and returns what was written.
    ///
    /// Fails with [`Error::Exists`] if the file exists and is not to be replaced.
    pub fn save(&self, path: impl AsRef<Path>, precision: Precision, existing: Existing) -> Result<Encoded> {
        let path = path.as_ref();
        let encoded = self.encode(precision)?;
        write_whole(path, &encoded.bytes, existing)?;
        Ok(encoded)
    }
}

/// Writes `bytes` whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8], existing: Existing) -> Result<()> {
    files::write_whole(path, bytes, existing).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists { path: path.into() },
        _ => Error::io(path, source),
    })
}

/// The tensors of a file as they come together.
struct Parts {
    scales: Vec<f32>,
    scale_entries: Vec<Entry>,
    entries: Vec<Entry>,
}

impl Parts {
    /// Adds a layer and returns its Δ as a reader will see it.
    fn add(&mut self, path: &str, delta: &Array2<f32>, precision: Precision) -> Array2<f32> {
        let (tokens, width) = delta.dim();
        match precision {
            Precision::F32 => {
                let data = delta.iter().flat_map(|value| value.to_le_bytes()).collect();
                self.push(path, Dtype::F32, [tokens, width], data);
                delta.clone()
            }
            Precision::F16 => {
                let halves = delta.mapv(f16::from_f32);
                let data = halves.iter().flat_map(|value| value.to_le_bytes()).collect();
                self.push(path, Dtype::F16, [tokens, width], data);
                halves.mapv(f16::to_f32)
            }
            Precision::I8 => {
                let rows = Quantised::new(delta, width, &Grid::i8());
                let data = rows.numbers.iter().flatten().map(|&q| q as u8).collect();
                self.push(path, Dtype::I8, [tokens, width], data);
                let name = format!("{}.scale", tensor_name(path));
                let data = rows.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
                self.scale_entries.push(Entry { name, dtype: Dtype::F32, shape: vec![tokens, 1], data });
                rows.stored
            }
            Precision::I4 => {
                let rows = Quantised::new(delta, I4_BLOCK, &Grid::i4());
                let data = rows.numbers.iter().flat_map(|row| quantise::pack(row)).collect();
                self.push(path, Dtype::U8, [tokens, width.div_ceil(2)], data);
                self.scales.extend(&rows.scales);
                rows.stored
            }
        }
    }

    fn push(&mut self, path: &str, dtype: Dtype, shape: [usize; 2], data: Vec<u8>) {
        self.entries.push(Entry { name: tensor_name(path), dtype, shape: shape.into(), data });
    }

    /// All tensors, those of wider types first so that each is aligned.
    fn finish(mut self) -> Vec<Entry> {
        let mut all = std::mem::take(&mut self.scale_entries);
        if !self.scales.is_empty() {
            let data = self.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
            let shape = vec![self.scales.len()];
            all.push(Entry { name: PACKED_SCALE.into(), dtype: Dtype::F32, shape, data });
        }
        all.append(&mut self.entries);
        all
    }
}

struct Quantised {
    numbers: Vec<Vec<i8>>,
    scales: Vec<f32>,
    stored: Array2<f32>,
}

impl Quantised {
    fn new(delta: &Array2<f32>, block: usize, grid: &Grid) -> Self {
        let mut this = Self { numbers: Vec::new(), scales: Vec::new(), stored: delta.clone() };
        for (row, mut stored) in delta.outer_iter().zip(this.stored.outer_iter_mut()) {
            let (numbers, scales) = quantise_row(row, block, grid);
            for (i, value) in stored.iter_mut().enumerate() {
                *value = f32::from(numbers[i]) * scales[i / block];
            }
            this.numbers.push(numbers);
            this.scales.extend(scales);
        }
        this
    }
}

fn quantise_row(row: ArrayView1<f32>, block: usize, grid: &Grid) -> (Vec<i8>, Vec<f32>) {
    let (mut numbers, mut scales) = (Vec::new(), Vec::new());
    for values in row.to_vec().chunks(block) {
        let (q, scale) = quantise::quantise(values, grid);
        numbers.extend(q);
        scales.push(scale);
    }
    (numbers, scales)
}

/// Sums of squares of an error and of what it is relative to.
#[derive(Default)]
struct Squares {
    error: f64,
    exact: f64,
}

impl Squares {
    fn between(exact: &Array2<f32>, stored: &Array2<f32>) -> Self {
        let square = |value: f64| value * value;
        let error = exact.iter().zip(stored).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
        Self { error, exact: exact.iter().map(|&value| square(value.into())).sum() }
    }

    fn add(&mut self, other: &Self) {
        self.error += other.error;
        self.exact += other.exact;
    }

    fn ratio(&self) -> f64 {
        if self.exact == 0.0 { 0.0 } else { (self.error / self.exact).sqrt() }
    }
}
