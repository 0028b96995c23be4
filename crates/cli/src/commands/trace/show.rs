//! `sociable trace show`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use sociable_policy::{Trace, TracedFile};

use super::document;
use crate::error::CliError;
use crate::progress::Shown;
use crate::{output, text};

/// Lists what a trace holds: files in the order of first access, and how much of each was read
///
/// With -v, the ranges too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable trace show trace.json
  sociable trace show --json trace.json")]
pub(crate) struct Show {
    /// The trace; - for standard input
    #[arg(value_name = "FILE")]
    trace: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON: the trace, with sums.
#[derive(Serialize)]
struct Report<'a> {
    workloads: &'a [String],
    files: Vec<Line<'a>>,
    bytes_read: u64,
    bytes_of_files: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    size: u64,
    bytes_read: u64,
    ranges: &'a [(u64, u64)],
}

pub(super) fn run(args: &Show, shown: &Shown) -> Result<(), CliError> {
    let trace = document::read(&args.trace)?;
    if args.json {
        return output::print_json(&report(&trace));
    }
    output::print(&table(&trace, shown.verbose))
}

fn report(trace: &Trace) -> Report<'_> {
    let files = trace.files.iter().map(|file| Line {
        path: &file.path,
        size: file.size,
        bytes_read: read(file),
        ranges: &file.ranges,
    });
    Report {
        workloads: &trace.workloads,
        files: files.collect(),
        bytes_read: trace.bytes(),
        bytes_of_files: trace.files.iter().map(|file| file.size).sum(),
    }
}

fn table(trace: &Trace, ranges: bool) -> String {
    let mut out = String::new();
    for workload in &trace.workloads {
        let _ = writeln!(out, "{}", text::name(workload.as_bytes()));
    }
    let _ = writeln!(
        out,
        "{:>5} {:>9} {:>9} {:>7}  ranges  file",
        "#", "read", "size", ""
    );
    for (number, file) in (1..).zip(&trace.files) {
        let _ = writeln!(
            out,
            "{number:>5} {:>9} {:>9} {:>7}  {:>6}  {}",
            text::size(read(file)),
            text::size(file.size),
            text::percent(read(file), file.size),
            file.ranges.len(),
            text::name(file.path.as_bytes())
        );
        for (offset, length) in file.ranges.iter().filter(|_| ranges) {
            let _ = writeln!(out, "{:>50} {length} at {offset}", "");
        }
    }
    let _ = writeln!(out, "{}", document::summary(trace));
    out
}

fn read(file: &TracedFile) -> u64 {
    file.ranges.iter().map(|(_, length)| length).sum()
}
