use super::*;
use crate::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use crate::onnx::proto::type_proto::{Tensor, Value};
use crate::onnx::proto::{
    FunctionProto, GraphProto, ModelProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};
use crate::onnx::{DataType, Model, NodeBuilder};
use prost::Message;

fn input(name: &str, elem: DataType, dims: &[&str]) -> ValueInfoProto {
    let dim = |dim: &&str| Dimension {
        value: match dim.parse() {
            Ok(value) => Some(dimension::Value::DimValue(value)),
            Err(_) if dim.is_empty() => None,
            Err(_) => Some(dimension::Value::DimParam((*dim).to_owned())),
        },
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = Tensor { elem_type: Some(elem as i32), shape: Some(shape) };
    let ty = TypeProto { value: Some(Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(ty), ..Default::default() }
}

fn ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(DataType::Int64 as i32),
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

fn weights(name: &str, dims: &[i64]) -> TensorProto {
    let bytes = dims.iter().product::<i64>() as usize * size_of::<f32>();
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(DataType::Float as i32),
        raw_data: Some(vec![0; bytes].into()),
        ..Default::default()
    }
}

#[derive(Default)]
struct Build {
    graph: GraphProto,
    functions: Vec<FunctionProto>,
}

impl Build {
    fn input(mut self, name: &str, elem: DataType, dims: &[&str]) -> Self {
        self.graph.input.push(input(name, elem, dims));
        self
    }
    fn floats(self, name: &str, dims: &[&str]) -> Self {
        self.input(name, DataType::Float, dims)
    }
    fn constant(mut self, tensor: TensorProto) -> Self {
        self.graph.initializer.push(tensor);
        self
    }
    fn ints(self, name: &str, values: &[i64]) -> Self {
        self.constant(ints(name, &[values.len() as i64], values))
    }
    fn scalar(self, name: &str, value: i64) -> Self {
        self.constant(ints(name, &[], &[value]))
    }
    fn node(mut self, node: NodeBuilder) -> Self {
        self.graph.node.push(node.build());
        self
    }
    fn op(self, op: &str, inputs: &[&str], output: &str) -> Self {
        self.node(NodeBuilder::new(op).inputs(inputs.iter().copied()).output(output))
    }
    fn output(mut self, name: &str) -> Self {
        self.graph.output.push(ValueInfoProto { name: Some(name.to_owned()), ..Default::default() });
        self
    }
    fn model(self, opset: i64) -> Model {
        let import =
            |domain: &str, version| OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) };
        let proto = ModelProto {
            graph: Some(self.graph),
            functions: self.functions,
            opset_import: vec![import("", opset), import("com.microsoft", 1)],
            ..Default::default()
        };
        Model::from_bytes(proto.encode_to_vec(), None).expect("a consistent graph")
    }
    fn shapes(self, opset: i64) -> Shapes {
        infer(&self.model(opset))
    }
}

