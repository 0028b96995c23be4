//! Spans that follow what a recorded start read.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::{Ask, Candidate, Decision, SpanPlanner, SpanPolicy};
use crate::{Entry, Kind, Layer, PolicyError, Trace};

/// Spans are cut where what a start read begins and ends, and are coarse elsewhere. The layer stays as it is.
#[derive(Debug, Clone)]
pub struct ProfileSpans {
    /// What was read of which file.
    files: Arc<HashMap<String, Touched>>,
    /// Largest span of what was read, in uncompressed bytes.
    pub read: u64,
    /// Largest span of what was not, in uncompressed bytes: another start may well need some of it.
    pub unread: u64,
    /// What was not read between two things that were is left where it is up to this size, in uncompressed bytes: a
    /// span of its own would cost more than it saves.
    pub bridge: u64,
    /// Names the trace, for [`SpanPolicy::identity`].
    trace: Arc<str>,
}

#[derive(Debug)]
struct Touched {
    size: u64,
    ranges: Vec<(u64, u64)>,
}

impl ProfileSpans {
    /// Default of [`ProfileSpans::read`]: 4 MiB.
    pub const READ: u64 = 4 << 20;
    /// Default of [`ProfileSpans::unread`]: 5 MiB. Larger ones save zTOC in a start like the recorded one, and cost others more
    /// than they save: with 16 MiB another program of a Java image fetched 1.4 times what it does by default.
    pub const UNREAD: u64 = 5 << 20;
    /// Default of [`ProfileSpans::bridge`]: 192 KiB, some 64 KiB compressed, which is what two more spans take in a zTOC.
    pub const BRIDGE: u64 = 192 << 10;

    /// Follows a trace.
    #[must_use]
    pub fn new(trace: &Trace) -> Self {
        let files = trace.files.iter().map(|file| {
            let touched = Touched {
                size: file.size,
                ranges: file.ranges.clone(),
            };
            (file.path.trim_start_matches('/').to_owned(), touched)
        });
        Self {
            files: Arc::new(files.collect()),
            read: Self::READ,
            unread: Self::UNREAD,
            bridge: Self::BRIDGE,
            trace: trace.to_json().into(),
        }
    }
}

impl SpanPolicy for ProfileSpans {
    fn planner(&self, layer: &Layer) -> Result<Box<dyn SpanPlanner>, PolicyError> {
        Ok(Box::new(Planner {
            policy: self.clone(),
            packing: layer.packing,
            touched: VecDeque::new(),
            last_end: 0,
            entry: (0, 0),
            reading: false,
        }))
    }

    fn identity(&self) -> String {
        format!(
            "profile:{},{},{}:{}",
            self.read, self.unread, self.bridge, self.trace
        )
    }
}

struct Planner {
    policy: ProfileSpans,
    packing: bool,
    /// What was read, in bytes of the tar, rising; what lies behind is forgotten.
    touched: VecDeque<Range<u64>>,
    /// Where the last of what was forgotten ends.
    last_end: u64,
    /// Header and beginning of the data of the last entry.
    entry: (u64, u64),
    /// Whether the current span holds what was read.
    reading: bool,
}

impl Planner {
    fn forget(&mut self, before: u64) {
        while let Some(range) = self.touched.front()
            && range.end <= before
        {
            self.last_end = range.end;
            self.touched.pop_front();
        }
    }

    /// Whether anything in `range` was read. Not for what was forgotten.
    fn is_read(&self, range: Range<u64>) -> bool {
        let first = self.touched.iter().find(|read| read.end > range.start);
        first.is_some_and(|read| read.start < range.end)
    }

    fn limit(&self) -> u64 {
        if self.reading {
            self.policy.read
        } else {
            self.policy.unread
        }
    }

    /// Whether a span that begins at `at` is one of what was read.
    fn reads(&self, at: &Candidate) -> bool {
        let here = at.uncompressed;
        let bridge = self.policy.bridge;
        if self.packing {
            // Any place can be asked about. A header belongs to its file.
            let (header, data) = self.entry;
            let end = if here == header { data } else { here };
            // What comes behind this entry is not known: a gap is bridged by waiting for its end.
            self.is_read(here..end + 1)
                || self.reading && here < self.last_end.saturating_add(bridge)
        } else if self.reading {
            let bridged = here.saturating_add(bridge).min(at.known);
            self.is_read(here..at.next.max(bridged))
        } else {
            self.is_read(here..at.next)
        }
    }

