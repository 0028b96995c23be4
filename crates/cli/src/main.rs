//! `sociable`: arguments in, reports out. What is done is done in the libraries.
//!
//! | to change | look in |
//! |---|---|
//! | an option, its name or its help | [`args`] and the command's own module |
//! | what a command prints | `commands/` |
//! | memory | [`heap`] |
//! | bars and lines while it works | [`progress`] |
//! | how an error reads, its hint, its exit code | [`error`], [`registry_hint`] |

mod args;
mod commands;
mod error;
mod heap;
mod output;
mod progress;
mod registry_hint;
mod text;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Cli, Command};
use crate::progress::Shown;

fn main() -> ExitCode {
    heap::settle();
    let cli = Cli::parse();
    let shown = Shown::start(&cli.output);
    let access = cli.access.access();
    let result = match cli.command {
        Command::Convert(command) => commands::make::run_convert(&command, &access, &shown),
        Command::Create(command) => commands::make::run_create(&command, &access, &shown),
        Command::Copy(command) => commands::copy::run_copy(&command, &access, &shown),
        Command::Pull(command) => commands::copy::run_pull(&command, &access, &shown),
        Command::Push(command) => commands::copy::run_push(&command, &access, &shown),
        Command::Rm(command) => commands::rm::run(&command, &access, &shown),
        Command::Pack(command) => commands::pack::run(&command, &access, &shown),
        Command::Inspect(command) => commands::inspect::run(&command, &access, &shown),
        Command::Verify(command) => commands::verify::run(&command, &access, &shown),
        Command::Ls(command) => commands::ls::run(&command, &access, &shown),
        Command::Cat(command) => commands::cat::run(&command, &access, &shown),
        Command::Ztoc(command) => commands::ztoc::run(&command, &shown),
        Command::Cache(command) => commands::cache::run(&command, &shown),
        Command::Completions(command) => commands::docs::completions(&command),
        Command::Man(command) => commands::docs::man(&command),
    };
    shown.finish();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
