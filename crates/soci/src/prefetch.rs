//! Prefetch artifacts: spans of a layer that the snapshotter should fetch before anybody asks.
//!
//! The document is `{"version":"1.0","prefetch_spans":[{"start_span":a,"end_span":b},…]}`, both ends inclusive, sorted
//! and merged. One belongs to one layer, which its descriptor's annotation names; a path that was asked for belongs
//! to the topmost indexed layer that has it, whatever layers above may have deleted.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sociable_policy::prefetch::{PrefetchPolicy, Target};
use sociable_policy::{Layer, PolicyError};
use sociable_ztoc::Ztoc;

use crate::tree::clean;

/// A run of spans, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SpanRange {
    /// Number of the first span, from 0.
    #[serde(rename = "start_span")]
    pub start: u32,
    /// Number of the last span.
    #[serde(rename = "end_span")]
    pub end: u32,
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefetch {
    /// Always `1.0`.
    pub version: String,
    /// What to fetch.
    #[serde(rename = "prefetch_spans")]
    pub spans: Vec<SpanRange>,
}

impl Prefetch {
    /// The only version there is.
    pub const VERSION: &'static str = "1.0";

    /// A document of these ranges, sorted, and merged where they touch. `None` where there are none.
    #[must_use]
    pub fn of(mut ranges: Vec<SpanRange>) -> Option<Self> {
        ranges.sort_unstable();
        let mut spans: Vec<SpanRange> = Vec::new();
        for range in ranges {
            match spans.last_mut() {
                Some(last) if range.start <= last.end.saturating_add(1) => {
                    last.end = last.end.max(range.end);
                }
                _ => spans.push(range),
            }
        }
        (!spans.is_empty()).then(|| Self {
            version: Self::VERSION.to_owned(),
            spans,
        })
    }

    /// The document, as Go would write it.
    #[must_use]
    #[allow(
        clippy::missing_panics_doc,
        reason = "text and numbers have a JSON form"
    )]
    pub fn to_bytes(&self) -> Vec<u8> {
        sociable_oci::json::to_vec(self).expect("text and numbers have a JSON form")
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let this: Self = sociable_oci::json::from_slice(bytes).map_err(|e| e.to_string())?;
        if this.version != Self::VERSION {
            return Err(format!("version {:?} is not known, 1.0 is", this.version));
        }
        if this.spans.is_empty() || this.spans.iter().any(|range| range.start > range.end) {
            return Err("it names no spans, or ranges that end before they start".to_owned());
        }
        Ok(this)
    }
}

/// A path as an archive would name it from the root: cleaned, without the leading slash.
#[must_use]
pub fn clean_path(path: &[u8]) -> Vec<u8> {
    let mut components = Vec::new();
    clean(path, &mut components);
    components.join(&b'/')
}

/// The spans that hold each of `paths` (cleaned) in this layer; `None` for those it has not.
///
/// As the reference has it, the span that holds the byte behind the file's last counts too.
#[must_use]
pub fn find(ztoc: &Ztoc, paths: &[Vec<u8>]) -> Vec<Option<SpanRange>> {
    if paths.is_empty() {
        return Vec::new();
    }
    let wanted: HashSet<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    let span = |offset| u32::try_from(ztoc.span_of(offset)).unwrap_or(u32::MAX);
    let mut found: HashMap<Vec<u8>, SpanRange> = HashMap::new();
    for entry in &ztoc.entries {
        let name = clean_path(&entry.name);
        if wanted.contains(&name[..]) {
            // The first entry of a name counts, as in the reference.
            found.entry(name).or_insert_with(|| {
                let start = span(entry.offset);
                let end = span(entry.offset.saturating_add(entry.size)).max(start);
                SpanRange { start, end }
            });
        }
    }
    paths.iter().map(|path| found.get(path).copied()).collect()
}

/// The spans that a policy wants to have prefetched of this layer.
///
/// # Errors
/// The policy's.
pub fn chosen(
    ztoc: &Ztoc,
    policy: &dyn PrefetchPolicy,
    layer: &Layer,
) -> Result<Vec<SpanRange>, PolicyError> {
    let entries: Vec<_> = ztoc
        .entries
        .iter()
        .map(sociable_layer::described_entry)
        .collect();
    let spans: Vec<u64> = (0..ztoc.spans.len())
        .map(|span| ztoc.span_start(span))
        .collect();
    let span = |offset| u32::try_from(ztoc.span_of(offset)).unwrap_or(u32::MAX);
    let targets = policy.choose(layer, &entries, &spans)?;
    let range = |target| match target {
        Target::Span(span) => Some(SpanRange {
            start: span,
            end: span,
        }),
        Target::File(index) => {
            let entry = ztoc.entries.get(index as usize)?;
            let start = span(entry.offset);
            let last = entry.offset.saturating_add(entry.size).saturating_sub(1);
            let end = span(last).max(start);
            Some(SpanRange { start, end })
        }
    };
    Ok(targets.into_iter().filter_map(range).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sorted_and_merged() {
        let range = |start, end| SpanRange { start, end };
        let of = |ranges| Prefetch::of(ranges).unwrap().spans;
        assert_eq!(
            of(vec![range(5, 6), range(0, 1)]),
            [range(0, 1), range(5, 6)]
        );
        assert_eq!(of(vec![range(2, 3), range(0, 1)]), [range(0, 3)]);
        assert_eq!(of(vec![range(0, 9), range(2, 3)]), [range(0, 9)]);
        assert_eq!(
            of(vec![range(0, 1), range(3, 3)]),
            [range(0, 1), range(3, 3)]
        );
        assert_eq!(Prefetch::of(Vec::new()), None);
    }

    #[test]
    fn paths_are_cleaned() {
        for (path, clean) in [
            ("/app/x", "app/x"),
            ("./app//x/", "app/x"),
            ("app/../../x", "x"),
            ("/", ""),
            (".", ""),
        ] {
            assert_eq!(clean_path(path.as_bytes()), clean.as_bytes(), "{path}");
        }
    }
}
