//! `sociable trace merge`.

use std::path::PathBuf;

use clap::Args;
use sociable_policy::Trace;

use super::document::{self, Output};
use crate::error::CliError;
use crate::progress::Shown;

/// Makes one trace of several: what any of them read
///
/// Files come in the order of the first trace, then those that only later ones read. Of a file whose size differs, the
/// first trace's ranges count.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable trace merge import.json serve.json -o trace.json")]
pub(crate) struct Merge {
    /// Traces; - for standard input
    #[arg(required = true, value_name = "FILE")]
    traces: Vec<PathBuf>,
    /// Where the trace goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(super) fn run(args: &Merge, shown: &Shown) -> Result<(), CliError> {
    let traces = args.traces.iter().map(|path| document::read(path));
    let traces: Vec<_> = traces.collect::<Result<_, _>>()?;
    Output::open(&args.output)?.write(&Trace::merge(traces), shown)
}
