use anyhow::Result;
use infusion::onnx::Model;
use infusion::onnx::infer::infer;
use infusion::patch::{CrossAttention, FindOptions, Survey, base_model_hash, find};
use serde_json::{Value, json};

use crate::args::InspectArguments;

pub fn run(arguments: &InspectArguments) -> Result<()> {
    let model = Model::open(&arguments.model)?;
    let survey = find(&model, &infer(&model), &FindOptions::from(&arguments.find))?;
    let hash = base_model_hash(&model, &survey)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report(&model, &survey, hash.as_deref()))?);
    } else {
        print(&model, &survey, hash.as_deref());
    }
    Ok(())
}

fn report(model: &Model, survey: &Survey, hash: Option<&str>) -> Value {
    let layer = |layer: &CrossAttention| {
        json!({
            "index": layer.index,
            "module_path": layer.module_path,
            "dialect": layer.dialect,
            "heads": layer.heads,
            "width": layer.width,
            "positions": positions(layer),
            "probs": layer.probs_layout(),
        })
    };
    json!({
        "model": model.path().map(|path| path.display().to_string()),
        "producer": model.header().producer_name(),
        "opset": model.opset(""),
        "nodes": model.graph.node_count(),
        "context": survey.context_input,
        "float_type": survey.float_type.as_str_name().to_lowercase(),
        "base_model_hash": hash,
        "cross_attention": survey.layers.iter().map(layer).collect::<Vec<_>>(),
        "self_attention": survey.self_attention.len(),
        "not_taken": survey.near_misses,
    })
}

fn print(model: &Model, survey: &Survey, hash: Option<&str>) {
    let header = model.header();
    let opset = model.opset("").map_or_else(|| "none".to_owned(), |version| version.to_string());
    println!(
        "{} nodes, opset {opset}, by {} {}",
        model.graph.node_count(),
        header.producer_name(),
        header.producer_version()
    );
    println!("context: {}", survey.context_input);
    println!("base model: {}", hash.unwrap_or("unknown, the value weights cannot be read"));
    println!("{} cross-attention layers to patch:", survey.layers.len());
    for layer in &survey.layers {
        println!(
            "  {:2}  {}  {} heads, width {}, {} positions, {} as {}",
            layer.index,
            layer.module_path,
            layer.heads,
            layer.width,
            positions(layer),
            layer.dialect,
            layer.probs_layout()
        );
    }
    println!("{} self-attention layers, left as they are", survey.self_attention.len());
    for miss in &survey.near_misses {
        println!("not taken: {}: {}", miss.node, miss.reason);
    }
}

fn positions(layer: &CrossAttention) -> String {
    layer.attention.sizes.query.to_string()
}
