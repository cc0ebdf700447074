//! `infusion providers --check`: the provider held against the CPU.

use std::path::Path;

use anyhow::{Result, ensure};
use infusion::pipeline::{CheckOptions, Checked, Compared, check_provider};
use infusion::runtime::{Assignment, LibraryInfo, SessionOptions, providers};
use serde_json::{Value, json};

use super::{Arguments, library_facts};

/// The minor version of ONNX Runtime that began to tell which nodes run where.
const TELLS_NODES: u32 = 24;

pub fn run(arguments: &Arguments, model: &Path, library: &LibraryInfo) -> Result<()> {
    let session = arguments.runtime.session_options();
    let graph_folder = session.cache.as_ref().map(|cache| cache.join("graphs"));
    let provider = providers::choose(&session.provider)?.spec;
    // Optimised models would be made for one run and kept; engines are worth keeping.
    let session = if !provider.keeps_defaults() { session } else { SessionOptions { cache: None, ..session } };
    let options = CheckOptions { session, latents: arguments.size, graph_folder, steps: arguments.steps.unwrap_or(0) };
    if !arguments.json {
        println!("{}: provider {provider} against the CPU, ONNX Runtime {}", model.display(), library.version);
        if library.minor_version() < TELLS_NODES {
            println!("this ONNX Runtime does not tell which nodes run where; 1.{TELLS_NODES} and newer do");
        }
    }
    let checked = check_provider(model, &options, &mut |checked| {
        if !arguments.json {
            print(checked);
        }
    })?;
    if arguments.json {
        let all = json!({
            "model": model, "provider": provider.to_string(), "onnxruntime": library_facts(library),
            "passed": checked.iter().all(Checked::passed), "graphs": checked.iter().map(facts).collect::<Vec<_>>(),
        });
        println!("{all:#}");
    }
    let failed: Vec<&str> = checked.iter().filter(|it| !it.passed()).map(|it| it.name.as_str()).collect();
    ensure!(failed.is_empty(), "provider {provider} does not agree with the CPU in {}", failed.join(", "));
    Ok(())
}

fn print(checked: &Checked) {
    match &checked.outcome {
        Ok(compared) => {
            let verdict = if checked.passed() { "" } else { "  TOO MUCH" };
            let Compared { difference, tolerance, load_s, first_run_s, run_s, .. } = compared;
            println!(
                "{}: {difference:.1e} from the CPU (tolerance {tolerance:.0e}){verdict}; loaded in {load_s:.2} s, first run \
                 {first_run_s:.3} s, then {run_s:.3} s",
                checked.name
            );
            if let Some(assignment) = &compared.assignment {
                println!("  {}", nodes(assignment));
            }
            if let Some(maps) = compared.maps {
                let place = if maps.on_host { "the host's memory" } else { "the device's memory" };
                println!("  {:.1} MB of maps wait in {place}", maps.bytes as f64 / 1e6);
            }
        }
        Err(reason) => println!("{}: FAILED: {reason}", checked.name),
    }
}

/// Which nodes ran where.
fn nodes(assignment: &Assignment) -> String {
    let elsewhere = assignment.nodes.keys().any(|provider| provider != "CPUExecutionProvider");
    let operators: Vec<String> =
        assignment.on_cpu.iter().map(|(operator, count)| format!("{count} {operator}")).collect();
    match elsewhere && !operators.is_empty() {
        true => format!("{assignment}; on the CPU: {}", operators.join(", ")),
        false => assignment.to_string(),
    }
}

/// Numbers by name; null where nobody knows.
fn counts<'a>(counts: Option<impl IntoIterator<Item = (&'a String, &'a usize)>>) -> Value {
    let counts = counts.map(|counts| counts.into_iter().map(|(name, count)| (name.clone(), json!(count))));
    counts.map_or(Value::Null, |counts| Value::Object(counts.collect()))
}

fn facts(checked: &Checked) -> Value {
    let mut facts = json!({"name": checked.name, "file": checked.file, "passed": checked.passed()});
    match &checked.outcome {
        Ok(compared) => {
            facts["difference"] = json!(compared.difference);
            facts["tolerance"] = json!(compared.tolerance);
            facts["load_s"] = json!(compared.load_s);
            facts["first_run_s"] = json!(compared.first_run_s);
            facts["run_s"] = json!(compared.run_s);
            facts["map_bytes"] = json!(compared.maps.map(|maps| maps.bytes));
            facts["maps_on_host"] = json!(compared.maps.map(|maps| maps.on_host));
            facts["nodes"] = counts(compared.assignment.as_ref().map(|it| &it.nodes));
            facts["on_cpu"] = counts(compared.assignment.as_ref().map(|it| &it.on_cpu));
        }
        Err(reason) => facts["error"] = json!(reason),
    }
    facts
}
