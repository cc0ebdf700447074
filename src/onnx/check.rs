//! What a file must keep to before anything builds on it.
//!
//! Everything here is linear in the size of the graph and touches no weights,
//! only the sizes of external files.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::proto::{FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto};
use super::tensors::visit_tensors;
use super::weights::{
    ExternalData, element_count, element_type, external_data, folder_of, tensor_place, tensor_size, unreadable,
};
use super::{DataType, Error, NodeExt, Result};

/// Checks what `model` says of itself; its external data is looked for beside `path`.
///
/// # Errors
/// No operator set; a tensor whose bytes do not fit its dims and type; external data that is
/// missing, too short or outside of the model's folder; a name defined twice; a node that
/// reads a tensor nobody defines.
pub(super) fn check(model: &ModelProto, path: Option<&Path>) -> Result<()> {
    if model.opset_import.is_empty() {
        return Err(Error::invalid("model", "imports no operator set"));
    }
    let mut files = ExternalSizes { folder: path.map(folder_of), sizes: HashMap::new() };
    visit_tensors(model, &mut |tensor, _| check_tensor(tensor, &mut files))?;
    if let Some(graph) = &model.graph {
        check_graph(graph, &mut Vec::new())?;
    }
    model.functions.iter().try_for_each(check_function)
}

struct ExternalSizes<'a> {
    folder: Option<&'a Path>,
    sizes: HashMap<String, u64>,
}

impl ExternalSizes<'_> {
    /// Whether the file that `external` names is long enough for `tensor`.
    fn check(&mut self, tensor: &TensorProto, external: &ExternalData) -> Result<()> {
        let Some(folder) = self.folder else { return Ok(()) };
        let path = folder.join(&external.location);
        let size = match self.sizes.get(&external.location) {
            Some(size) => *size,
            None => {
                let about = std::fs::metadata(&path).map_err(|error| unreadable(tensor, &Error::io(&path, error)))?;
                if !about.is_file() {
                    let error = Error::io(&path, std::io::Error::other("is not a regular file"));
                    return Err(unreadable(tensor, &error));
                }
                self.sizes.insert(external.location.clone(), about.len());
                about.len()
            }
        };
        external.range(tensor, &path, size).map(drop)
    }
}

fn check_tensor(tensor: &TensorProto, files: &mut ExternalSizes<'_>) -> Result<()> {
    let wrong = |reason: String| Err(Error::invalid(tensor_place(tensor), reason));
    let element = element_type(tensor)?;
    if element == DataType::Undefined {
        return wrong("has no element type".to_owned());
    }
    let count = element_count(tensor)?;
    if element == DataType::String {
        let held = tensor.string_data.len() as u64;
        return if held == count { Ok(()) } else { wrong(format!("holds {held} strings where its dims need {count}")) };
    }
    let needed = tensor_size(tensor)?;
    let held = match external_data(tensor)? {
        Some(external) => {
            files.check(tensor, &external)?;
            external.length.unwrap_or(needed)
        }
        None => inline_size(tensor, element),
    };
    if held != needed {
        let (dims, element) = (&tensor.dims, element.as_str_name().to_lowercase());
        return wrong(format!("holds {held} bytes where dims {dims:?} of {element} need {needed}"));
    }
    Ok(())
}

/// The bytes that `raw_data` or the typed field of `element` holds.
fn inline_size(tensor: &TensorProto, element: DataType) -> u64 {
    use DataType::*;
    let size = match (&tensor.raw_data, element) {
        (Some(raw), _) => raw.len(),
        (None, Float | Complex64) => tensor.float_data.len() * 4,
        (None, Double | Complex128) => tensor.double_data.len() * 8,
        (None, Int64) => tensor.int64_data.len() * 8,
        (None, Uint64) => tensor.uint64_data.len() * 8,
        (None, Uint32) => tensor.uint64_data.len() * 4,
        (None, Int32) => tensor.int32_data.len() * 4,
        (None, Int16 | Uint16 | Float16 | Bfloat16) => tensor.int32_data.len() * 2,
        (None, _) => tensor.int32_data.len(),
    };
    size as u64
}