    /// When to ask again, at `at`, `since_cut` bytes behind the beginning of a span.
    fn ask(&self, at: u64, since_cut: u64) -> Ask {
        let mut after = self.limit().saturating_sub(since_cut).max(1);
        if self.packing {
            let bridge = self.policy.bridge;
            let ends = self.touched.iter().map(|read| read.end);
            let ends = ends
                .chain([self.last_end])
                .map(|end| end.saturating_add(bridge));
            let edges = self.touched.iter().map(|read| read.start).chain(ends);
            if let Some(edge) = edges.filter(|&edge| edge > at).min() {
                after = after.min(edge - at);
            }
        }
        Ask {
            after,
            at_entries: true,
        }
    }
}

impl SpanPlanner for Planner {
    fn start(&mut self) -> Result<Ask, PolicyError> {
        Ok(self.ask(0, 0))
    }

    fn decide(&mut self, at: &Candidate) -> Result<Decision, PolicyError> {
        self.forget(at.uncompressed);
        let reads = self.reads(at);
        let with_next = at.since_cut.saturating_add(at.next - at.uncompressed);
        let limit = self.limit();
        let full = with_next > limit || at.since_cut >= limit;
        let cut = reads != self.reading || full;
        self.reading = reads;
        Ok(Decision {
            cut,
            ask: self.ask(at.uncompressed, if cut { 0 } else { at.since_cut }),
        })
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), PolicyError> {
        self.entry = (entry.header, entry.data);
        if entry.kind != Kind::File {
            return Ok(());
        }
        if let Some(file) = self.policy.files.get(entry.path.as_ref())
            && file.size == entry.size
        {
            let data = entry.data;
            let ranges = file.ranges.iter();
            self.touched
                .extend(ranges.map(|&(offset, length)| data + offset..data + offset + length));
        }
        Ok(())
    }

    fn wants_entries(&self) -> bool {
        true
    }

    fn look_ahead(&self) -> Option<u64> {
        Some(self.policy.bridge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TracedFile;
    use crate::span::trial::{self, file};

    const MB: u64 = 1 << 20;

    type Read<'a> = (&'a str, u64, &'a [(u64, u64)]);

    fn policy(ranges: &[Read<'_>]) -> ProfileSpans {
        let files = ranges.iter().map(|(path, size, ranges)| {
            TracedFile::new((*path).to_owned(), *size, ranges.to_vec())
        });
        ProfileSpans::new(&Trace {
            workloads: Vec::new(),
            files: files.collect(),
        })
    }

    #[test]
    fn spans_of_a_layer_as_it_is_begin_and_end_with_what_was_read() {
        let policy = policy(&[
            ("/lib", 20 * MB, &[(10 * MB, MB)]),
            ("/other", 7, &[(0, 7)]),
        ]);
        // The second file is not the one that was traced.
        let entries = [
            file("lib", 20 * MB),
            file("other", 8),
            file("more", 40 * MB),
        ];
        let block = 64 << 10;
        let spans = trial::indexed(&policy, &entries, block).unwrap();
        let read = 10 * MB;
        assert_eq!(spans[..4], [0, 5 * MB, read, 11 * MB + block]);
        assert!(
            spans[5..]
                .windows(2)
                .all(|pair| pair[1] - pair[0] == 5 * MB),
            "{spans:?}"
        );
    }

    #[test]
    fn small_gaps_are_bridged() {
        let ranges: &[(u64, u64)] = &[(MB, 1000), (MB + (150 << 10), 1000), (2 * MB, 1000)];
        let policy = policy(&[("/lib", 4 * MB, ranges)]);
        let spans = trial::indexed(&policy, &[file("lib", 4 * MB)], 64 << 10).unwrap();
        assert_eq!(spans.len(), 5, "{spans:?}");
        assert_eq!(spans[1] / (64 << 10), 16);
        assert_eq!(spans[2] / (64 << 10), 19);
    }

    #[test]
    fn packed_layers_are_cut_at_files() {
        let policy = policy(&[("/b", 100, &[(0, 100)]), ("/c", 100, &[(0, 10)])]);
        let entries = [
            file("a", MB),
            file("b", 100),
            file("x", 1000),
            file("c", 100),
            file("d", MB),
        ];
        let spans = trial::packed(&policy, &entries).unwrap();
        let b = 512 + MB;
        let c_read = b + 1024 + 512 + 1024 + 512 + 10;
        assert_eq!(spans, [0, b, c_read + policy.bridge]);
    }
}
