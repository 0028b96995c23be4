//! `sociable trace mount`.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use sociable_oci::Access;
use sociable_trace::Mounted;

use super::document::Output;
use super::root::{RootArgs, failed};
use crate::error::CliError;
use crate::progress::{self, Shown};

/// Mounts the root of an image, read-only, and records what anybody reads of it
///
/// For container engines that take a root: ctr run --rootfs, runc. Where the command writes, put an overlay on the mount.
/// Ends, and writes the trace, when it is unmounted or interrupted.
#[derive(Debug, Args)]
#[command(after_help = "\
Without root this needs fusermount3, and only you see the files.

Examples:
  sociable trace mount -o trace.json ./rootfs /mnt &
  ctr run --rm --rootfs /mnt first python3 -c 'import numpy'
  umount /mnt")]
pub(crate) struct Mount {
    #[command(flatten)]
    root: RootArgs,
    /// An empty directory
    #[arg(value_name = "MOUNTPOINT")]
    on: PathBuf,
    /// Where the trace goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What the trace says was run
    #[arg(long, value_name = "TEXT")]
    workload: Option<String>,
}

pub(super) fn run(args: &Mount, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let output = Output::open(&args.output)?;
    let mounted = Mounted::new(
        args.root.open(access)?.root,
        &args.on,
        args.root.read_ahead(),
    );
    let mounted = mounted.map_err(failed)?;
    if !shown.quiet {
        shown.line(&format!(
            "{} is mounted on {}; unmount it, or press Ctrl-C, to end the recording",
            args.root.name(),
            args.on.display()
        ));
    }
    while !mounted.is_over() && !progress::interrupted() {
        thread::sleep(Duration::from_millis(20));
    }
    let trace = mounted.finish(args.workload.clone());
    output.write(&trace, shown)
}
