//! `infusion bench`: what a guided step costs, in time and memory, by every way of computing it.
//!
//! Each way runs in a process of its own, so that loads are real and peaks are its own; the ways take turns
//! for several rounds, so that what else the machine does touches all alike. Random numbers are fed: time
//! and memory do not depend on them.

mod child;
mod graphs;
mod mode;
mod report;
mod system;
mod workload;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use infusion::pipeline::Folder;
use infusion::runtime::providers;

use crate::interrupt;
use crate::runtime_args::RuntimeArgs;
use graphs::Graphs;
use mode::Mode;
use report::Report;

/// Measure a guided step: source, f+c, dual, shared, the source twice; or a step of learning; time, loads, memory
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Folder of the pipeline in ONNX, or its UNet's .onnx file
    #[arg(short, long, value_name = "MODEL")]
    model: PathBuf,
    /// What to measure [default: every way of a guided step that the model allows]
    #[arg(long, value_name = "MODE", value_delimiter = ',', value_enum)]
    modes: Vec<Mode>,
    /// Height and width of the latents, an eighth of the picture's pixels [default: the model's own, or 64]
    #[arg(long, value_name = "LATENTS")]
    size: Option<usize>,
    /// Pictures in a step: each has two rows under guidance, and one in a step of learning
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,
    /// Rounds in which the modes take turns; the first one loads cold, the others from the cache
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Timed steps a round, after one that is not timed
    #[arg(long, value_name = "N", default_value_t = 3)]
    steps: usize,
    /// Fuse attention, so that probabilities are never written (as `infusion-patch --fuse`)
    #[arg(long)]
    fuse: bool,
    /// Leave out the further runs that find the least memory each mode needs
    #[arg(long)]
    no_least_memory: bool,
    /// Print the figures as JSON, in seconds and bytes
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// One mode in this process, on these graphs
    #[arg(long, hide = true, value_name = "MODE", requires = "graphs")]
    one: Option<Mode>,
    #[arg(long, hide = true, value_name = "DIR")]
    graphs: Option<PathBuf>,
    #[arg(long, hide = true)]
    least_memory: bool,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if let (Some(mode), Some(folder)) = (arguments.one, &arguments.graphs) {
        return child::run(arguments, mode, folder);
    }
    ensure!(arguments.rounds > 0 && arguments.steps > 0, "--rounds and --steps: at least one is needed");
    ensure!(arguments.batch > 0, "--batch: at least one picture is needed");
    interrupt::listen();
    let unet = match arguments.model.is_dir() {
        true => Folder::find(&arguments.model)?.unet,
        false => arguments.model.clone(),
    };
    arguments.runtime.load()?;
    let provider = providers::choose(&arguments.runtime.provider)?.spec;
    let started = Instant::now();
    let mut modes = match arguments.modes.is_empty() {
        true => Mode::GUIDED.to_vec(),
        false => arguments.modes.clone(),
    };
    modes.sort_unstable();
    modes.dedup();
    let graphs = Graphs::make(&unet, &modes, arguments.fuse, provider.keeps_defaults())?;
    let patch_s = started.elapsed().as_secs_f64();
    modes.retain(|mode| graphs.allow(*mode));
    ensure!(!modes.is_empty(), "--modes: this model's graphs allow none of them");
    let mut report = Report::new(&unet, arguments, patch_s);
    for round in 0..arguments.rounds {
        for &mode in &modes {
            report.tell(&format!("round {} of {}: {}", round + 1, arguments.rounds, mode.name()));
            report.add(mode, child::measure(arguments, mode, &graphs, false)?);
            ensure!(!interrupt::requested(), "interrupted; nothing is kept");
        }
    }
    for &mode in modes.iter().filter(|_| !arguments.no_least_memory) {
        report.tell(&format!("least memory: {}", mode.name()));
        report.add_least_memory(mode, child::measure(arguments, mode, &graphs, true)?);
        ensure!(!interrupt::requested(), "interrupted; nothing is kept");
    }
    report.print()
}
