//! `sociable trace run`.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use clap::Args;
use sociable_oci::Access;
use sociable_oci::document::RunConfig;
use sociable_trace::{Options, Root, Workload};

use super::document::Output;
use super::root::{Opened, RootArgs, failed};
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
  sociable trace run -o trace.json --stop-after 20 -e PORT=8080 oci:app")]
pub(crate) struct Run {
    #[command(flatten)]
    root: RootArgs,
    /// The command, behind --. For an image: in place of its Cmd, behind its entry point
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<OsString>,
    /// A program in place of the image's entry point and Cmd
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<OsString>,
    /// Where the trace goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Environment of the command, beside PATH, HOME and TERM (repeat for more)
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Where the command starts
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// Who runs the command, by names of the root's or by numbers
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Stop a command that does not end by itself
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    stop_after: Option<u32>,
}

pub(super) fn run(args: &Run, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let output = Output::open(&args.output)?;
    let Opened { root, config } = args.root.open(access)?;
    let workload = workload(args, &*root, config)?;
    let options = Options {
        read_ahead: args.root.read_ahead(),
        stop_after: args.stop_after.map(|s| Duration::from_secs(s.into())),
        grace: Duration::from_secs(10),
        interrupted: progress::interrupted,
    };
    shown.finish();
    let ended = progress::awaiting(|| sociable_trace::run(root, &workload, &options));
    let ended = ended.map_err(failed)?;
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

/// What is run: as the image has it, where nothing else is said.
fn workload(args: &Run, root: &dyn Root, image: RunConfig) -> Result<Workload, CliError> {
    let owned = |words: Vec<String>| words.into_iter().map(OsString::from);
    let mut command: Vec<OsString> = match &args.entrypoint {
        Some(program) => vec![program.clone()],
        None => owned(image.entrypoint).collect(),
    };
    if !args.command.is_empty() {
        command.extend(args.command.iter().cloned());
    } else if args.entrypoint.is_none() {
        command.extend(owned(image.cmd));
    }
    if command.is_empty() {
        return Err(CliError::usage("there is no command to run").hint(
            "put it behind --: sociable trace run -o trace.json ./rootfs -- python3 app.py",
        ));
    }
    let env = image.env.iter().filter_map(|each| variable(each).ok());
    let user = args.user.as_ref().unwrap_or(&image.user);
    Ok(Workload {
        command,
        env: env
            .chain(args.env.iter().cloned())
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        directory: (args.workdir.clone()).unwrap_or_else(|| image.working_dir.into()),
        user: match &user[..] {
            "" => None,
            user => Some(sociable_trace::user(root, user).map_err(failed)?),
        },
    })
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
