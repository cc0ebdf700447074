//! `infusion completions` and `infusion man`: files for shells and for `man`.

use std::io::{Write as _, stdout};

use anyhow::Result;
use clap::Args;
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Clone, Debug, Args)]
pub struct Completions {
    /// bash, elvish, fish, powershell or zsh
    shell: Shell,
}

/// Print the manual page, in roff
#[derive(Clone, Debug, Args)]
pub struct Man {
    /// The command whose page is wanted [default: the program's]
    command: Option<String>,
}

pub fn completions(arguments: &Completions, mut program: clap::Command) {
    clap_complete::generate(arguments.shell, &mut program, "infusion", &mut stdout());
}

pub fn man(arguments: &Man, program: clap::Command) -> Result<()> {
    let page = match &arguments.command {
        None => program,
        Some(name) => match program.find_subcommand(name) {
            Some(command) => command.clone(),
            None => anyhow::bail!("there is no command '{name}'"),
        },
    };
    let mut bytes = Vec::new();
    clap_mangen::Man::new(page).render(&mut bytes)?;
    Ok(stdout().write_all(&bytes)?)
}
