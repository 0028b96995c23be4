//! Where a layer's spans are, and what a start fetches of them.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;

use serde::Serialize;
use sociable_policy::Trace;
use sociable_ztoc::{Spans, Ztoc};

/// A span, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Where it begins in the tar.
    pub uncompressed: u64,
    /// Its bytes of tar.
    pub uncompressed_size: u64,
    /// Where it begins in the blob.
    pub compressed: u64,
    /// Its bytes of the blob: what is fetched for anything in it.
    pub compressed_size: u64,
    /// The file in which it begins, or the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begins_in: Option<String>,
}

/// What was read of a layer, fetched span by span, as soci-snapshotter does. The zTOC is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fetched {
    /// How many spans.
    pub spans: usize,
    /// Their compressed bytes.
    pub bytes: u64,
}

/// The spans of a layer whose blob has `layer_size` bytes, first to last.
#[must_use]
pub fn spans(ztoc: &Ztoc, layer_size: u64) -> Vec<Span> {
    let count = ztoc.spans.len();
    let start = |span: usize| match &ztoc.spans {
        Spans::Gzip(spans) if span < count => {
            (spans.checkpoints[span].compressed, ztoc.span_start(span))
        }
        Spans::Uncompressed(_) if span < count => (ztoc.span_start(span), ztoc.span_start(span)),
        _ => (layer_size, ztoc.uncompressed_size),
    };
    let spans = (0..count).map(|span| {
        let ((compressed, uncompressed), (end, uncompressed_end)) = (start(span), start(span + 1));
        let behind = ztoc
            .entries
            .partition_point(|entry| entry.offset <= uncompressed);
        let entry = behind
            .checked_sub(1)
            .and_then(|before| ztoc.entries.get(before));
        Span {
            uncompressed,
            uncompressed_size: uncompressed_end.saturating_sub(uncompressed),
            compressed,
            compressed_size: end.saturating_sub(compressed),
            begins_in: entry.map(|entry| String::from_utf8_lossy(&entry.name).into_owned()),
        }
    });
    spans.collect()
}

/// What is fetched to read these ranges of spans.
#[must_use]
pub fn fetched(spans: &[Span], read: impl IntoIterator<Item = RangeInclusive<usize>>) -> Fetched {
    let read: BTreeSet<usize> = read.into_iter().flatten().collect();
    let bytes = read.iter().filter_map(|&span| spans.get(span));
    Fetched {
        spans: read.len(),
        bytes: bytes.map(|span| span.compressed_size).sum(),
    }
}

/// What a start that read what `trace` says would fetch of a layer.
#[must_use]
pub fn fetched_by(ztoc: &Ztoc, spans: &[Span], trace: &Trace) -> Fetched {
    let traced: HashMap<&str, _> = (trace.files.iter())
        .map(|file| (file.path.trim_start_matches('/'), file))
        .collect();
    let read = ztoc.entries.iter().flat_map(|entry| {
        let path = sociable_policy::facts::path(&entry.name);
        let file = traced.get(path.as_ref());
        let file = file.filter(|file| file.size == entry.size);
        let ranges = file.into_iter().flat_map(|file| &file.ranges);
        ranges
            .filter(|(_, length)| *length > 0)
            .map(|(offset, length)| {
                let at = |offset: u64| ztoc.span_of(entry.offset + offset);
                at(*offset)..=at(offset + length - 1)
            })
    });
    fetched(spans, read)
}
