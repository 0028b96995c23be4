//! `sociable trace serve`.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use clap::Args;
use sociable_oci::Access;
use sociable_trace::{Places, Registry};

use super::document::Output;
use super::image::{ImageArgs, failed};
use crate::error::CliError;
use crate::progress::{self, Shown};

/// Serves one image as a registry, for a lazy start of it, and records what soci-snapshotter fetches
///
/// Whatever repository and tag is asked for, it is this image. Nothing can be written to it. Ends, and writes the trace,
/// when it is interrupted; end it before soci-snapshotter's background fetch begins (30 seconds after the start).
///
/// soci-snapshotter fetches whole spans, and each once: start a container on a node that does not have the image. Files that
/// only share a span with what was read are in the trace, too.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs no rights here; the start of a container needs its own.

Examples:
  sociable trace serve oci:app -o trace.json &
  ctr images pull --plain-http --snapshotter soci 127.0.0.1:5050/app:1
  ctr run --rm --snapshotter soci 127.0.0.1:5050/app:1 first python3 -c 'import numpy'
  kill %1")]
pub(crate) struct Serve {
    #[command(flatten)]
    image: ImageArgs,
    /// Where to listen, over plain HTTP
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5050")]
    listen: SocketAddr,
    /// Where the trace goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What the trace says was run
    #[arg(long, value_name = "TEXT")]
    workload: Option<String>,
}

pub(super) fn run(args: &Serve, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let output = Output::open(&args.output)?;
    let (opened, of) = args.image.open(access)?;
    let places = Places::open(&*opened.source, &opened.image, &of).map_err(failed)?;
    let registry = Registry::open(opened.source, &opened.image, &of).map_err(failed)?;
    let listener =
        TcpListener::bind(args.listen).map_err(CliError::io("listen on", args.listen))?;
    let address = listener.local_addr().unwrap_or(args.listen);
    shown.finish();
    if !shown.quiet {
        shown.line(&format!(
            "listening on {address}; press Ctrl-C to end the recording"
        ));
    }
    let requests = registry
        .serve(listener, progress::interrupted)
        .map_err(failed)?;
    let trace = places.trace(&requests, args.workload.clone());
    output.write(&trace, shown)
}
