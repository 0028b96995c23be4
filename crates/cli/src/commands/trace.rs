//! `sociable trace`.

mod document;
mod merge;
#[cfg(target_os = "linux")]
mod mount;
#[cfg(target_os = "linux")]
mod root;
#[cfg(target_os = "linux")]
mod run;
mod show;

use clap::{Args, Subcommand};
use sociable_oci::Access;

use crate::error::CliError;
use crate::progress::Shown;

/// Records what the start of a container reads
///
/// A trace lists files and the ranges of them that a start read, in the order of first access. It is what profile
/// policies work from.
#[derive(Debug, Args)]
#[command(after_help = "\
Without root: show and merge always; run in a user namespace of its own (unshare --map-root-user --mount sociable trace
run …); mount with fusermount3. run and mount are for Linux only.

Examples:
  sociable trace run -o trace.json ./rootfs -- python3 -c 'import numpy'
  sociable trace show trace.json")]
pub(crate) struct TraceCommand {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[cfg(target_os = "linux")]
    Run(run::Run),
    #[cfg(target_os = "linux")]
    Mount(mount::Mount),
    Show(show::Show),
    Merge(merge::Merge),
}

pub(crate) fn run(args: &TraceCommand, access: &Access, shown: &Shown) -> Result<(), CliError> {
    match &args.command {
        #[cfg(target_os = "linux")]
        Action::Run(args) => run::run(args, access, shown),
        #[cfg(target_os = "linux")]
        Action::Mount(args) => mount::run(args, access, shown),
        Action::Show(args) => show::run(args, shown),
        Action::Merge(args) => merge::run(args, shown),
    }
}
