//! `sociable rm`.

use std::fmt::Write as _;

use clap::Args;
use sociable_oci::{Access, Transport};
use sociable_soci::{Image, Platforms, Version, remove};

use crate::args::PlatformArgs;
use crate::error::CliError;
use crate::output;
use crate::progress::Shown;

/// Removes the SOCI indexes of an image in a registry; the image stays as it is
///
/// An index v1 disappears from the list of the image's referrers. One of v2 is named by the image itself, which goes
/// on naming it: nodes then fetch the image whole, and tools that copy all that an image index lists will miss it. Tags of
/// the same image share their indexes. zTOCs go when the registry collects what nothing refers to.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable rm --index docker://registry.example/app:1
  sociable rm --index docker://registry.example/app:1 --platform linux/arm64 --json")]
pub(crate) struct Rm {
    /// Remove SOCI indexes (there is nothing else that this command removes)
    #[arg(long, required = true)]
    index: bool,
    #[arg(value_name = "IMAGE", help = "The image: docker://HOST/REPO[:TAG]")]
    image: Transport,
    #[command(flatten)]
    platforms: PlatformArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Rm, access: &Access, shown: &Shown) -> Result<(), CliError> {
    debug_assert!(args.index, "clap requires it");
    let Transport::Registry(reference) = &args.image else {
        return Err(CliError::usage(format!(
            "{} is not in a registry: rm works on docker://HOST/REPO[:TAG]",
            args.image
        )));
    };
    let registries = access.registries()?;
    let source = registries.direct(reference);
    let image = Image::open(&source, args.image.tag())?;
    let platforms = match args.platforms.platforms() {
        Platforms::Default => Platforms::All,
        named => named,
    };
    let removed = remove::remove_indexes(registries, &reference.name, &source, &image, &platforms)?;
    shown.finish();
    if args.json {
        return output::print_json(&removed);
    }
    let mut out = String::new();
    for index in &removed {
        let gone = if index.was_there {
            ""
        } else {
            "  (was gone already)"
        };
        let _ = writeln!(
            out,
            "{}  index {}  {}{gone}",
            index.platform, index.version, index.digest
        );
    }
    if removed.is_empty() {
        let _ = writeln!(out, "{} has no SOCI index", args.image);
    }
    if removed.iter().any(|index| index.version == Version::V2) {
        shown.note(
            "the image still names its index v2; nodes fetch it whole until it is converted again",
        );
    }
    output::print(&out)
}
