//! `infusion providers`: what this machine and its ONNX Runtime can run on.

mod check;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use infusion::runtime::{LibraryInfo, ProviderKind, ProviderSpec, providers};
use serde_json::{Value, json};

use crate::runtime_args::RuntimeArgs;

/// List the execution providers, their options, and which of them works here; or check one
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Run a model on the provider and on the CPU, compare what they compute, and tell which nodes ran
    /// where: the folder of a pipeline, a UNet's .onnx file, or any other. Fails where they disagree
    #[arg(long, value_name = "MODEL")]
    check: Option<PathBuf>,
    /// Height and width of the latents that --check feeds, an eighth of the picture's pixels [default: the
    /// model's own, or 64]
    #[arg(long, value_name = "LATENTS", requires = "check")]
    size: Option<usize>,
    /// With --check of a pipeline: also make N steps of DDIM with a concept, in every way of computing the
    /// streams, and compare the latents [default: none]
    #[arg(long, value_name = "N", requires = "check")]
    steps: Option<usize>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let library = arguments.runtime.load()?;
    match &arguments.check {
        Some(model) => check::run(arguments, model, library),
        None => list(arguments, library),
    }
}

fn list(arguments: &Arguments, library: &LibraryInfo) -> Result<()> {
    let present: Vec<ProviderKind> = providers::available()?.iter().map(|provider| provider.kind).collect();
    let choice = providers::choose(&ProviderSpec::new(ProviderKind::Auto))?;
    if arguments.json {
        let all = providers::REGISTRY.iter().map(|provider| {
            let options = provider.options.iter();
            let options = options.map(|it| json!({"name": it.name, "takes": it.kind.expected(), "help": it.help}));
            json!({
                "name": provider.name, "about": provider.about, "built_in": present.contains(&provider.kind),
                "needs": provider.needs, "options": options.collect::<Vec<_>>(),
            })
        });
        let all = json!({
            "onnxruntime": library_facts(library), "providers": all.collect::<Vec<_>>(),
            "auto": {"takes": choice.spec.to_string(), "because": choice.reason},
        });
        println!("{all:#}");
        return Ok(());
    }
    let path = library.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    println!("ONNX Runtime {} from {} ({path})", library.version, library.place);
    if let Some(threads) = library.threads {
        println!("{threads} threads, shared by all models");
    }
    for provider in &providers::REGISTRY {
        let built_in = if present.contains(&provider.kind) { "built in" } else { "not built in" };
        println!("\n{} ({built_in}): {}", provider.name, provider.about);
        for option in provider.options {
            println!("  {}={}: {}", option.name, option.kind.expected(), option.help);
        }
    }
    println!("\nauto takes {}: {}", choice.spec, choice.reason);
    Ok(())
}

fn library_facts(library: &LibraryInfo) -> Value {
    json!({"version": library.version, "path": library.path, "found": library.place})
}
