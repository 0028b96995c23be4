//! `sociable trace from-requests`.

use std::path::PathBuf;

use clap::Args;
use sociable_oci::Access;
use sociable_trace::{Places, parse_log};

use super::document::{self, Output};
use super::image::{ImageArgs, failed};
use crate::error::CliError;
use crate::progress::Shown;

/// Makes a trace of the range requests in a log: of a registry, or of a proxy before one
///
/// Lines with /blobs/DIGEST and bytes=FIRST-LAST count, in whatever form; the log must be of one start, without
/// soci-snapshotter's background fetch. Registries log no ranges; a proxy can be told to.
///
/// soci-snapshotter fetches whole spans. Files that only share a span with what was read are in the trace, too.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs no rights.

Examples:
  sociable trace from-requests docker://registry.example/app:1-soci access.log -o trace.json
  sociable trace from-requests oci:app - -o trace.json < access.log")]
pub(crate) struct FromRequests {
    #[command(flatten)]
    image: ImageArgs,
    /// The log; - for standard input
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// Where the trace goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What the trace says was run
    #[arg(long, value_name = "TEXT")]
    workload: Option<String>,
}

pub(super) fn run(args: &FromRequests, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let output = Output::open(&args.output)?;
    let log = document::read_bytes(&args.log)?;
    let requests = parse_log(&String::from_utf8_lossy(&log));
    let (opened, of) = args.image.open(access)?;
    let places = Places::open(&*opened.source, &opened.image, &of).map_err(failed)?;
    let trace = places.trace(&requests, args.workload.clone());
    shown.finish();
    if trace.files.is_empty() {
        return Err(CliError::failed(format!(
            "{}: {} requests for ranges of blobs, and none for a span of this image",
            args.log.display(),
            requests.len()
        ))
        .hint("a line must hold /blobs/DIGEST and bytes=FIRST-LAST; many access logs leave ranges out"));
    }
    output.write(&trace, shown)
}
