//! `infusion-patch`: rewrite an exported UNet into the graphs of both streams.

mod args;
mod bake;
mod check;
mod inspect;
mod patch;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (cli.command, cli.patch) {
        (Some(Command::Inspect(arguments)), _) => inspect::run(&arguments),
        (Some(Command::Check(arguments)), _) => check::run(&arguments),
        (None, arguments) => patch::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
