//! `sociable inspect`.

use std::fmt::Write as _;

use clap::Args;
use sociable_oci::{Access, Transport};
use sociable_soci::Platforms;
use sociable_soci::inspect::{IndexInfo, LayerInfo, PlatformInfo, inspect};

use crate::args::{IMAGE_HELP, PlatformArgs};
use crate::commands::opened::Opened;
use crate::error::CliError;
use crate::progress::Shown;
use crate::{output, text};

/// Shows what an image, its SOCI indexes, layers, zTOCs and spans are
///
/// Without --platform, all platforms that the image has.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable inspect oci:app
  sociable inspect oci-archive:app.tar --platform linux/arm64 --json")]
pub(crate) struct Inspect {
    #[arg(value_name = "IMAGE", help = IMAGE_HELP)]
    image: Transport,
    #[command(flatten)]
    platforms: PlatformArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Inspect, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let opened = Opened::new(&args.image, access)?;
    let platforms = match args.platforms.platforms() {
        Platforms::Default => Platforms::All,
        named => named,
    };
    let info = inspect(&*opened.source, &opened.image, &platforms)?;
    shown.finish();
    if args.json {
        return output::print_json(&info);
    }
    let mut out = String::new();
    if let Some(target) = &info.target {
        let _ = writeln!(out, "{}  {}", args.image, target.digest);
    } else {
        let _ = writeln!(out, "{}", args.image);
    }
    for platform in &info.platforms {
        self::platform(&mut out, platform);
    }
    output::print(&out)
}

fn platform(out: &mut String, platform: &PlatformInfo) {
    let _ = writeln!(out, "\n{}", platform.platform);
    let _ = writeln!(out, "  manifest  {}", platform.manifest.digest);
    for layer in &platform.layers {
        self::layer(out, layer);
    }
    if platform.soci_indexes.is_empty() {
        let _ = writeln!(out, "  no SOCI index");
    }
    for found in &platform.soci_indexes {
        self::index(out, found);
    }
}

fn layer(out: &mut String, layer: &LayerInfo) {
    let missing = if layer.present { "" } else { "  MISSING" };
    let size = text::size(layer.blob.size);
    let _ = writeln!(out, "  layer     {}  {size:>9}{missing}", layer.blob.digest);
    let Some(ztoc) = &layer.ztoc else {
        let _ = writeln!(out, "            not indexed ({})", layer.blob.media_type);
        return;
    };
    let _ = writeln!(
        out,
        "    zTOC    {}  {:>9}  by {}",
        ztoc.digest,
        text::size(ztoc.size),
        text::name(ztoc.build_tool_identifier.as_bytes())
    );
    let spans = &ztoc.spans;
    let _ = writeln!(
        out,
        "            {} of {} to {} (median {}), asked for every {} of {} of tar",
        text::count(spans.count, "span"),
        text::size(spans.smallest),
        text::size(spans.largest),
        text::size(spans.median),
        text::size(u64::try_from(ztoc.span_size).unwrap_or(0)),
        text::size(ztoc.uncompressed_size),
    );
    let entries = &ztoc.entries;
    let _ = writeln!(
        out,
        "            {}: {}, {}, {}, {}{}",
        text::count_of(entries.count, "entry", "entries"),
        text::count(entries.files, "file"),
        text::count_of(entries.directories, "directory", "directories"),
        text::count(entries.links, "link"),
        text::count(entries.others, "other"),
        if ztoc.xattrs_disabled {
            "; extended attributes are not looked for"
        } else {
            ""
        }
    );
}

fn index(out: &mut String, index: &IndexInfo) {
    let _ = writeln!(
        out,
        "  index {}  {}  {} of {}, fetched before a start; by {}",
        index.version,
        index.blob.digest,
        text::size(index.ztoc_bytes),
        text::count(index.ztocs, "zTOC"),
        text::name(
            index
                .build_tool_identifier
                .as_deref()
                .unwrap_or("nobody")
                .as_bytes()
        )
    );
    for used in &index.policies {
        let digest = used.digest.as_deref().map(|digest| format!("  {digest}"));
        let parameters = match (&used.parameters, &used.parameters_digest) {
            (Some(parameters), _) => format!(" with {parameters}"),
            (None, Some(digest)) => format!(" with parameters {digest}"),
            (None, None) => String::new(),
        };
        let or = if used.fallback {
            ", or the default where that failed"
        } else {
            ""
        };
        let line = format!("{} by {}{or}{parameters}", used.interface, used.policy);
        let _ = writeln!(
            out,
            "            decided: {}{}",
            text::name(line.as_bytes()),
            text::name(digest.unwrap_or_default().as_bytes())
        );
    }
    for prefetch in &index.prefetch {
        let ranges: Vec<String> = prefetch
            .spans
            .iter()
            .map(|range| format!("{}-{}", range.start, range.end))
            .collect();
        let _ = writeln!(
            out,
            "            prefetch of {}: spans {}",
            prefetch.layer,
            ranges.join(", ")
        );
    }
}
