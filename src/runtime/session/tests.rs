use ndarray::{Array2, arr1, arr2};
use ort::memory::AllocationDevice;
use prost::Message;

use super::*;
use crate::onnx::NodeBuilder;
use crate::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use crate::onnx::proto::type_proto;
use crate::onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};
use crate::runtime::resident::Placement;
use crate::runtime::{Dim, ElementType};

const FLOAT: i32 = 1;

fn declared(name: &str, element: i32, dims: &[&str]) -> ValueInfoProto {
    let dim = dims.iter().map(|text| Dimension {
        value: Some(match text.parse() {
            Ok(length) => dimension::Value::DimValue(length),
            Err(_) => dimension::Value::DimParam((*text).to_owned()),
        }),
        ..Default::default()
    });
    let tensor = type_proto::Tensor { elem_type: Some(element), shape: Some(TensorShapeProto { dim: dim.collect() }) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(r#type), ..Default::default() }
}

fn model(
    nodes: Vec<NodeProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    defaults: Vec<TensorProto>,
) -> Vec<u8> {
    let graph = GraphProto {
        name: Some("test".to_owned()),
        node: nodes,
        input: inputs,
        output: outputs,
        initializer: defaults,
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(17) };
    let model = ModelProto { ir_version: Some(8), opset_import: vec![opset], graph: Some(graph), ..Default::default() };
    model.encode_to_vec()
}

/// y = x + shift (shift defaults to 10), z = 2x.
fn sum_and_double() -> Vec<u8> {
    let shift = TensorProto {
        name: Some("shift".to_owned()),
        data_type: Some(FLOAT),
        dims: vec![1],
        float_data: vec![10.0],
        ..Default::default()
    };
    model(
        vec![
            NodeBuilder::new("Add").inputs(["x", "shift"]).output("y").build(),
            NodeBuilder::new("Add").inputs(["x", "x"]).output("z").build(),
        ],
        vec![declared("x", FLOAT, &["rows", "3"]), declared("shift", FLOAT, &["1"])],
        vec![declared("y", FLOAT, &["rows", "3"]), declared("z", FLOAT, &["rows", "3"])],
        vec![shift],
    )
}

fn open(bytes: &[u8]) -> Session {
    Session::from_bytes(bytes, "test.onnx", &SessionOptions::default()).unwrap()
}

#[test]
fn reads_names_types_and_shapes_from_the_model() {
    let session = open(&sum_and_double());
    let names = |specs: &[TensorSpec]| specs.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(session.inputs()), ["x"]);
    assert_eq!(names(session.optional_inputs()), ["shift"]);
    assert_eq!(names(session.outputs()), ["y", "z"]);
    let x = session.input("x").unwrap();
    assert_eq!((x.element_type, x.optional), (ElementType::F32, false));
    assert_eq!(x.dims, [Dim::Symbolic("rows".to_owned()), Dim::Fixed(3)]);
}

#[test]
fn runs_with_and_without_the_optional_input() {
    let session = open(&sum_and_double());
    let x = Tensor::from(arr2(&[[1.0_f32, 2.0, 3.0]]));
    let mut outputs = session.run(&[("x", &x)]).unwrap();
    assert_eq!(outputs.take("y").unwrap(), Tensor::from(arr2(&[[11.0_f32, 12.0, 13.0]])));
    assert_eq!(outputs.take("z").unwrap(), Tensor::from(arr2(&[[2.0_f32, 4.0, 6.0]])));
    assert!(outputs.take("z").is_err(), "an output can be taken once");
    let shift = Tensor::from(arr1(&[-1.0_f32]));
    let mut outputs = session.run(&[("x", &x), ("shift", &shift)]).unwrap();
    assert_eq!(outputs.take_first().unwrap(), Tensor::from(arr2(&[[0.0_f32, 1.0, 2.0]])));
}

#[test]
fn a_transposed_array_is_fed_as_its_elements_say() {
    let session = open(&sum_and_double());
    let x = Tensor::from(arr2(&[[1.0_f32, 4.0], [2.0, 5.0], [3.0, 6.0]]).reversed_axes());
    let z = session.run(&[("x", &x)]).unwrap().take("z").unwrap();
    assert_eq!(z, Tensor::from(arr2(&[[2.0_f32, 4.0, 6.0], [8.0, 10.0, 12.0]])));
}

#[test]
fn an_output_goes_from_one_session_to_another_where_it_is() {
    let (first, second) = (open(&sum_and_double()), open(&sum_and_double()));
    let x = Tensor::from(Array2::<f32>::ones((2, 3)));
    let fetch = |name: &str| if name == "y" { Fetch::Device } else { Fetch::Skip };
    let mut outputs = first.run_fetching(&[("x", (&x).into())], fetch).unwrap();
    assert_eq!(outputs.names().collect::<Vec<_>>(), ["y"]);
    let y = outputs.take_device("y").unwrap();
    drop((outputs, first));
    assert_eq!((y.shape(), y.byte_count()), (&[2, 3][..], 24));
    for _ in 0..2 {
        let mut again = second.run_fetching(&[("x", (&y).into())], |_| Fetch::Host).unwrap();
        assert_eq!(again.take("z").unwrap(), Tensor::from(Array2::from_elem((2, 3), 22.0_f32)));
    }
    assert_eq!(y.to_tensor().unwrap(), Tensor::from(Array2::from_elem((2, 3), 11.0_f32)));
}

#[test]
fn wrong_feeds_are_named() {
    let session = open(&sum_and_double());
    let message = |feeds: &[(&str, &Tensor)]| session.run(feeds).unwrap_err().to_string();
    let (half, wide) = (Tensor::filled(&[1, 3], ElementType::F16, 1.0), Tensor::filled(&[1, 4], ElementType::F32, 1.0));
    let good = Tensor::filled(&[1, 3], ElementType::F32, 1.0);
    assert_eq!(message(&[("x", &half)]), "test.onnx: tensor 'x': is float32, and float16 was given");
    assert_eq!(message(&[("x", &wide)]), "test.onnx: tensor 'x': has shape [rows, 3], and [1, 4] was given");
    assert_eq!(message(&[]), "test.onnx: tensor 'x': is an input that was not fed");
    assert!(message(&[("x", &good), ("w", &good)]).contains("is no input of this model, whose inputs are x"));
}

#[test]
fn a_file_that_is_no_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.onnx");
    std::fs::write(&path, b"not a model").unwrap();
    let error = Session::open(&path, &SessionOptions::default()).unwrap_err().to_string();
    assert!(error.contains("broken.onnx") && error.contains("cannot load"), "{error}");
    let absent = Session::open(folder.path().join("absent.onnx"), &SessionOptions::default()).unwrap_err();
    assert!(absent.to_string().contains("absent.onnx"));
}

