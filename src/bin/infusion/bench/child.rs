//! One mode in a process of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use infusion::runtime::SessionOptions;
use serde::{Deserialize, Serialize};

use super::Arguments;
use super::graphs::Graphs;
use super::mode::Mode;
use super::system::{AnonymousPeak, processor_seconds, status};
use super::workload::Workload;

/// What one process measured of one mode.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Seconds until the first step can run.
    pub load_s: f64,
    /// Seconds of each timed step.
    pub steps_s: Vec<f64>,
    /// Processor seconds of each timed step, over all threads: what else the machine does hardly touches them.
    pub steps_cpu_s: Vec<f64>,
    /// Seconds from a concept file in memory to what is fed.
    pub swap_s: Option<f64>,
    /// The process's largest resident memory, mapped weights included.
    pub peak_bytes: u64,
    /// Anonymous memory once loaded, and at most.
    pub loaded_anonymous_bytes: u64,
    pub anonymous_bytes: u64,
}

/// Measures `mode` in this process and prints the result as a line of JSON.
pub fn run(arguments: &Arguments, mode: Mode, folder: &Path) -> Result<()> {
    arguments.runtime.load()?;
    let peak = AnonymousPeak::follow();
    let started = Instant::now();
    let low_memory = arguments.least_memory;
    let options = SessionOptions { low_memory, ..arguments.runtime.session_options() };
    let mut workload = Workload::load(mode, &arguments.model, folder, &options, arguments.size, arguments.batch)?;
    let load_s = started.elapsed().as_secs_f64();
    let loaded_anonymous_bytes = status("RssAnon");
    workload.step()?;
    let steps = if low_memory { 0 } else { arguments.steps };
    let mut timed = || {
        let (started, processor) = (Instant::now(), processor_seconds());
        workload.step()?;
        Ok::<_, anyhow::Error>((started.elapsed().as_secs_f64(), processor_seconds() - processor))
    };
    let (steps_s, steps_cpu_s) = (0..steps).map(|_| timed()).collect::<Result<_>>()?;
    let swap_s = workload.swap()?;
    let anonymous_bytes = peak.finish();
    let peak_bytes = status("VmHWM");
    let measured =
        Measured { load_s, steps_s, steps_cpu_s, swap_s, peak_bytes, loaded_anonymous_bytes, anonymous_bytes };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// Measures `mode` in a process of its own.
pub fn measure(arguments: &Arguments, mode: Mode, graphs: &Graphs, least_memory: bool) -> Result<Measured> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "--one", mode.name(), "--steps", &arguments.steps.to_string(), "--model"]);
    command.arg(graphs.source()).arg("--graphs").arg(graphs.folder());
    command.args(["--provider", &arguments.runtime.provider.to_string()]);
    for (option, number) in
        [("--size", arguments.size), ("--batch", Some(arguments.batch)), ("--threads", arguments.runtime.threads)]
    {
        command.args(number.iter().flat_map(|number| [option.to_owned(), number.to_string()]));
    }
    if let Some(library) = &arguments.runtime.onnxruntime {
        command.arg("--onnxruntime").arg(library);
    }
    match (arguments.runtime.no_cache || least_memory, &arguments.runtime.cache) {
        (true, _) => command.arg("--no-cache"),
        (false, Some(cache)) => command.arg("--cache").arg(cache),
        (false, None) => command.arg("--cache").arg(graphs.cache()),
    };
    if least_memory {
        command.arg("--least-memory");
    }
    let output = command.stderr(Stdio::inherit()).output().context("cannot start a process for the measurement")?;
    ensure!(output.status.success(), "mode {}: {}", mode.name(), output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("mode {}: no figures came back", mode.name()))
}
