//! `sociable trace run`.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use clap::Args;
use sociable_oci::Access;
use sociable_trace::{Options, Workload};

use super::document::Output;
use super::root::{RootArgs, failed};
use crate::error::CliError;
use crate::progress::{self, Shown};

/// Runs a command in the root of an image and records what it reads of it
///
/// The root is served over FUSE, as soci-snapshotter serves layers, below an overlay that the command may write to; it
/// stays as it is. The network, /proc, /dev and /sys are this machine's. This is no sandbox.
///
/// Ctrl-C, SIGTERM and --stop-after end the recording, then the command (SIGTERM, after 10 seconds SIGKILL). The exit
/// code is the command's, or 0 if it was stopped.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs root, or a user namespace: unshare --map-root-user --mount sociable trace run …

Examples:
  sociable trace run -o trace.json ./rootfs -- python3 -c 'import numpy'
  sociable trace run -o trace.json --stop-after 20 -e PORT=8080 -w /srv ./rootfs -- ./server")]
pub(crate) struct Run {
    #[command(flatten)]
    root: RootArgs,
    /// The command, behind --
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<OsString>,
    /// Where the trace goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Environment of the command, beside PATH, HOME and TERM (repeat for more)
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Where the command starts
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// Who runs the command, by numbers
    #[arg(short, long, value_name = "UID[:GID]", value_parser = user)]
    user: Option<(u32, u32)>,
    /// Stop a command that does not end by itself
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    stop_after: Option<u32>,
}

pub(super) fn run(args: &Run, _access: &Access, shown: &Shown) -> Result<(), CliError> {
    let output = Output::open(&args.output)?;
    let root = args.root.open()?;
    let workload = Workload {
        command: args.command.clone(),
        env: (args.env.iter())
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        directory: args.workdir.clone().unwrap_or_default(),
        user: args.user,
    };
    let options = Options {
        read_ahead: args.root.read_ahead(),
        stop_after: args.stop_after.map(|s| Duration::from_secs(s.into())),
        grace: Duration::from_secs(10),
        interrupted: progress::interrupted,
    };
    shown.finish();
    let ended = progress::awaiting(|| sociable_trace::run(root, &workload, &options));
    let ended = ended.map_err(|e| failed(&e))?;
    output.write(&ended.trace, shown)?;
    if ended.stopped {
        return Ok(());
    }
    match code(ended.status) {
        0 => Ok(()),
        code => {
            shown.note(&format!("the command ended with {}", ended.status));
            Err(CliError::exit(code))
        }
    }
}

/// The exit code, as shells count signals.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it has the form NAME=VALUE".to_owned()),
    }
}

fn user(text: &str) -> Result<(u32, u32), String> {
    let (user, group) = text.split_once(':').unwrap_or((text, "0"));
    let number = |text: &str| {
        let number = text.parse::<u32>();
        number.map_err(|_| "it has the form UID or UID:GID, in numbers".to_owned())
    };
    Ok((number(user)?, number(group)?))
}
