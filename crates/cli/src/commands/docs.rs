//! `sociable completions` and `sociable man`.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::CliError;
use crate::output;

/// Prints completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable completions bash > /etc/bash_completion.d/sociable
  sociable completions fish > ~/.config/fish/completions/sociable.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Writes man pages into a directory, one for each command
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sociable man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// The directory; it is made if need be
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn completions(args: &Completions) -> Result<(), CliError> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sociable", &mut out);
    output::print(&String::from_utf8_lossy(&out))
}

pub(crate) fn man(args: &Man) -> Result<(), CliError> {
    let place = args.directory.display();
    std::fs::create_dir_all(&args.directory).map_err(CliError::io("create", place))?;
    clap_mangen::generate_to(Cli::command(), &args.directory).map_err(CliError::io(
        "write man pages into",
        args.directory.display(),
    ))
}
