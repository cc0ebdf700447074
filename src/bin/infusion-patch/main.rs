//! `infusion-patch`: rewrite an exported UNet into the graphs of both streams.

mod args;
mod bake;
mod check;
#[path = "../common/failure.rs"]
mod failure;
mod inspect;
mod patch;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    failure::exit_code(match (cli.command, cli.patch) {
        (Some(Command::Inspect(arguments)), _) => inspect::run(&arguments),
        (Some(Command::Check(arguments)), _) => check::run(&arguments),
        (None, arguments) => patch::run(&arguments),
    })
}