fn text(dims: Option<&[Dim]>) -> String {
    match dims {
        Some(dims) => dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(", "),
        None => "none".to_owned(),
    }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeBuilder {
    NodeBuilder::new(op).inputs(inputs.iter().copied()).output(output)
}

#[test]
fn heads_are_found_behind_shape_arithmetic() {
    let shapes = Build::default()
        .floats("x", &["batch", "tokens", "320"])
        .constant(weights("w", &[320, 320]))
        .op("MatMul", &["x", "w"], "q")
        .op("Shape", &["q"], "dims")
        .scalar("two", 2)
        .scalar("zero", 0)
        .scalar("eight", 8)
        .ints("first", &[0])
        .ints("minus", &[-1])
        .op("Gather", &["dims", "two"], "width")
        .op("Div", &["width", "eight"], "head")
        .op("Gather", &["dims", "zero"], "batch_size")
        .op("Unsqueeze", &["batch_size", "first"], "b1")
        .op("Unsqueeze", &["eight", "first"], "h1")
        .op("Unsqueeze", &["head", "first"], "d1")
        .node(node("Concat", &["b1", "minus", "h1", "d1"], "target").attr("axis", 0))
        .op("Reshape", &["q", "target"], "split")
        .node(node("Transpose", &["split"], "heads").attr("perm", vec![0, 2, 1, 3]))
        .shapes(17);
    assert_eq!(text(shapes.ints("target")), "batch, -1, 8, 40");
    assert_eq!(text(shapes.shape("heads")), "batch, 8, tokens, 40");
    assert_eq!(shapes.elem_type("heads"), Some(DataType::Float));
    assert_eq!(shapes.known_ints("d1"), Some(vec![40]));
}

#[test]
fn down_and_up_again_meets_the_skip() {
    let shapes = Build::default()
        .floats("x", &["b", "4", "h", "w"])
        .constant(weights("down", &[8, 4, 3, 3]))
        .node(node("Conv", &["x", "down"], "half").attr("strides", vec![2, 2]).attr("pads", vec![1, 1, 1, 1]))
        .op("Shape", &["x"], "dims")
        .ints("two", &[2])
        .ints("four", &[4])
        .op("Slice", &["dims", "two", "four"], "size")
        .op("Shape", &["half"], "half_dims")
        .ints("zero", &[0])
        .op("Slice", &["half_dims", "zero", "two"], "kept")
        .node(node("Concat", &["kept", "size"], "sizes").attr("axis", 0))
        .node(node("Resize", &["half", "", "", "sizes"], "up").attr("mode", "nearest"))
        .node(node("Concat", &["up", "x"], "joined").attr("axis", 1))
        .shapes(17);
    assert_eq!(text(shapes.shape("half")), "b, 8, floor((h + 1)/(2)), floor((w + 1)/(2))");
    assert_eq!(text(shapes.shape("joined")), "b, 12, h, w");
}

#[test]
fn doubled_scales_of_an_integer_shape_stay_exact() {
    let scales = TensorProto {
        name: Some("scales".to_owned()),
        dims: vec![4],
        data_type: Some(DataType::Float as i32),
        float_data: vec![1.0, 1.0, 2.0, 2.0],
        ..Default::default()
    };
    for (opset, inputs) in [(17, vec!["x", "", "scales"]), (10, vec!["x", "scales"])] {
        let shapes = Build::default()
            .floats("x", &["b", "4", "h", "w"])
            .constant(scales.clone())
            .op("Resize", &inputs, "up")
            .shapes(opset);
        assert_eq!(text(shapes.shape("up")), "b, 4, 2*h, 2*w", "opset {opset}");
    }
}

#[test]
fn expand_with_minus_one_replaced_by_ones() {
    let shapes = Build::default()
        .input("t", DataType::Int64, &[])
        .floats("x", &["b", "4", "64", "64"])
        .op("Shape", &["x"], "dims")
        .scalar("zero", 0)
        .ints("axis", &[0])
        .op("Gather", &["dims", "zero"], "batch")
        .op("Unsqueeze", &["batch", "axis"], "target")
        .op("Shape", &["target"], "length")
        .node(node("ConstantOfShape", &["length"], "zeros").attr("value", ints("", &[1], &[0])))
        .scalar("one", 1)
        .op("Add", &["zeros", "one"], "ones")
        .scalar("minus", -1)
        .op("Equal", &["target", "minus"], "open")
        .op("Where", &["open", "ones", "target"], "filled")
        .op("Unsqueeze", &["t", "axis"], "t1")
        .op("Expand", &["t1", "filled"], "timesteps")
        .shapes(17);
    assert_eq!(text(shapes.shape("timesteps")), "b");
    assert_eq!(text(shapes.ints("filled")), "b");
}

#[test]
fn reshape_keeps_what_it_can_of_a_partly_unknown_target() {
    let shapes = Build::default()
        .floats("x", &["b", "n", "320"])
        .input("rows", DataType::Int64, &["1"])
        .ints("tail", &[8, 40])
        .node(node("Concat", &["rows", "tail"], "target").attr("axis", 0))
        .op("Reshape", &["x", "target"], "y")
        .ints("keep", &[0, -1, 80])
        .op("Reshape", &["x", "keep"], "z")
        .shapes(17);
    assert_eq!(text(shapes.shape("y")), "b*n, 8, 40");
    assert_eq!(text(shapes.shape("z")), "b, 4*n, 80");
}

#[test]
fn matrix_products_and_einsum() {
    let shapes = Build::default()
        .floats("q", &["bh", "n", "40"])
        .floats("k", &["bh", "l", "40"])
        .node(node("Einsum", &["q", "k"], "scores").attr("equation", "b i d, b j d -> b i j"))
        .node(node("Einsum", &["q", "k"], "scores2").attr("equation", "...id,...jd->...ij"))
        .node(node("Transpose", &["k"], "kt").attr("perm", vec![0, 2, 1]))
        .op("MatMul", &["q", "kt"], "scores3")
        .node(node("FusedMatMul", &["q", "k"], "scores4").domain("com.microsoft").attr("transB", 1))
        .constant(weights("w", &[64, 40]))
        .ints("flat", &[-1, 40])
        .op("Reshape", &["q", "flat"], "rows")
        .node(node("Gemm", &["rows", "w"], "projected").attr("transB", 1))
        .shapes(17);
    for scores in ["scores", "scores2", "scores3", "scores4"] {
        assert_eq!(text(shapes.shape(scores)), "bh, n, l", "{scores}");
    }
    assert_eq!(text(shapes.shape("projected")), "bh*n, 64");
}

#[test]
fn fused_attention_has_the_value_width() {
    let shapes = Build::default()
        .floats("q", &["b", "n", "320"])
        .floats("kv", &["b", "77", "8", "2", "40"])
        .node(node("MultiHeadAttention", &["q", "kv"], "y").domain("com.microsoft").attr("num_heads", 8))
        .floats("q4", &["b", "8", "n", "40"])
        .floats("k4", &["b", "8", "l", "40"])
        .floats("v4", &["b", "8", "l", "48"])
        .node(NodeBuilder::new("Attention").inputs(["q4", "k4", "v4"]).outputs(["y4", "", "", "probs"]))
        .shapes(23);
    assert_eq!(text(shapes.shape("y")), "b, n, 320");
    assert_eq!(text(shapes.shape("y4")), "b, 8, n, 48");
    assert_eq!(text(shapes.shape("probs")), "b, 8, n, l");
}

#[test]
fn local_functions_are_followed_with_their_attributes() {
    let mut transpose = NodeBuilder::new("Transpose").input("a").output("c").attr("perm", vec![0]).build();
    transpose.attribute[0].ref_attr_name = Some("order".to_owned());
    let function = FunctionProto {
        name: Some("Turn".to_owned()),
        domain: Some("local".to_owned()),
        input: vec!["a".to_owned()],
        output: vec!["c".to_owned()],
        attribute: vec!["order".to_owned()],
        node: vec![transpose],
        ..Default::default()
    };
    let mut build = Build::default()
        .floats("x", &["b", "3", "5"])
        .node(node("Turn", &["x"], "y").domain("local").attr("order", vec![2, 0, 1]));
    build.functions.push(function);
    assert_eq!(text(build.shapes(17).shape("y")), "5, b, 3");
}

#[test]
fn what_is_stated_fills_gaps_only() {
    let mut build = Build::default().floats("x", &["b", "3"]).node(node("Mystery", &["x"], "y").domain("nobody")).op(
        "Relu",
        &["x"],
        "z",
    );
    build.graph.value_info.push(input("y", DataType::Float, &["rows", "9"]));
    build.graph.value_info.push(input("z", DataType::Float, &["rows", "9"]));
    let shapes = build.shapes(17);
    assert_eq!(text(shapes.shape("y")), "rows, 9");
    assert_eq!(text(shapes.shape("z")), "b, 3");
}

#[test]
fn folding_leaves_constants_and_drops_what_fed_them() {
    let mut model = Build::default()
        .floats("x", &["b", "77", "320"])
        .op("Shape", &["x"], "dims")
        .scalar("two", 2)
        .scalar("eight", 8)
        .ints("axis", &[0])
        .op("Gather", &["dims", "two"], "width")
        .op("Div", &["width", "eight"], "head")
        .op("Unsqueeze", &["head", "axis"], "head1")
        .ints("front", &[0, 0, 8])
        .node(node("Concat", &["front", "head1"], "target").attr("axis", 0))
        .op("Reshape", &["x", "target"], "y")
        .output("y")
        .model(17);
    let shapes = infer(&model);
    assert!(fold(&mut model.graph, &shapes).expect("foldable") >= 4);
    model.graph.remove_dead();
    assert_eq!(model.graph.node_count(), 1);
    assert_eq!(crate::onnx::constant_ints(&model.graph, "target").expect("ints"), Some(vec![0, 0, 8, 40]));
}

#[test]
fn hostile_nodes_make_unknown_shapes() {
    let shapes = Build::default()
        .floats("x", &["b", "3", "5"])
        .node(node("Transpose", &["x"], "a").attr("perm", vec![7, -3, 9]))
        .node(node("Concat", &["x", "x"], "b").attr("axis", i64::MIN))
        .node(node("Concat", &[], "c").attr("axis", 0))
        .node(node("Conv", &["x", ""], "d").attr("strides", vec![0]).attr("kernel_shape", vec![i64::MAX]))
        .node(node("Einsum", &["x"], "e").attr("equation", "ab->z"))
        .node(node("Split", &["x"], "f").attr("axis", 99))
        .ints("huge", &[i64::MAX, i64::MAX])
        .op("ConstantOfShape", &["huge"], "g")
        .op("Expand", &["x", "huge"], "h")
        .node(NodeBuilder::new("Where").output("i"))
        .node(NodeBuilder::new("Add").output("j"))
        .node(node("Slice", &["x"], "k").attr("starts", vec![i64::MIN]).attr("ends", vec![i64::MAX]))
        .shapes(17);
    assert_eq!(shapes.shape("a"), None);
    assert_eq!(shapes.shape("e"), None);
}
