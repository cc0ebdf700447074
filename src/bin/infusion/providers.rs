//! `infusion providers`: what this machine and its ONNX Runtime can run on.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use infusion::runtime::{ProviderKind, ProviderSpec, Session, SessionOptions, providers};

use crate::runtime_args::RuntimeArgs;

/// List the execution providers, their options, and which of them works here
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Load this model on the provider and tell which nodes run where
    #[arg(long, value_name = "MODEL")]
    check: Option<PathBuf>,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let library = arguments.runtime.load()?;
    if let Some(model) = &arguments.check {
        let options = SessionOptions { cache: None, ..arguments.runtime.session_options() };
        let session = Session::open(model, &options)?;
        println!("{}: provider {}", model.display(), session.provider());
        match session.assignment() {
            Some(assignment) => {
                println!("{assignment}");
                let on_cpu: Vec<String> =
                    assignment.on_cpu.iter().map(|(operator, count)| format!("{count} {operator}")).collect();
                if session.provider().kind != ProviderKind::Cpu && !on_cpu.is_empty() {
                    println!("on the CPU: {}", on_cpu.join(", "));
                }
            }
            None => println!("ONNX Runtime {} does not tell which nodes run where; 1.24 and newer do", library.version),
        }
        return Ok(());
    }
    let path = library.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    println!("ONNX Runtime {} from {} ({path})", library.version, library.place);
    if let Some(threads) = library.threads {
        println!("{threads} threads, shared by all models");
    }
    let present: Vec<ProviderKind> = providers::available()?.iter().map(|provider| provider.kind).collect();
    for provider in &providers::REGISTRY {
        let built_in = if present.contains(&provider.kind) { "built in" } else { "not built in" };
        println!("\n{} ({built_in}): {}", provider.name, provider.about);
        for option in provider.options {
            println!("  {}={}: {}", option.name, option.kind.expected(), option.help);
        }
    }
    let choice = providers::choose(&ProviderSpec::new(ProviderKind::Auto))?;
    println!("\nauto takes {}: {}", choice.spec, choice.reason);
    Ok(())
}
