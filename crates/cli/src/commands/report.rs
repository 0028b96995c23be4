//! What `convert`, `create` and `pack` say at the end.

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;
use sociable_oci::Transport;
use sociable_soci::convert::{LayerReport, PlatformReport, Report};
use sociable_soci::outcome::LayerOutcome;

use crate::args::is_stream;
use crate::error::CliError;
use crate::progress::Shown;
use crate::{output, text};

/// Prints a report; where standard output carries the image, to standard error, unless it should be quiet.
pub(crate) fn print(
    report: &Report,
    destination: &Transport,
    json: bool,
    shown: &Shown,
) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct WithDestination<'a> {
        destination: String,
        #[serde(flatten)]
        report: &'a Report,
    }
    shown.finish();
    shown.spent();
    if is_stream(destination) && shown.quiet && !json {
        return Ok(());
    }
    let text = if json {
        let report = WithDestination {
            destination: destination.to_string(),
            report,
        };
        let text = serde_json::to_string_pretty(&report);
        text.map_err(|e| CliError::failed(format!("the report has no JSON form: {e}")))? + "\n"
    } else {
        human(report, destination)
    };
    if is_stream(destination) {
        // The image is out; that nobody reads the report changes nothing.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        return Ok(());
    }
    output::print(&text)
}

fn human(report: &Report, destination: &Transport) -> String {
    let mut out = String::new();
    for platform in &report.platforms {
        self::platform(&mut out, platform);
    }
    for platform in &report.without_index {
        let _ = writeln!(
            out,
            "{platform}: no layer was indexed, so it has no SOCI index"
        );
    }
    for platform in &report.not_asked_for {
        let _ = writeln!(
            out,
            "{platform}: copied without an index (--all-platforms indexes all)"
        );
    }
    let _ = writeln!(out, "image       {}  {destination}", report.image.digest);
    out
}

fn platform(out: &mut String, platform: &PlatformReport) {
    let _ = writeln!(out, "{}", platform.platform);
    for layer in &platform.layers {
        let _ = writeln!(out, "  {}", self::layer(layer));
    }
    let _ = writeln!(out, "  manifest  {}", platform.manifest);
    let _ = writeln!(
        out,
        "  index {}  {}",
        platform.version, platform.soci_index.digest
    );
}

fn layer(layer: &LayerReport) -> String {
    let what = match &layer.outcome {
        LayerOutcome::Indexed(indexed) => format!(
            "zTOC {} for {} and {}{}",
            text::size(indexed.ztoc_size),
            text::count(indexed.spans, "span"),
            match indexed.entries {
                1 => "1 entry".to_owned(),
                n => format!("{n} entries"),
            },
            text::origin(indexed.origin)
        ),
        LayerOutcome::Skipped(reason) => format!("not indexed: {reason}"),
        LayerOutcome::Copied => "copied".to_owned(),
    };
    format!(
        "layer     {}  {:>9}  {what}",
        layer.blob.digest,
        text::size(layer.blob.size)
    )
}
