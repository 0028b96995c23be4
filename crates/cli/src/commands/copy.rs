//! `sociable copy`, `pull` and `push`: an image as it is, with its indexes.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;
use sociable_oci::{Access, Platform, Transport};
use sociable_soci::copy::{self, Options, Report};

use crate::args::{DESTINATION_HELP, IMAGE_HELP, is_stream};
use crate::commands::opened::{self, create};
use crate::error::CliError;
use crate::progress::Shown;
use crate::{output, text};

/// Copies an image as it is, with its SOCI indexes and all that refers to it
///
/// All platforms, byte for byte; signatures, attestations and SOCI indexes (v1 and v2) come along. Between repositories of
/// one registry no layer is moved.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable copy docker://registry.example/app:1 docker://mirror.example/app:1
  sociable copy docker://registry.example/app:1 oci-archive:app.tar")]
pub(crate) struct Copy {
    #[command(flatten)]
    both: Both,
}

/// Fetches an image from a registry, with its SOCI indexes and all that refers to it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable pull docker://registry.example/app:1 oci:app
  sociable pull docker://registry.example/app:1 containerd:registry.example/app:1 --platform linux/amd64")]
pub(crate) struct Pull {
    #[command(flatten)]
    both: Both,
}

/// Sends an image to a registry, with its SOCI indexes
///
/// Indexes v1 are listed among the image's referrers, or under the tag sha256-DIGEST where the registry has no such list.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable push oci:app docker://registry.example/app:1
  sociable create oci:app oci:app && sociable push oci:app docker://registry.example/app:1")]
pub(crate) struct Push {
    #[command(flatten)]
    both: Both,
}

#[derive(Debug, Args)]
struct Both {
    #[arg(value_name = "SRC", help = IMAGE_HELP)]
    source: Transport,
    #[arg(value_name = "DEST", help = DESTINATION_HELP)]
    destination: Transport,
    /// Only the image for this platform
    #[arg(short, long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Blobs copied at once [default: all processors]
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true
    )]
    jobs: usize,
}

pub(crate) fn run_copy(args: &Copy, access: &Access, shown: &Shown) -> Result<(), CliError> {
    run(&args.both, access, shown)
}

pub(crate) fn run_pull(args: &Pull, access: &Access, shown: &Shown) -> Result<(), CliError> {
    if !matches!(args.both.source, Transport::Registry(_)) {
        return Err(CliError::usage(format!(
            "{} is not in a registry: pull fetches docker://HOST/REPO:TAG",
            args.both.source
        ))
        .hint("`sociable copy` copies from anywhere to anywhere"));
    }
    run(&args.both, access, shown)
}

pub(crate) fn run_push(args: &Push, access: &Access, shown: &Shown) -> Result<(), CliError> {
    if !matches!(args.both.destination, Transport::Registry(_)) {
        return Err(CliError::usage(format!(
            "{} is not in a registry: push sends to docker://HOST/REPO:TAG",
            args.both.destination
        ))
        .hint("`sociable copy` copies from anywhere to anywhere"));
    }
    run(&args.both, access, shown)
}

fn run(args: &Both, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let (source, _unpacked) = opened::open(&args.source, access)?;
    let options = Options {
        source_tag: args.source.tag(),
        tag: args.destination.tag(),
        platform: args.platform.as_ref(),
        refuse_plain: args.source.has_plain_layers(),
    };
    let sink = create(&args.destination, access)?;
    let report = copy::copy(&*source, sink, options, shown.run(args.jobs))?;
    print(&report, args, shown)
}

fn print(report: &Report, args: &Both, shown: &Shown) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct WithDestination<'a> {
        destination: String,
        #[serde(flatten)]
        report: &'a Report,
    }
    shown.finish();
    shown.spent();
    if is_stream(&args.destination) {
        return Ok(());
    }
    if args.json {
        return output::print_json(&WithDestination {
            destination: args.destination.to_string(),
            report,
        });
    }
    let mut out = String::new();
    for beside in &report.beside {
        let _ = writeln!(out, "beside      {}  {}", beside.digest, beside.media_type);
    }
    let _ = writeln!(
        out,
        "{} and {} of {}",
        text::count(report.documents, "document"),
        text::count(report.blobs, "blob"),
        text::size(report.bytes)
    );
    let _ = writeln!(
        out,
        "image       {}  {}",
        report.image.digest, args.destination
    );
    output::print(&out)
}