#[test]
fn many_threads_share_one_session() {
    let session = open(&sum_and_double());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let session = &session;
            scope.spawn(move || {
                let x = Tensor::filled(&[1, 3], ElementType::F32, f64::from(thread));
                let y = session.run(&[("x", &x)]).unwrap().take("y").unwrap();
                assert_eq!(y, Tensor::filled(&[1, 3], ElementType::F32, f64::from(thread) + 10.0));
            });
        }
    });
}

#[test]
fn every_way_of_making_a_session_gives_the_same() {
    let x = Tensor::filled(&[2, 3], ElementType::F32, 0.5);
    let expected = open(&sum_and_double()).run(&[("x", &x)]).unwrap().take("y").unwrap();
    let choices = [
        SessionOptions { threads: Some(1), ..Default::default() },
        SessionOptions { low_memory: true, ..Default::default() },
    ];
    for options in choices {
        let session = Session::from_bytes(&sum_and_double(), "test.onnx", &options).unwrap();
        assert_eq!(session.run(&[("x", &x)]).unwrap().take("y").unwrap(), expected, "{options:?}");
    }
}

#[test]
fn says_how_many_nodes_each_provider_runs() {
    let session = open(&sum_and_double());
    let Some(assignment) = session.assignment() else {
        assert!(crate::runtime::library::loaded().unwrap().minor_version() < 24);
        return;
    };
    assert_eq!(assignment.to_string(), "2 nodes on CPUExecutionProvider");
    assert_eq!((assignment.total(), assignment.on_cpu["Add"]), (2, 2));
}

#[test]
fn a_provider_that_is_missing_is_an_error_not_the_cpu() {
    let present: Vec<_> = providers::available().unwrap().iter().map(|provider| provider.kind).collect();
    if present.contains(&crate::runtime::ProviderKind::Cuda) {
        return;
    }
    let options = SessionOptions { provider: "cuda:device=0".parse().unwrap(), ..Default::default() };
    let error = Session::from_bytes(&sum_and_double(), "test.onnx", &options).unwrap_err().to_string();
    assert!(error.contains("provider 'cuda'") && error.contains("onnxruntime-gpu"), "{error}");
}

