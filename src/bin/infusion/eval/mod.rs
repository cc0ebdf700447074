//! `infusion eval`: the paper's metrics. One file a command; each has its arguments and a `run`.

mod clip;
mod dino;
mod draw;
mod fisher;
mod model;
mod pairs;
mod pictures;
mod report;
mod similarity;
mod state;
mod stop;
mod store;
mod wasserstein;

use anyhow::Result;
use clap::Subcommand;

/// The commands under `infusion eval`.
#[derive(Debug, Subcommand)]
pub enum Command {
    Fisher(Box<fisher::Arguments>),
    Wasserstein(Box<wasserstein::Arguments>),
    Clip(Box<clip::Arguments>),
    Dino(Box<dino::Arguments>),
    Report(Box<report::Arguments>),
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Fisher(arguments) => fisher::run(*arguments),
        Command::Wasserstein(arguments) => wasserstein::run(&arguments),
        Command::Clip(arguments) => clip::run(&arguments),
        Command::Dino(arguments) => dino::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
    }
}
