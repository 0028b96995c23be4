//! What a policy makes of a layer, beside the default.

use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use sociable_oci::Access;
use sociable_soci::span_map::{self, Fetched, Span};
use sociable_soci::{IndexSettings, chain, single};

use crate::args::ZtocArgs;
use crate::commands::trace::document;
use crate::error::CliError;
use crate::output::{print, print_json};
use crate::progress::Shown;
use crate::text::{percent, printable, size};

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The policy, as for --policy
    #[arg(value_name = "[INTERFACE=]POLICY[=PARAMETERS]")]
    policy: String,
    /// The layer: gzip or a plain tar
    #[arg(long, value_name = "FILE")]
    layer: PathBuf,
    /// Say what a start that read this would fetch (repeat for more): see `sociable trace`
    #[arg(long = "trace", value_name = "FILE")]
    traces: Vec<PathBuf>,
    /// Print JSON: all spans of both
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ztoc: ZtocArgs,
}

/// How a layer is cut.
#[derive(Serialize)]
struct Cut {
    ztoc_size: u64,
    /// What starts would fetch of the layer, in bytes, in the order of the traces; zTOC not counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fetched: Vec<Fetched>,
    spans: Vec<Span>,
}

#[derive(Serialize)]
struct Both {
    layer_size: u64,
    uncompressed_size: u64,
    policy: Cut,
    default: Cut,
}

pub(super) fn run(args: &Run, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let default = args.ztoc.settings(access, shown)?;
    let with = (args.ztoc).with_policy(default.clone(), &args.policy, access, shown)?;
    let traces = (args.traces.iter())
        .map(|file| document::read(file))
        .collect::<Result<Vec<_>, _>>()?;
    let index = |settings: &IndexSettings| {
        let file = File::open(&args.layer).map_err(CliError::io("open", args.layer.display()))?;
        let indexed = single::index_layer(file, settings, shown.run(0)).map_err(|error| {
            CliError::failed(format!("{}: {}", args.layer.display(), chain(&error)))
        })?;
        let ztoc_size = settings
            .encode(&indexed.ztoc)
            .map_err(|error| CliError::failed(error.to_string()))?
            .size();
        let spans = span_map::spans(&indexed.ztoc, indexed.size);
        let fetched = traces.iter();
        let fetched = fetched.map(|trace| span_map::fetched_by(&indexed.ztoc, &spans, trace));
        let cut = Cut {
            ztoc_size,
            fetched: fetched.collect(),
            spans,
        };
        Ok::<_, CliError>((indexed.size, cut, indexed.ztoc.uncompressed_size))
    };
    let (layer_size, policy, uncompressed_size) = index(&with)?;
    let (_, default, _) = index(&default)?;
    let both = Both {
        layer_size,
        uncompressed_size,
        policy,
        default,
    };
    if args.json {
        return print_json(&both);
    }
    print(&text(&both, &args.policy, &args.traces))
}

/// Columns of the map.
const WIDTH: usize = 72;

/// A line of the layer from its first byte to its last: how dense spans are, from `·` (none begins here) over `▁` to `█`.
fn map(cut: &Cut, size: u64) -> String {
    let mut counts = [0usize; WIDTH];
    for span in &cut.spans {
        let column = u128::from(span.uncompressed) * WIDTH as u128 / u128::from(size.max(1));
        let column = usize::try_from(column).unwrap_or(0).min(WIDTH - 1);
        counts[column] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let bars = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let bar = |&count: &usize| match count {
        0 => '·',
        _ => bars[(count * bars.len()).div_ceil(most) - 1],
    };
    counts.iter().map(bar).collect()
}

fn text(both: &Both, name: &str, traces: &[PathBuf]) -> String {
    let mut text = format!(
        "layer {}, {} of tar\n",
        size(both.layer_size),
        size(both.uncompressed_size)
    );
    for (name, cut) in [(name, &both.policy), ("default", &both.default)] {
        let sizes = || cut.spans.iter().map(|span| span.compressed_size);
        let count = cut.spans.len() as u64;
        let average = sizes().sum::<u64>() / count.max(1);
        let _ = write!(
            text,
            "\n{}: {count} spans, zTOC {}; compressed sizes {} to {}, {} on average\n{}\n",
            printable(&name.chars().take(60).collect::<String>()),
            size(cut.ztoc_size),
            size(sizes().min().unwrap_or(0)),
            size(sizes().max().unwrap_or(0)),
            size(average),
            map(cut, both.uncompressed_size),
        );
    }
    for (number, file) in traces.iter().enumerate() {
        let total =
            |cut: &Cut| cut.fetched.get(number).map_or(0, |fetched| fetched.bytes) + cut.ztoc_size;
        let (ours, default) = (total(&both.policy), total(&both.default));
        let _ = writeln!(
            text,
            "\na start as in {}: {} with its zTOC, against {}: {}",
            file.display(),
            size(ours),
            size(default),
            percent(ours, default),
        );
    }
    text.push_str("\nEach line is the layer from its first byte to its last; the higher the bar, the more spans begin there.\n");
    text
}
