use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;
use prost::Message;

use super::check::check;
use super::proto::ModelProto;
use super::weights::{ExternalFiles, map_file};
use super::{Error, Graph, Result};

/// An ONNX model whose weights are still in the file it came from.
#[derive(Clone, Debug)]
pub struct Model {
    /// The main graph.
    pub graph: Graph,
    path: Option<PathBuf>,
    mapped: Option<Arc<Mmap>>,
    pub(super) external: Arc<ExternalFiles>,
    rest: ModelProto,
}

/// Lets [`Bytes`] share a map that the model keeps, too.
struct Mapped(Arc<Mmap>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Model {
    /// Maps, checks and indexes the file at `path`. Of external data only the size is looked at.
    ///
    /// # Errors
    /// The file cannot be mapped, is no ONNX model, or contradicts itself; external data that is
    /// missing, too short, or outside of the model's folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mapped = Arc::new(map_file(path)?);
        let bytes = Bytes::from_owner(Mapped(Arc::clone(&mapped)));
        let mut model = Self::from_bytes(bytes, Some(path))?;
        model.mapped = Some(mapped);
        Ok(model)
    }

    /// Reads a model from memory; external data is looked for beside `path`, if given.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(bytes: impl Into<Bytes>, path: Option<&Path>) -> Result<Self> {
        let named = path.unwrap_or(Path::new("<memory>"));
        let not_a_model = |reason: String| Error::Decode { path: named.to_owned(), reason };
        let rest = ModelProto::decode(bytes.into()).map_err(|error| not_a_model(error.to_string()))?;
        if rest.graph.is_none() {
            return Err(not_a_model("it holds no graph".to_owned()));
        }
        let outer = named.display().to_string();
        let mut model = Self::from_proto(rest, path).map_err(|error| error.within(&outer))?;
        model.path = path.map(Path::to_owned);
        Ok(model)
    }

    fn from_proto(mut rest: ModelProto, path: Option<&Path>) -> Result<Self> {
        check(&rest, path)?;
        let graph = Graph::from_proto(rest.graph.take().unwrap_or_default())?;
        graph.topological_order()?;
        Ok(Self { graph, path: None, mapped: None, external: Arc::default(), rest })
    }

    /// The file this model was read from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The mapped file, while the model was opened from one.
    pub fn mapped(&self) -> Option<&[u8]> {
        self.mapped.as_ref().map(|map| &map[..])
    }

    /// The version of `domain`'s operators (`""` is the standard domain), if the model imports it.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        let same = |other: &str| other == domain || (domain.is_empty() && other == "ai.onnx");
        self.rest.opset_import.iter().find(|import| same(import.domain())).map(|import| import.version())
    }

    /// Imports `domain` at `version` unless some version of it is imported already.
    pub fn import_opset(&mut self, domain: &str, version: i64) {
        if self.opset(domain).is_none() {
            let import = super::proto::OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) };
            self.rest.opset_import.push(import);
        }
    }

    /// Everything but the graph: IR version, producer, opsets, functions, metadata.
    pub fn header(&self) -> &ModelProto {
        &self.rest
    }

    /// Mutable access to everything but the graph; a graph put here is ignored.
    pub fn header_mut(&mut self) -> &mut ModelProto {
        &mut self.rest
    }

    /// The whole model as protobuf, weights where they are.
    ///
    /// # Errors
    /// The graph has a cycle.
    pub fn to_proto(&self) -> Result<ModelProto> {
        Ok(ModelProto { graph: Some(self.graph.to_proto()?), ..self.rest.clone() })
    }
}
