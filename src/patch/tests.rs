use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;

use super::region::Regions;
use super::{EmitOptions, FindOptions, Survey, Variant, emit, find};
use crate::dialects::{self, Dialect};
use crate::onnx::infer::infer;
use crate::onnx::proto::tensor_shape_proto::dimension::Value as Extent;
use crate::onnx::proto::{GraphProto, ModelProto, type_proto};
use crate::onnx::{Model, NodeExt};

fn survey(dialect: &Dialect) -> (Model, Survey) {
    let model = Model::open(dialect.model()).unwrap();
    let survey = find(&model, &infer(&model), &FindOptions::default());
    let survey = survey.unwrap_or_else(|error| panic!("{}: {error}", dialect.name));
    (model, survey)
}

#[test]
fn every_layer_of_every_dialect_is_found_as_torch_has_it() {
    for dialect in dialects::patchable() {
        let (_, survey) = survey(&dialect);
        let found = |value: fn(&super::CrossAttention) -> usize| survey.layers.iter().map(value).collect::<Vec<_>>();
        let misses = &survey.near_misses;
        assert_eq!(survey.layers.len(), dialect.layers, "{}: {misses:?}", dialect.name);
        assert_eq!(found(|layer| layer.heads), dialect.heads, "{}", dialect.name);
        assert_eq!(found(|layer| layer.width), dialect.value_widths, "{}", dialect.name);
        let paths: Vec<&str> = survey.layers.iter().map(|layer| layer.module_path.as_str()).collect();
        assert_eq!(paths, dialect.modules, "{}", dialect.name);
        assert!(misses.iter().all(|miss| !miss.cross), "{}: {misses:?}", dialect.name);
    }
}

#[test]
fn other_models_are_refused_with_what_was_found() {
    for dialect in dialects::all().iter().filter(|dialect| dialect.expect == dialects::Expect::Refuse) {
        let model = Model::open(dialect.model()).unwrap();
        let error = find(&model, &infer(&model), &FindOptions::default()).unwrap_err().to_string();
        assert!(error.contains("cannot patch"), "{}: {error}", dialect.name);
    }
}

#[test]
fn a_patched_model_is_refused() {
    let (model, found) = survey(&dialects::named("four-17"));
    let f = emit(&model, &found, Variant::F, &EmitOptions::default()).unwrap();
    let error = find(&f, &infer(&f), &FindOptions::default()).unwrap_err().to_string();
    assert!(error.contains("patched already") && error.contains("infusion.0.probs"), "{error}");
}

#[test]
fn the_customised_stream_loses_its_queries_keys_and_softmax() {
    for dialect in dialects::patchable() {
        let (model, survey) = survey(&dialect);
        let c = emit(&model, &survey, Variant::C, &EmitOptions::default()).unwrap();
        for layer in &survey.layers {
            for part in &layer.attention.parts {
                let gone = [&part.query, &part.key, &part.value].map(|place| &place.tensor);
                let softmax = model.graph.node(part.anchor).output_name(0);
                for tensor in gone.into_iter().map(String::as_str).chain(softmax) {
                    assert!(c.graph.producer(tensor).is_none(), "{}: '{tensor}' is still made", dialect.name);
                }
            }
        }
        assert!(!c.graph.is_input(&survey.context_input), "{}: the context is still read", dialect.name);
    }
}

