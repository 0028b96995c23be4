//! The spans of one layer.

use sociable_policy_sdk::{Ask, Candidate, Decision, Entry, Kind, Planner, Result};

/// While a layer is packed a span begins with the file that would make it too big. While one is indexed, spans can begin only
/// where deflate blocks end: one begins at the first of them, from half a span on, that lies in no small file, and after two
/// spans anywhere.
#[derive(Debug)]
pub(crate) struct FilePlanner {
    /// In uncompressed bytes. A file up to this size is small.
    span_size: u64,
    packing: bool,
    last: Extent,
}

/// Where the last entry lies, in bytes of the tar.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    header: u64,
    data: u64,
    data_end: u64,
    /// Where the next header begins.
    end: u64,
}

impl FilePlanner {
    pub(crate) fn new(span_size: u64, packing: bool) -> Self {
        Self {
            // So that sums of a few do not overflow.
            span_size: span_size.clamp(1, u64::MAX / 4),
            packing,
            last: Extent::default(),
        }
    }

    fn size(&self) -> u64 {
        self.last.data_end - self.last.data
    }

    fn is_big(&self) -> bool {
        self.size() > self.span_size
    }

    /// Size of the even pieces of the last entry; as large as it is if it is small.
    fn piece(&self) -> u64 {
        let pieces = self.size().div_ceil(self.span_size).max(1);
        self.size().div_ceil(pieces).max(1)
    }

    /// Which of the pieces `at` lies in.
    fn piece_at(&self, at: u64) -> u64 {
        at.saturating_sub(self.last.data) / self.piece()
    }

    fn cuts_packing(&self, at: &Candidate) -> bool {
        if at.uncompressed == self.last.header {
            let first = if self.is_big() {
                self.piece()
            } else {
                self.last.end - self.last.header
            };
            at.since_cut.saturating_add(first) > self.span_size
        } else {
            // Within a big file, at the end of a piece; or in what is no file, for too long.
            self.is_big() || at.since_cut >= 2 * self.span_size
        }
    }

    fn cuts_indexing(&self, at: &Candidate) -> bool {
        let here = at.uncompressed;
        let inside = self.last.data < here && here < self.last.data_end;
        if inside && self.is_big() {
            let begun = here.saturating_sub(at.since_cut);
            self.piece_at(here) > self.piece_at(begun) || at.since_cut > self.span_size
        } else {
            !inside && at.since_cut >= self.span_size / 2 || at.since_cut >= 2 * self.span_size
        }
    }

    /// When to ask again, at `here`, `since_cut` bytes behind the beginning of a span.
    pub(crate) fn ask(&self, here: u64, since_cut: u64) -> Ask {
        // What is indexed is of no interest before half a span.
        let sizes = if self.packing {
            2 * self.span_size
        } else {
            self.span_size / 2
        };
        let mut after = sizes.saturating_sub(since_cut);
        if self.packing && self.is_big() && here < self.last.end {
            let piece_end = self.last.data + (self.piece_at(here) + 1) * self.piece();
            after = after.min(piece_end.min(self.last.end) - here);
        }
        Ask {
            after: after.max(1),
            at_entries: self.packing,
        }
    }
}

impl Planner for FilePlanner {
    fn decide(&mut self, entries: &[Entry], at: &Candidate) -> Result<Decision> {
        if let Some(entry) = entries.last() {
            let is_file = entry.kind == Kind::File;
            self.last = Extent {
                header: entry.header,
                data: entry.data,
                data_end: if is_file {
                    entry.data_end()
                } else {
                    entry.data
                },
                end: entry.end(),
            };
        }
        let cut = if self.packing {
            self.cuts_packing(at)
        } else {
            self.cuts_indexing(at)
        };
        let since_cut = if cut { 0 } else { at.since_cut };
        Ok(Decision {
            cut,
            ask: self.ask(at.uncompressed, since_cut),
        })
    }
}
