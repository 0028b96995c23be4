//! `sociable`: arguments in, reports out. What is done is done in the libraries.
//!
//! | to change | look in |
//! |---|---|
//! | an option, its name or its help | [`args`] and the command's own module |
//! | what a command prints | `commands/` |
//! | `docker buildx build` with an index | [`build`] |
//! | `docker sociable` | [`plugin`] |
//! | memory | [`heap`] |
//! | bars and lines while it works | [`progress`] |
//! | how an error reads, its hint, its exit code | [`error`], [`registry_hint`] |

mod args;
mod build;
mod commands;
mod error;
mod heap;
mod output;
mod plugin;
mod policy;
mod progress;
mod registry_hint;
mod text;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command};
use crate::progress::Shown;

fn main() -> ExitCode {
    heap::settle();
    let called = match plugin::Called::with(std::env::args_os().collect()) {
        Ok(called) => called,
        Err(ended) => return ended,
    };
    let cli = Cli::parse_from(build::sort::sorted(called.words, Cli::command()));
    let shown = Shown::start(&cli.output, !matches!(cli.command, Command::Build(_)));
    let mut access = cli.access.access();
    if access.registry.authfile.is_none() {
        access.registry.authfile.clone_from(&called.docker.config);
    }
    let result = match cli.command {
        Command::Convert(command) => commands::make::run_convert(&command, &access, &shown),
        Command::Create(command) => commands::make::run_create(&command, &access, &shown),
        Command::Copy(command) => commands::copy::run_copy(&command, &access, &shown),
        Command::Pull(command) => commands::copy::run_pull(&command, &access, &shown),
        Command::Push(command) => commands::copy::run_push(&command, &access, &shown),
        Command::Rm(command) => commands::rm::run(&command, &access, &shown),
        Command::Pack(command) => commands::pack::run(&command, &access, &shown),
        Command::Build(command) => commands::build::run(&command, &access, &shown, &called.docker),
        Command::Inspect(command) => commands::inspect::run(&command, &access, &shown),
        Command::Verify(command) => commands::verify::run(&command, &access, &shown),
        Command::Ls(command) => commands::ls::run(&command, &access, &shown),
        Command::Cat(command) => commands::cat::run(&command, &access, &shown),
        Command::Ztoc(command) => commands::ztoc::run(&command, &access, &shown),
        Command::Policy(command) => commands::policy::run(&command, &access, &shown),
        Command::Trace(command) => commands::trace::run(&command, &access, &shown),
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
