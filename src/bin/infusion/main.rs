//! `infusion`: generate, learn and measure personalised pictures.

mod bench;
mod concept;
mod eval;
#[path = "../common/failure.rs"]
mod failure;
mod generate;
mod inspect;
mod interrupt;
mod providers;
mod runtime_args;
mod shell;
mod train;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Personalised pictures from Stable Diffusion ONNX pipelines
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Generate(Box<generate::Arguments>),
    Train(Box<train::Arguments>),
    /// Look at concept files, convert, merge and export them
    #[command(subcommand)]
    Concept(concept::Command),
    /// Measure what a concept broke and how faithful it is
    #[command(subcommand)]
    Eval(eval::Command),
    Bench(Box<bench::Arguments>),
    Inspect(inspect::Arguments),
    Providers(providers::Arguments),
    Completions(shell::Completions),
    Man(shell::Man),
}

fn main() -> ExitCode {
    failure::exit_code(run(Cli::parse().command))
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Concept(command) => concept::run(command),
        Command::Eval(command) => eval::run(command),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Providers(arguments) => providers::run(&arguments),
        Command::Completions(arguments) => {
            shell::completions(&arguments, Cli::command());
            Ok(())
        }
        Command::Man(arguments) => shell::man(&arguments, Cli::command()),
    }
}
