use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::encode::{LARGEST_MESSAGE, encoded_len};
use super::{Copying, Transaction, Weights};
use crate::onnx::proto::tensor_proto::DataLocation;
use crate::onnx::proto::{ModelProto, StringStringEntryProto, TensorProto};
use crate::onnx::tensors::{Seat, visit_tensors_mut};
use crate::onnx::weights::{ExternalData, WeightSource, element_bits, element_type, folder_of, inline_bytes};
use crate::onnx::{Error, Model, Result};

/// Tensors below this stay in the graph: ONNX Runtime infers shapes from small constants and
/// reads none that are external. The limit is the one of the `onnx` package.
const SMALLEST_EXTERNAL: usize = 1024;

/// Tensors that no file holds as bytes (typed fields, new ones) are shared by the graphs of a
/// transaction through one data file from here on; below, a copy in each graph costs less.
const SMALLEST_APPENDED: usize = 1 << 20;

/// Tensors in data files start at multiples of this, the usual page, so that they can be mapped.
const ALIGNMENT: u64 = 4096;

/// Where the weights of a transaction's models are.
#[derive(Default)]
pub(super) struct Placement {
    locations: HashMap<PathBuf, String>,
    appended: Option<DataFile>,
    places: HashMap<[u8; 32], ExternalData>,
    own: Vec<DataFile>,
}

impl Placement {
    /// Where the data files will be.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Path> {
        self.own.iter().chain(&self.appended).map(|data| data.target.as_path())
    }

    /// Closes the data files and returns them.
    pub(super) fn finish(&mut self) -> Result<Vec<FinishedData>> {
        self.own.drain(..).chain(self.appended.take()).map(DataFile::finish).collect()
    }
}

impl Transaction<'_> {
    /// `model` as it is to be encoded: with every weight external or inside, as the options say.
    pub(super) fn place_weights(&mut self, name: &str, model: &Model) -> Result<ModelProto> {
        let mut proto = model.to_proto()?;
        match self.options().weights {
            Weights::Shared => {
                visit_tensors_mut(&mut proto, &mut |tensor, seat| self.share(name, model, tensor, seat))?
            }
            Weights::SelfContained => self.contain(name, model, &mut proto)?,
        }
        let size = encoded_len(&proto);
        if size > LARGEST_MESSAGE {
            let reason = format!("would take {size} bytes without its weights, more than protobuf allows");
            return Err(Error::unsupported(format!("graph of '{name}'"), reason));
        }
        Ok(proto)
    }

    fn share(&mut self, name: &str, model: &Model, tensor: &mut TensorProto, seat: Seat) -> Result<()> {
        match model.weight_source(tensor)? {
            WeightSource::External(external) => {
                let file = model.external_path(tensor, &external)?;
                let location = self.location(name, model, &file, &external.location)?;
                set_location(tensor, &location);
            }
            WeightSource::ModelFile { offset, length }
                if seat == Seat::Initializer && length >= SMALLEST_EXTERNAL as u64 =>
            {
                let Some(file) = model.path() else { return Ok(()) };
                let file_name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let location = self.location(name, model, file, &file_name)?;
                make_external(tensor, ExternalData { location, offset, length: Some(length) });
            }
            WeightSource::Memory if seat == Seat::Initializer => self.append_shared(name, model, tensor)?,
            WeightSource::ModelFile { .. } | WeightSource::Memory => {}
        }
        Ok(())
    }

    /// What models in the target folder call `file`, after making it available there.
    fn location(&mut self, name: &str, model: &Model, file: &Path, wanted: &str) -> Result<String> {
        if let Some(location) = self.placement.locations.get(file) {
            return Ok(location.clone());
        }
        let resolved = canonical(file)?;
        let target = canonical(self.folder())?;
        let beside = model.path().is_some_and(|path| canonical(folder_of(path)).is_ok_and(|folder| folder == target));
        let location = if beside && resolved.starts_with(&target) {
            wanted.to_owned()
        } else {
            let taken = beside || wanted == name || self.names().contains(&self.folder().join(wanted));
            let location = if taken { format!("{wanted}.infusion.data") } else { wanted.to_owned() };
            self.provide(&resolved, &location)?;
            location
        };
        self.placement.locations.insert(file.to_owned(), location.clone());
        Ok(location)
    }

    /// Moves a large tensor that sits in no file to the data file that all models share.
    fn append_shared(&mut self, name: &str, model: &Model, tensor: &mut TensorProto) -> Result<()> {
        if !has_fixed_size(tensor)? {
            return Ok(());
        }
        let bytes = inline_bytes(tensor)?;
        if bytes.len() < SMALLEST_APPENDED {
            return Ok(());
        }
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        if let Some(place) = self.placement.places.get(&hash) {
            make_external(tensor, place.clone());
            return Ok(());
        }
        if self.placement.appended.is_none() {
            let stem = model.path().and_then(Path::file_stem).map_or(name.into(), |stem| stem.to_string_lossy());
            self.placement.appended = Some(self.data_file(&format!("{stem}.infusion.data"))?);
        }
        if let Some(data) = &mut self.placement.appended {
            let place = data.append(&bytes)?;
            self.placement.places.insert(hash, place.clone());
            make_external(tensor, place);
        }
        Ok(())
    }

    /// Puts every weight into `proto`, or into a data file of its own where it would be too large.
    fn contain(&mut self, name: &str, model: &Model, proto: &mut ModelProto) -> Result<()> {
        contain(model, proto)?;
        let total = encoded_len(proto);
        if total <= LARGEST_MESSAGE {
            return Ok(());
        }
        let mut data = self.data_file(&format!("{name}_data"))?;
        let target = data.target.clone();
        visit_tensors_mut(proto, &mut |tensor, seat| {
            if seat == Seat::Initializer && has_fixed_size(tensor)? {
                let bytes = inline_bytes(tensor)?;
                if bytes.len() >= SMALLEST_EXTERNAL {
                    self.report(Copying { file: &target, done: data.length.min(total), total })?;
                    make_external(tensor, data.append(&bytes)?);
                }
            }
            Ok(())
        })?;
        self.report(Copying { file: &target, done: total, total })?;
        self.placement.own.push(data);
        Ok(())
    }
}

