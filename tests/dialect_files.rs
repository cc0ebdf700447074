//! The dialect fixtures are whole: each unpacks, and its index entry is consistent.

#[path = "support/dialects.rs"]
mod dialects;

use dialects::Expect;
use prost::Message;

#[test]
fn every_dialect_unpacks_to_the_graph_that_its_entry_describes() {
    let all = dialects::all();
    assert!(!all.is_empty());
    for dialect in all {
        let bytes = std::fs::read(dialect.model()).unwrap();
        let model = infusion::onnx::proto::ModelProto::decode(bytes.as_slice()).unwrap();
        let graph = model.graph.expect(&dialect.name);
        let names: Vec<_> = graph.input.iter().map(|i| i.name.clone().unwrap_or_default()).collect();
        let expected: Vec<_> = dialect.inputs.iter().map(|i| i.name.clone()).collect();
        assert_eq!(names, expected, "{}", dialect.name);
    }
}

#[test]
fn every_patchable_dialect_has_a_reference_of_its_layers() {
    for dialect in dialects::patchable() {
        assert_eq!(dialect.expect, Expect::Patch);
        assert_eq!(dialect.heads.len(), dialect.layers, "{}", dialect.name);
        assert_eq!(dialect.value_widths.len(), dialect.layers, "{}", dialect.name);
        assert_eq!(dialect.modules.len(), dialect.layers, "{}", dialect.name);
        let bytes = std::fs::read(dialect.reference()).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let width: usize = dialect.value_widths.iter().sum();
        assert_eq!(tensors.tensor("delta.two").unwrap().shape(), [2, width], "{}", dialect.name);
    }
}