#[test]
fn shared_runs_what_comes_before_the_first_cross_attention_on_the_sources_rows() {
    for dialect in dialects::patchable().into_iter().filter(Dialect::dynamic_batch) {
        let (model, survey) = survey(&dialect);
        let common = Regions::of(&model.graph, &survey).common;
        // Self-attention that is fused already is not listed.
        let first = survey.self_attention.first().map(|attention| attention.parts[0].anchor);
        assert!(
            first.is_none_or(|anchor| common.contains(&anchor)),
            "{}: the first self-attention is shared",
            dialect.name
        );
        assert!(!common.is_empty(), "{}: nothing is shared", dialect.name);
        let shared = emit(&model, &survey, Variant::Shared, &EmitOptions::default()).unwrap();
        let added = ["infusion.rows", "infusion.mask", "infusion.delta"].map(str::to_owned);
        let widened = shared.graph.descendants(added);
        for output in common.iter().filter_map(|id| model.graph.node(*id).output_name(0)) {
            let made_by = shared.graph.producer(output);
            assert!(made_by.is_some_and(|id| !widened.contains(&id)), "{}: '{output}' is widened", dialect.name);
        }
    }
}

#[test]
fn graphs_of_plain_operators_stay_so_unless_attention_is_fused() {
    for name in ["four-17", "baddbmm-14"] {
        let (model, found) = survey(&dialects::named(name));
        for variant in Variant::ALL {
            let emitted = emit(&model, &found, variant, &EmitOptions::default()).unwrap();
            let other = emitted.graph.nodes().find(|(_, node)| !node.domain_name().is_empty());
            assert!(other.is_none(), "{name} {variant}: {:?}", other.map(|(_, node)| node.op_type().to_owned()));
        }
    }
}

const EXTREMES: [i64; 6] = [i64::MIN, -1, 0, 1, 7, i64::MAX];

/// Damages a graph in one place; most results are still graphs.
fn damage(graph: &mut GraphProto, (kind, at, other): (u8, Index, Index)) {
    let extreme = EXTREMES[other.index(EXTREMES.len())];
    let count = graph.node.len();
    let (node, model) = (at.index(count), other.index(count));
    match kind {
        0 => drop(graph.node.remove(node)),
        1 => {
            let tensor = graph.node[model].output.first().cloned().unwrap_or_default();
            graph.node[node].input.iter_mut().take(1).for_each(|input| input.clone_from(&tensor));
        }
        2 => graph.node[node].op_type = graph.node[model].op_type.clone(),
        3 => graph.node[node].input.iter_mut().rev().take(1).for_each(String::clear),
        4 => graph.node[node].attribute.iter_mut().for_each(|attribute| {
            attribute.i = attribute.i.map(|_| extreme);
            attribute.ints.iter_mut().take(1).for_each(|int| *int = extreme);
        }),
        5 => {
            let small = graph.initializer.iter_mut().filter(|tensor| tensor.raw_data().len() == 8);
            let mut small: Vec<_> = small.collect();
            if !small.is_empty() {
                let tensor = at.index(small.len());
                small[tensor].raw_data = Some(extreme.to_le_bytes().to_vec().into());
            }
        }
        _ => {
            let inputs = graph.input.len();
            let value = graph.input[at.index(inputs)].r#type.as_mut().and_then(|typed| typed.value.as_mut());
            if let Some(type_proto::Value::TensorType(tensor)) = value {
                let dims = tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim);
                dims.take(1).for_each(|dim| dim.value = Some(Extent::DimValue(extreme)));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn damaged_graphs_are_patched_or_refused(
        damages in prop::collection::vec((0..7u8, any::<Index>(), any::<Index>()), 1..4),
    ) {
        let bytes = std::fs::read(dialects::named("four-17").model()).unwrap();
        let mut proto = ModelProto::decode(&*bytes).unwrap();
        damages.into_iter().for_each(|it| damage(proto.graph.as_mut().unwrap(), it));
        let Ok(model) = Model::from_bytes(proto.encode_to_vec(), None) else { return Ok(()) };
        let Ok(survey) = find(&model, &infer(&model), &FindOptions::default()) else { return Ok(()) };
        for variant in Variant::ALL {
            for fuse in [false, true] {
                let made = emit(&model, &survey, variant, &EmitOptions { fuse, ..EmitOptions::default() });
                let _ = made.map(|made| made.to_proto().map(|proto| proto.encode_to_vec()));
            }
        }
    }
}
