//! `sociable verify`.

use clap::Args;
use sociable_oci::{Access, Transport};
use sociable_soci::Platforms;
use sociable_soci::verify::verify;

use crate::args::{IMAGE_HELP, PlatformArgs};
use crate::commands::opened::Opened;
use crate::error::CliError;
use crate::progress::Shown;
use crate::{output, text};

/// Reads the layers again and checks everything that an image's SOCI indexes claim
///
/// Digests and sizes, entries, spans and their digests, checkpoints at which decompression resumes, annotations,
/// prefetched spans, and the spelling that soci-snapshotter needs. Without --platform, all platforms. Exits with 1 if
/// anything does not hold, or if there is no index.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable verify oci:app
  sociable verify oci-archive:app.tar --json | jq .problems")]
pub(crate) struct Verify {
    #[arg(value_name = "IMAGE", help = IMAGE_HELP)]
    image: Transport,
    #[command(flatten)]
    platforms: PlatformArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Verify, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let opened = Opened::new(&args.image, access)?;
    let platforms = match args.platforms.platforms() {
        Platforms::Default => Platforms::All,
        named => named,
    };
    let verdict = verify(&*opened.source, &opened.image, &platforms, shown.run(0))?;
    shown.finish();
    shown.spent();
    if args.json {
        output::print_json(&verdict)?;
    } else {
        for problem in &verdict.problems {
            output::print(&format!("{}\n", text::printable(&problem.to_string())))?;
        }
        let checked = format!(
            "{} of {}: {} with {} and {} entries in {} of layers",
            text::count(verdict.indexes, "SOCI index").replace("indexs", "indexes"),
            args.image,
            text::count(verdict.ztocs, "zTOC"),
            text::count(verdict.spans, "span"),
            verdict.entries,
            text::size(verdict.bytes),
        );
        let outcome = match verdict.problems.len() {
            0 => "all claims hold".to_owned(),
            n => text::count(n, "problem"),
        };
        output::print(&format!("{checked}: {outcome}\n"))?;
    }
    if verdict.holds() {
        Ok(())
    } else if args.json {
        Err(CliError::said())
    } else {
        Err(CliError::failed(format!(
            "{}: {}",
            args.image,
            text::count(verdict.problems.len(), "claim does not hold").replace("holds", "hold")
        )))
    }
}
