//! `sociable trace`.

pub(super) mod document;
mod from_requests;
mod image;
mod merge;
#[cfg(target_os = "linux")]
mod mount;
#[cfg(target_os = "linux")]
mod root;
#[cfg(target_os = "linux")]
mod run;
mod serve;
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
Two ways to record:
  run, mount             exact: files over FUSE, each read noted (Linux only)
  serve, from-requests   coarse: what a real lazy start fetched, span by span

Without root: all but run and mount; run in a user namespace of its own (unshare --map-root-user --mount sociable trace
run …); mount with fusermount3.

Examples:
  sociable trace run -o trace.json ./rootfs -- python3 -c 'import numpy'
  sociable trace run -o trace.json --stop-after 20 docker-daemon:app
  sociable trace serve oci:app -o trace.json
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
    Serve(serve::Serve),
    FromRequests(from_requests::FromRequests),
    Show(show::Show),
    Merge(merge::Merge),
}

pub(crate) fn run(args: &TraceCommand, access: &Access, shown: &Shown) -> Result<(), CliError> {
    match &args.command {
        #[cfg(target_os = "linux")]
        Action::Run(args) => run::run(args, access, shown),
        #[cfg(target_os = "linux")]
        Action::Mount(args) => mount::run(args, access, shown),
        Action::Serve(args) => serve::run(args, access, shown),
        Action::FromRequests(args) => from_requests::run(args, access, shown),
        Action::Show(args) => show::run(args, shown),
        Action::Merge(args) => merge::run(args, shown),
    }
}