#[test]
fn binding_gives_what_a_plain_run_gives() {
    let session = open(&sum_and_double());
    let x = Tensor::from(arr2(&[[1.0_f32, 2.0, 3.0]]));
    let feeds = [("x", Feed::from(&x))];
    let fetch = |name: &str| if name == "y" { Fetch::Device } else { Fetch::Host };
    let mut bound = session.run_bound(&feeds, &[None], fetch, (AllocationDevice::CPU, 0)).unwrap();
    let mut plain = session.run(&[("x", &x)]).unwrap();
    let y = bound.take_device("y").unwrap();
    assert_eq!(y.to_tensor().unwrap(), plain.take("y").unwrap());
    let expected = plain.take("z").unwrap();
    assert_eq!(bound.take("z").unwrap(), expected);
    let again = session.run_bound(&[("x", (&y).into())], &[None], |_| Fetch::Host, (AllocationDevice::CPU, 0));
    assert_eq!(again.unwrap().take("z").unwrap(), Tensor::from(arr2(&[[22.0_f32, 24.0, 26.0]])));
    assert_eq!(y.to_tensor().unwrap(), Tensor::from(arr2(&[[11.0_f32, 12.0, 13.0]])), "later runs leave it alone");
}

fn on_the_host(fixed: bool) -> Placement {
    Placement { device: AllocationDevice::CPU, id: 0, pinned: None, fixed }
}