/// Checks names in `graph`, which sees the names of the graphs `around` it.
fn check_graph<'a>(graph: &'a GraphProto, around: &mut Vec<HashSet<&'a str>>) -> Result<()> {
    let mut names: HashSet<&str> = HashSet::new();
    for input in &graph.input {
        if !names.insert(input.name()) {
            return Err(Error::invalid(format!("graph input '{}'", input.name()), "is defined twice"));
        }
    }
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    names.extend(graph.initializer.iter().chain(sparse).map(|tensor| tensor.name()));
    add_outputs(&graph.node, &mut names)?;
    around.push(names);
    check_reads(&graph.node, around)?;
    for output in &graph.output {
        if !is_defined(output.name(), around) {
            return Err(Error::invalid(format!("graph output '{}'", output.name()), "is made by no node"));
        }
    }
    around.pop();
    Ok(())
}

fn check_function(function: &FunctionProto) -> Result<()> {
    let mut names: HashSet<&str> = function.input.iter().map(String::as_str).collect();
    let within = |error: Error| error.within(&format!("function '{}'", function.name()));
    add_outputs(&function.node, &mut names).map_err(within)?;
    check_reads(&function.node, &mut vec![names]).map_err(within)
}

fn add_outputs<'a>(nodes: &'a [NodeProto], names: &mut HashSet<&'a str>) -> Result<()> {
    for node in nodes {
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            if !names.insert(output) {
                return Err(Error::invalid(node.place(), format!("its output '{output}' is already defined")));
            }
        }
    }
    Ok(())
}

fn check_reads<'a>(nodes: &'a [NodeProto], around: &mut Vec<HashSet<&'a str>>) -> Result<()> {
    for node in nodes {
        for input in node.input.iter().filter(|name| !name.is_empty()) {
            if !is_defined(input, around) {
                return Err(Error::invalid(node.place(), format!("reads '{input}', which nothing defines")));
            }
        }
        for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
            check_graph(graph, around).map_err(|error| error.within(&node.place()))?;
        }
    }
    Ok(())
}