/// Puts every weight of `model` into `proto`, which is that model's.
pub(super) fn contain(model: &Model, proto: &mut ModelProto) -> Result<()> {
    visit_tensors_mut(proto, &mut |tensor, _| {
        if tensor.data_location() == DataLocation::External {
            make_inline(tensor, model.tensor_bytes(tensor)?);
        }
        Ok(())
    })
}

/// A file of tensors that is being written.
pub(super) struct DataFile {
    temporary: PathBuf,
    target: PathBuf,
    out: BufWriter<File>,
    length: u64,
}

/// A data file that is complete, under its temporary name.
pub(super) struct FinishedData {
    pub(super) temporary: PathBuf,
    pub(super) target: PathBuf,
}

impl DataFile {
    pub(super) fn create(temporary: PathBuf, target: PathBuf) -> Result<Self> {
        let file = File::create(&temporary).map_err(|error| Error::io(&target, error))?;
        Ok(Self { temporary, target, out: BufWriter::with_capacity(1 << 20, file), length: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<ExternalData> {
        let offset = self.length.next_multiple_of(ALIGNMENT);
        let padding = vec![0; (offset - self.length) as usize];
        let written = self.out.write_all(&padding).and_then(|()| self.out.write_all(bytes));
        written.map_err(|error| Error::io(&self.target, error))?;
        self.length = offset + bytes.len() as u64;
        let location = self.target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(ExternalData { location, offset, length: Some(bytes.len() as u64) })
    }

    fn finish(self) -> Result<FinishedData> {
        let Self { temporary, target, out, .. } = self;
        let synced = out.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        synced.map_err(|error| Error::io(&target, error))?;
        Ok(FinishedData { temporary, target })
    }
}

fn canonical(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|error| Error::io(path, error))
}

fn has_fixed_size(tensor: &TensorProto) -> Result<bool> {
    Ok(element_bits(element_type(tensor)?).is_some())
}

fn entry(key: &str, value: String) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) }
}

fn set_location(tensor: &mut TensorProto, location: &str) {
    for entry in tensor.external_data.iter_mut().filter(|entry| entry.key() == "location") {
        entry.value = Some(location.to_owned());
    }
}

fn make_external(tensor: &mut TensorProto, place: ExternalData) {
    forget_data(tensor);
    tensor.data_location = Some(DataLocation::External as i32);
    tensor.external_data = vec![entry("location", place.location), entry("offset", place.offset.to_string())];
    tensor.external_data.extend(place.length.map(|length| entry("length", length.to_string())));
}

fn make_inline(tensor: &mut TensorProto, bytes: Bytes) {
    forget_data(tensor);
    tensor.data_location = None;
    tensor.external_data.clear();
    tensor.raw_data = Some(bytes);
}

fn forget_data(tensor: &mut TensorProto) {
    tensor.raw_data = None;
    tensor.float_data = Vec::new();
    tensor.double_data = Vec::new();
    tensor.int32_data = Vec::new();
    tensor.int64_data = Vec::new();
    tensor.uint64_data = Vec::new();
}
