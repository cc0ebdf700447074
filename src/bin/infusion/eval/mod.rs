//! `infusion eval`: the paper's metrics. One file a command; each has its arguments and a `run`.

mod wasserstein;

use anyhow::Result;
use clap::Subcommand;

/// The commands under `infusion eval`.
#[derive(Debug, Subcommand)]
pub enum Command {
    Wasserstein(wasserstein::Arguments),
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Wasserstein(arguments) => wasserstein::run(arguments),
    }
}