/// One output of a resident run in the host's memory, and how many feeds were sent.
fn resident(
    session: &Session,
    fixed: bool,
    feeds: &[(&str, Feed<'_>)],
    (output, shape): (&str, &[usize]),
) -> Result<(Tensor, usize)> {
    let (mut outputs, sent) = session.run_at(&on_the_host(fixed), feeds, &[(output, shape, Fetch::Host)])?;
    Ok((outputs.take(output)?, sent))
}

fn addresses(session: &Session) -> Vec<*const std::ffi::c_void> {
    let inner = session.inner.lock().unwrap();
    inner.residents[0].addresses()
}

#[test]
fn a_resident_run_sends_only_what_changed() {
    let session = open(&sum_and_double());
    let (x, shift) = (Tensor::from(arr2(&[[1.0_f32, 2.0, 3.0]])), Tensor::from(arr1(&[1.0_f32])));
    for fixed in [false, true] {
        let run = |x: &Tensor, shift: &Tensor| {
            resident(&session, fixed, &[("x", x.into()), ("shift", shift.into())], ("y", &[1, 3])).unwrap()
        };
        let expected = |numbers: [f32; 3]| Tensor::from(arr2(&[numbers]));
        session.inner.lock().unwrap().residents.clear();
        assert_eq!(run(&x, &shift), (expected([2.0, 3.0, 4.0]), 2));
        assert_eq!(run(&x, &shift), (expected([2.0, 3.0, 4.0]), 0), "nothing is sent twice");
        let before = addresses(&session);
        assert_eq!(run(&x, &Tensor::from(arr1(&[-1.0_f32]))), (expected([0.0, 1.0, 2.0]), 1));
        let other = Tensor::from(arr2(&[[5.0_f32, 6.0, 7.0]]));
        assert_eq!(run(&other, &shift), (expected([6.0, 7.0, 8.0]), 2));
        assert_eq!(addresses(&session), before, "a recorded graph reads where it was recorded");
        assert_eq!(before.len(), if fixed { 2 } else { 0 });
    }
}

#[test]
fn a_resident_binding_follows_the_feeds() {
    let session = open(&sum_and_double());
    let run = |x: &Tensor, rows: usize| resident(&session, true, &[("x", x.into())], ("y", &[rows, 3])).unwrap().0;
    for rows in [1, 2, 1] {
        let x = Tensor::filled(&[rows, 3], ElementType::F32, rows as f64);
        assert_eq!(run(&x, rows), Tensor::filled(&[rows, 3], ElementType::F32, rows as f64 + 10.0));
    }
    let transposed = Tensor::from(arr2(&[[1.0_f32, 4.0], [2.0, 5.0], [3.0, 6.0]]).reversed_axes());
    assert_eq!(run(&transposed, 2), Tensor::from(arr2(&[[11.0_f32, 12.0, 13.0], [14.0, 15.0, 16.0]])));
    assert_eq!(session.inner.lock().unwrap().bindings, 2, "one for each number of rows");
}

#[test]
fn a_resident_run_names_what_is_wrong() {
    let session = open(&sum_and_double());
    let x = Tensor::filled(&[1, 3], ElementType::F32, 1.0);
    let message = |output: &str, shape: &[usize]| {
        resident(&session, false, &[("x", (&x).into())], (output, shape)).unwrap_err().to_string()
    };
    assert!(message("w", &[1, 3]).contains("tensor 'w': is no output"));
    assert!(message("y", &[1, 4]).contains("has shape [rows, 3], and [1, 4] was given"));
    assert_eq!(
        session.run_resident(&[("x", &x)], "z", &[1, 3]).unwrap(),
        Tensor::filled(&[1, 3], ElementType::F32, 2.0)
    );
}

#[test]
fn recorded_sessions_hand_each_other_what_stays_where_it_is() {
    let (first, second) = (open(&sum_and_double()), open(&sum_and_double()));
    let shape: &[usize] = &[1, 3];
    let mut lies = Vec::new();
    for (number, shift) in [(1.0, 5.0), (2.0, 5.0), (3.0, 7.0)] {
        let x = Tensor::filled(shape, ElementType::F32, number);
        let wanted = [("y", shape, Fetch::Device), ("z", shape, Fetch::Host)];
        let (mut outputs, _) = first.run_at(&on_the_host(true), &[("x", (&x).into())], &wanted).unwrap();
        assert_eq!(outputs.take("z").unwrap(), Tensor::filled(shape, ElementType::F32, 2.0 * number));
        let y = outputs.take_device("y").unwrap();
        let shift = second.upload(&Tensor::from(arr1(&[shift as f32]))).unwrap();
        let feeds = [("x", (&y).into()), ("shift", (&shift).into())];
        let (sum, sent) = resident(&second, true, &feeds, ("y", shape)).unwrap();
        let expected = number + 10.0 + f64::from(shift.to_tensor().unwrap().into_f32()[[0]]);
        assert_eq!(sum, Tensor::filled(shape, ElementType::F32, expected));
        assert_eq!(sent, if lies.is_empty() { 2 } else { 1 }, "an input that is rewritten is not sent");
        lies.push(y.value.data_ptr());
    }
    assert_eq!((lies[0], lies[1]), (lies[1], lies[2]));
    assert_eq!(second.inner.lock().unwrap().bindings, 1);
}

#[test]
fn outputs_of_a_session_that_does_not_record_are_its_own() {
    let session = open(&sum_and_double());
    let shape: &[usize] = &[1, 3];
    let run = |number: f64| {
        let x = Tensor::filled(shape, ElementType::F32, number);
        let wanted = [("z", shape, Fetch::Device)];
        session.run_again(&[("x", (&x).into())], &wanted).unwrap().take_device("z").unwrap()
    };
    let (first, second) = (run(1.0), run(2.0));
    assert_eq!(first.to_tensor().unwrap(), Tensor::filled(shape, ElementType::F32, 2.0));
    assert_eq!(second.to_tensor().unwrap(), Tensor::filled(shape, ElementType::F32, 4.0));
}

#[test]
fn an_uploaded_tensor_serves_any_number_of_runs() {
    let session = open(&sum_and_double());
    let x = session.upload(&Tensor::from(arr2(&[[1.0_f32, 4.0], [2.0, 5.0], [3.0, 6.0]]).reversed_axes())).unwrap();
    assert_eq!((x.shape(), x.is_on_host()), (&[2, 3][..], true));
    for _ in 0..2 {
        let mut outputs = session.run_fetching(&[("x", (&x).into())], |_| Fetch::Host).unwrap();
        assert_eq!(outputs.take("z").unwrap(), Tensor::from(arr2(&[[2.0_f32, 4.0, 6.0], [8.0, 10.0, 12.0]])));
    }
}

#[test]
fn declared_inputs_are_those_of_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sum.onnx");
    std::fs::write(&path, sum_and_double()).unwrap();
    let session = Session::open(&path, &SessionOptions::default()).unwrap();
    let declared = crate::runtime::declared_inputs(&path).unwrap();
    let loaded: Vec<_> = session.inputs().iter().chain(session.optional_inputs()).cloned().collect();
    assert_eq!(declared, loaded);
}

#[test]
fn shapes_are_fixed_where_the_provider_prepares_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sum.onnx");
    std::fs::write(&path, sum_and_double()).unwrap();
    let open = |provider: &str, rows: usize| {
        let shapes = vec![ShapeRange::exact("x", &[rows, 3])];
        let cache = Some(folder.path().join("cache"));
        let options = SessionOptions { provider: provider.parse().unwrap(), shapes, cache, ..Default::default() };
        Session::open(&path, &options).unwrap()
    };
    let free = open("cpu", 2);
    assert_eq!(free.input("x").unwrap().dims[0], Dim::Symbolic("rows".to_owned()));
    for rows in [2, 3, 2] {
        let session = open("cpu:static_shapes=yes", rows);
        assert_eq!(session.input("x").unwrap().dims[0], Dim::Fixed(rows));
        let x = Tensor::filled(&[rows, 3], ElementType::F32, 1.0);
        assert_eq!(
            session.run(&[("x", &x)]).unwrap().take("y").unwrap(),
            Tensor::filled(&[rows, 3], ElementType::F32, 11.0)
        );
    }
}

