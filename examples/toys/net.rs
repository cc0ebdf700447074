//! A small denoiser in ONNX with every weight as an input, and its gradient by `infusion::autodiff`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use infusion::autodiff::{Request, backward};
use infusion::onnx::infer::infer;
use infusion::onnx::proto::{
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto::Dimension, tensor_shape_proto::dimension,
    type_proto,
};
use infusion::onnx::{DataType, Model, NodeBuilder};
use infusion::runtime::{Feed, Fetch, Session, SessionOptions, Tensor};
use ndarray::ArrayD;
use prost::Message;

/// Tensors by the names of a graph's inputs.
pub type Feeds = HashMap<String, Tensor>;

/// A graph that predicts `noise`, and the same with gradients of what is to be tuned.
pub struct Net {
    forward: Session,
    backward: Session,
    tuned: Vec<String>,
}

impl Net {
    pub fn open(path: &Path, tuned: Vec<String>) -> Result<Self> {
        let options = SessionOptions::default();
        let forward = Session::open(path, &options)?;
        let bytes = with_gradients(path, &tuned)?;
        let backward = Session::from_bytes(&bytes, path.with_extension("gradients"), &options)?;
        Ok(Self { forward, backward, tuned })
    }

    pub fn tuned(&self) -> &[String] {
        &self.tuned
    }

    /// All outputs: `noise`, and the maps where the graph gives them.
    pub fn predict(&self, feeds: &Feeds) -> Result<Feeds> {
        let mut outputs = self.forward.run(&own(&self.forward, feeds)?)?;
        let names: Vec<String> = outputs.names().map(str::to_owned).collect();
        names.into_iter().map(|name| Ok((name.clone(), outputs.take(&name)?))).collect()
    }

    /// ∂loss/∂tuned, given ∂loss/∂noise.
    pub fn gradients(&self, feeds: &Feeds, arriving: ArrayD<f32>) -> Result<Vec<ArrayD<f32>>> {
        let seed = Tensor::from(arriving);
        let mut fed: Vec<(&str, Feed<'_>)> =
            own(&self.forward, feeds)?.into_iter().map(|(n, t)| (n, t.into())).collect();
        fed.push((SEED, (&seed).into()));
        let fetch = |name: &str| if name.starts_with(GRADIENT) { Fetch::Host } else { Fetch::Skip };
        let mut outputs = self.backward.run_fetching(&fed, fetch)?;
        let take = |name: &String| Ok(outputs.take(&format!("{GRADIENT}{name}"))?.into_f32());
        self.tuned.iter().map(take).collect()
    }
}

const SEED: &str = "seed";
const GRADIENT: &str = "gradient/";

/// Those of the feeds that the graph has as inputs.
fn own<'a>(session: &'a Session, feeds: &'a Feeds) -> Result<Vec<(&'a str, &'a Tensor)>> {
    let feed = |name: &'a str| Ok((name, feeds.get(name).with_context(|| format!("{name} is not fed"))?));
    session.inputs().iter().map(|spec| feed(&spec.name)).collect()
}

/// The model with an input for ∂loss/∂noise, and the gradient of each tuned input as an output.
fn with_gradients(path: &Path, tuned: &[String]) -> Result<Vec<u8>> {
    let mut model = Model::open(path)?;
    let mut shapes = infer(&model);
    let shape = shapes.shape("noise").context("the graph has no output noise")?.to_vec();
    shapes.state(SEED, DataType::Float, shape);
    model.graph.inputs_mut().push(matrix(SEED));
    let seeds = vec![("noise".to_owned(), SEED.to_owned())];
    let request = Request { seeds, wanted: tuned.to_vec(), ..Default::default() };
    for (name, gradient) in backward(&mut model, &mut shapes, &request)? {
        let output = format!("{GRADIENT}{name}");
        model.graph.add(NodeBuilder::new("Identity").input(gradient).output(&output).build())?;
        model.graph.outputs_mut().push(ValueInfoProto { name: Some(output), ..Default::default() });
    }
    Ok(model.to_proto()?.encode_to_vec())
}

/// A float input with two free axes.
fn matrix(name: &str) -> ValueInfoProto {
    let free =
        |axis: &str| Dimension { value: Some(dimension::Value::DimParam(axis.to_owned())), ..Default::default() };
    let shape = TensorShapeProto { dim: vec![free("seed.rows"), free("seed.columns")] };
    let tensor = type_proto::Tensor { elem_type: Some(DataType::Float as i32), shape: Some(shape) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(r#type), ..Default::default() }
}
