use super::{EmitOptions, FindOptions, Survey, Variant, emit, find};
use crate::dialects::{self, Dialect};
use crate::onnx::infer::infer;
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
