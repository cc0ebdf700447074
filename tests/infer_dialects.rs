//! What shape inference says of every tensor of every dialect is what ONNX Runtime computes.

#[path = "support/dialects.rs"]
mod dialects;

use infusion::onnx::infer::{Shapes, infer};
use infusion::onnx::proto::ValueInfoProto;
use infusion::onnx::{Model, NodeExt};
use infusion::runtime::{ElementType, Session, SessionOptions, Tensor, Value};
use ndarray::ArrayD;
use prost::Message;

/// Sizes for the free extents, all different.
fn size(symbol: &str) -> i64 {
    match symbol {
        "batch" | "s53" => 3,
        "height" | "s30" => 16,
        "width" | "s91" => 8,
        _ => 5,
    }
}

/// Every tensor that a node makes becomes an output of the graph.
fn with_all_outputs(model: &Model) -> Vec<u8> {
    let mut model = model.clone();
    let made: Vec<String> = model
        .graph
        .nodes()
        .flat_map(|(_, node)| node.output.iter().filter(|name| !name.is_empty()).cloned())
        .filter(|name| !model.graph.is_output(name))
        .collect();
    for name in made {
        model.graph.outputs_mut().push(ValueInfoProto { name: Some(name), ..Default::default() });
    }
    model.to_proto().expect("a sound graph").encode_to_vec()
}

fn feed(element: ElementType, dims: &[usize]) -> Tensor {
    match element {
        ElementType::F16 => ArrayD::from_elem(dims, half::f16::from_f32(0.5)).into(),
        ElementType::F32 => ArrayD::from_elem(dims, 0.5f32).into(),
        ElementType::I64 => ArrayD::from_elem(dims, 7i64).into(),
        other => panic!("no input of a UNet is {other}"),
    }
}

fn ints(tensor: &Tensor) -> Option<Vec<i64>> {
    match tensor {
        Tensor::I64(array) => Some(array.iter().copied().collect()),
        Tensor::I32(array) => Some(array.iter().map(|&int| int.into()).collect()),
        Tensor::Bool(array) => Some(array.iter().map(|&truth| truth.into()).collect()),
        _ => None,
    }
}

/// How many extents of `tensor` inference left open; the others are as computed.
fn compare(shapes: &Shapes, name: &str, tensor: &Tensor) -> usize {
    let Some(shape) = shapes.shape(name) else { return tensor.shape().len().max(1) };
    assert_eq!(shape.len(), tensor.shape().len(), "rank of {name}");
    let symbol = |symbol: &str| Some(size(symbol));
    let mut unknown = 0;
    for (dim, &extent) in shape.iter().zip(tensor.shape()) {
        match dim.evaluate(&symbol) {
            Some(inferred) => assert_eq!(inferred, extent as i64, "{name}: {dim}"),
            None => unknown += 1,
        }
    }
    if let (Some(inferred), Some(actual)) = (shapes.ints(name), ints(tensor)) {
        for (dim, element) in inferred.iter().zip(actual) {
            assert!(dim.evaluate(&symbol).is_none_or(|inferred| inferred == element), "{name}: {dim}, not {element}");
        }
    }
    unknown
}

#[test]
fn every_shape_and_every_followed_element_is_what_the_runtime_computes() {
    for dialect in dialects::patchable().into_iter().filter(|dialect| dialect.runs_on_cpu && dialect.inputs.len() == 3)
    {
        let model = Model::open(dialect.model()).expect("a fixture");
        let shapes = infer(&model);
        let folder = dialect.model().parent().expect("a folder").to_owned();
        let beside = tempfile::Builder::new().suffix(".onnx").tempfile_in(folder).expect("a file beside the weights");
        std::fs::write(beside.path(), with_all_outputs(&model)).expect("written");
        let session = Session::open(beside.path(), &SessionOptions::default());
        let session = session.unwrap_or_else(|error| panic!("{}: {error}", dialect.name));
        let feeds: Vec<(String, Tensor)> = session
            .inputs()
            .iter()
            .map(|spec| {
                let dims = shapes.shape(&spec.name).expect("an input").iter();
                let dims: Vec<usize> =
                    dims.map(|dim| dim.evaluate(&|s| Some(size(s))).expect("a size") as usize).collect();
                (spec.name.clone(), feed(spec.element_type, &dims))
            })
            .collect();
        let feeds: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let outputs = session.run(&feeds).unwrap_or_else(|error| panic!("{}: {error}", dialect.name));
        let mut unknown = Vec::new();
        let mut count = 0;
        for (name, value) in outputs {
            let Value::Host(tensor) = value else { continue };
            count += 1;
            if compare(&shapes, &name, &tensor) > 0 {
                unknown.push(name);
            }
        }
        let producers: Vec<String> = unknown
            .iter()
            .take(5)
            .map(|name| {
                format!(
                    "{name} {:?} by {}",
                    shapes.shape(name),
                    model.graph.node(model.graph.producer(name).expect("made")).place()
                )
            })
            .collect();
        assert!(count > 500, "{}: only {count} tensors", dialect.name);
        assert!(unknown.is_empty(), "{}: {} of {count} not told: {producers:#?}", dialect.name, unknown.len());
    }
}