fn is_defined(name: &str, around: &[HashSet<&str>]) -> bool {
    around.iter().rev().any(|names| names.contains(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::super::testing::{chain, entry, external, model, raw, tensor};
    use super::super::{Model, NodeBuilder};
    use super::*;

    fn node(op: &str, name: &str, reads: &str, makes: &str) -> NodeProto {
        NodeBuilder::new(op).name(name).input(reads).output(makes).build()
    }

    fn with_tensor(tensor: TensorProto) -> ModelProto {
        let mut model = chain(vec![node("Neg", "n", "x", "y")]);
        model.graph.get_or_insert_default().initializer.push(tensor);
        model
    }

    /// The message with which `model` is refused, in a folder with the 8-byte file `w.bin`.
    fn refusal(model: &ModelProto) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("w.bin"), [0; 8]).unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        Model::open(path).unwrap_err().to_string()
    }

    #[test]
    fn a_sound_model_opens() {
        let bytes = model().encode_to_vec();
        assert_eq!(Model::from_bytes(bytes, None).unwrap().graph.node_count(), 3);
    }

    #[test]
    fn broken_graphs_are_refused_with_file_and_node() {
        let cases = [
            (chain(vec![node("Neg", "n", "nowhere", "y")]), "m.onnx: node 'n' (Neg): reads 'nowhere'"),
            (chain(vec![node("Neg", "n", "x", "z")]), "graph output 'y'"),
            (chain(vec![node("Neg", "n", "x", "y"), node("Abs", "m", "x", "y")]), "node 'm' (Abs): its output 'y'"),
            (chain(vec![node("Neg", "n", "x", "x")]), "its output 'x'"),
            (chain(vec![node("Neg", "a", "z", "y"), node("Neg", "b", "y", "z")]), "node 'a' (Neg): is part of a cycle"),
        ];
        for (model, wanted) in cases {
            let message = refusal(&model);
            assert!(message.contains(wanted), "{message} lacks {wanted}");
        }
    }

    #[test]
    fn broken_tensors_are_refused_by_name() {
        let strings = TensorProto { string_data: vec!["a".into()], ..tensor("s", &[2], DataType::String) };
        let unknown = TensorProto { data_type: Some(99), ..tensor("u", &[2], DataType::Float) };
        let cases = [
            (raw("w", &[3], [1.0, 2.0]), "tensor 'w': holds 8 bytes where dims [3] of float need 12"),
            (raw("w", &[-1], []), "impossible dims [-1]"),
            (raw("w", &[i64::MAX, i64::MAX], []), "impossible dims"),
            (raw("w", &[i64::MAX / 2], []), "huge dims"),
            (strings, "holds 1 strings"),
            (unknown, "element type 99"),
            (external("w", &[2], &[("location", "../w.bin")]), "outside of the model's folder"),
            (external("w", &[2], &[("location", "gone.bin")]), "gone.bin"),
            (external("w", &[2], &[("location", ".")]), "not a regular file"),
            (external("w", &[3], &[("location", "w.bin")]), "passes the end of"),
            (external("w", &[1], &[("location", "w.bin"), ("offset", "18446744073709551615")]), "passes the end of"),
            (external("w", &[2], &[("location", "w.bin"), ("length", "4")]), "holds 4 bytes"),
            (external("w", &[2], &[("location", "w.bin"), ("offset", "-4")]), "which is no number of bytes"),
            (external("w", &[2], &[]), "no location is given"),
        ];
        for (tensor, wanted) in cases {
            let message = refusal(&with_tensor(tensor));
            assert!(message.contains(wanted) && message.contains("m.onnx"), "{message} lacks {wanted}");
        }
    }

    #[test]
    fn what_is_no_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Model::open(folder.path()).unwrap_err().to_string().contains("regular file"));
        for bytes in [&b""[..], b"no protobuf", &[0; 64]] {
            let path = folder.path().join("m.onnx");
            std::fs::write(&path, bytes).unwrap();
            assert!(Model::open(&path).unwrap_err().to_string().contains("m.onnx"));
        }
        let mut bare = chain(vec![node("Neg", "n", "x", "y")]);
        bare.opset_import.clear();
        assert!(refusal(&bare).contains("operator set"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut inner = chain(vec![node("Neg", "n", "x", "y")]).graph.unwrap();
        for _ in 0..120 {
            let mut around = node("If", "i", "x", "z");
            around.attribute.push(crate::onnx::proto::AttributeProto { g: Some(inner), ..Default::default() });
            inner = GraphProto { node: vec![around], ..Default::default() };
        }
        let model = ModelProto { graph: Some(inner), ..chain(Vec::new()) };
        assert!(refusal(&model).contains("recursion"));
    }

    /// Does all that reading can lead to; any error is fine, a panic is not.
    fn use_model(bytes: Vec<u8>) {
        let Ok(mut model) = Model::from_bytes(bytes, None) else { return };
        for tensor in model.graph.initializers().values() {
            let _ = (model.tensor_bytes(tensor), model.tensor_f32s(tensor), model.tensor_ints(tensor));
        }
        model.graph.remove_dead();
        let _ = model.to_proto().map(|proto| proto.encode_to_vec());
    }

    fn sample() -> Vec<u8> {
        let mut sample = model();
        let graph = sample.graph.get_or_insert_default();
        graph.initializer.truncate(0);
        graph.initializer.push(raw("w", &[2, 2], [1.0, 2.0, 3.0, 4.0]));
        graph.initializer.push(TensorProto { float_data: vec![0.5; 2], ..tensor("typed", &[2], DataType::Float) });
        graph.initializer.push(TensorProto { int32_data: vec![1], ..tensor("always", &[], DataType::Bool) });
        graph.metadata_props.push(entry("a", "b"));
        sample.encode_to_vec()
    }

    proptest! {
        #[test]
        fn flipped_bits_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 1..8)) {
            let mut bytes = sample();
            for (index, bit) in flips {
                let at = index.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            use_model(bytes);
        }

        #[test]
        fn cut_files_never_panic(cut in any::<prop::sample::Index>()) {
            let bytes = sample();
            use_model(bytes[..cut.index(bytes.len())].to_vec());
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            use_model(bytes);
        }
    }
}