/// A model of one matrix product, written to `path`, with `weight` in every place of its matrix.
fn write_product(path: &Path, weight: f32) {
    let weights = TensorProto {
        name: Some("w".to_owned()),
        data_type: Some(FLOAT),
        dims: vec![64, 64],
        float_data: vec![weight; 64 * 64],
        ..Default::default()
    };
    let node = NodeBuilder::new("MatMul").inputs(["x", "w"]).output("y").build();
    let (x, y) = (declared("x", FLOAT, &["rows", "64"]), declared("y", FLOAT, &["rows", "64"]));
    std::fs::write(path, model(vec![node], vec![x], vec![y], vec![weights])).unwrap();
}

fn product(path: &Path, options: &SessionOptions) -> (CacheUse, Tensor) {
    let session = Session::open(path, options).unwrap();
    let x = Tensor::filled(&[2, 64], ElementType::F32, 1.0);
    let y = session.run(&[("x", &x)]).unwrap().take("y").unwrap();
    (session.cache_use().clone(), y)
}

#[test]
fn the_cache_is_made_hit_and_never_stale() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("product.onnx");
    let options = SessionOptions { cache: Some(folder.path().join("cache")), ..Default::default() };
    let expected = |weight: f64| Tensor::filled(&[2, 64], ElementType::F32, 64.0 * weight);
    let entries = || std::fs::read_dir(folder.path().join("cache/sessions")).unwrap().count();
    write_product(&path, 1.0);
    assert_eq!(product(&path, &options), (CacheUse::Made, expected(1.0)));
    assert_eq!(product(&path, &options), (CacheUse::Hit, expected(1.0)));
    write_product(&path, 2.0);
    assert_eq!(product(&path, &options), (CacheUse::Made, expected(2.0)));
    assert_eq!(entries(), 1, "the entry of the earlier state is gone");
    let frugal = SessionOptions { low_memory: true, ..options.clone() };
    assert_eq!(product(&path, &frugal), (CacheUse::Made, expected(2.0)));
    assert_eq!(entries(), 2, "other options have an entry of their own");
}

#[test]
fn a_damaged_entry_is_reported_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("product.onnx");
    let options = SessionOptions { cache: Some(folder.path().join("cache")), ..Default::default() };
    write_product(&path, 1.0);
    let (_, expected) = product(&path, &options);
    let entry = std::fs::read_dir(folder.path().join("cache/sessions")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(entry.join("model.onnx"), b"damaged").unwrap();
    let (use_of_cache, y) = product(&path, &options);
    assert!(matches!(use_of_cache, CacheUse::Failed(_)), "{use_of_cache:?}");
    assert_eq!(y, expected);
    assert_eq!(product(&path, &options), (CacheUse::Made, expected));
}

#[test]
fn a_cache_that_cannot_be_written_does_not_stop_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("product.onnx");
    write_product(&path, 1.0);
    std::fs::write(folder.path().join("cache"), b"a file, no folder").unwrap();
    let options = SessionOptions { cache: Some(folder.path().join("cache")), ..Default::default() };
    assert!(matches!(product(&path, &options).0, CacheUse::Failed(_)));
}
