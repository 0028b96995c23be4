//! Spans that respect files.

use super::{Ask, Candidate, Decision, SpanPlanner, SpanPolicy};
use crate::{Entry, Kind, Layer, PolicyError};

/// A span does not begin in the middle of a small file, and big files are cut into even pieces.
///
/// While a layer is packed a span begins with the file that would make it too big. While one is indexed, spans can begin only
/// where deflate blocks end: one begins at the first of them, from half a span on, that lies in no small file, and after
/// two spans anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileAlignedSpans {
    /// Size of a span to aim at, in uncompressed bytes, at least 1. A file up to this size is small.
    pub span_size: u64,
}

impl SpanPolicy for FileAlignedSpans {
    fn planner(&self, layer: &Layer) -> Result<Box<dyn SpanPlanner>, PolicyError> {
        Ok(Box::new(Planner {
            span_size: self.span_size.clamp(1, u64::MAX / 4),
            packing: layer.packing,
            file: File::default(),
        }))
    }

    fn identity(&self) -> String {
        format!("file-aligned:{}", self.span_size)
    }
}

/// The last entry.
#[derive(Debug, Clone, Copy, Default)]
struct File {
    header: u64,
    data: u64,
    /// Where its data ends.
    data_end: u64,
    /// Where the next header begins.
    end: u64,
}

struct Planner {
    span_size: u64,
    packing: bool,
    file: File,
}

impl Planner {
    /// Size of the even pieces of the last entry; as large as it is if it is small.
    fn piece(&self) -> u64 {
        let size = self.file.data_end - self.file.data;
        size.div_ceil(size.div_ceil(self.span_size).max(1)).max(1)
    }

    fn is_big(&self) -> bool {
        self.file.data_end - self.file.data > self.span_size
    }

    /// Where the piece of the big file ends in which `at` lies.
    fn piece_end(&self, at: u64) -> u64 {
        let pieces = at.saturating_sub(self.file.data) / self.piece() + 1;
        (self.file.data + pieces * self.piece()).min(self.file.end)
    }

    fn packs(&self, at: &Candidate) -> bool {
        let here = at.uncompressed;
        if here == self.file.header {
            let whole = self.file.end - self.file.header;
            let first = if self.is_big() { self.piece() } else { whole };
            at.since_cut.saturating_add(first) > self.span_size
        } else {
            // Within a big file, at the end of a piece; or in what is no file, for too long.
            self.is_big() || at.since_cut >= 2 * self.span_size
        }
    }

    fn indexes(&self, at: &Candidate) -> bool {
        let here = at.uncompressed;
        let inside = self.file.data < here && here < self.file.data_end;
        if inside && self.is_big() {
            let passed = (here - self.file.data) / self.piece();
            let begun = here.saturating_sub(at.since_cut);
            let before = begun.saturating_sub(self.file.data) / self.piece();
            passed > before || at.since_cut > self.span_size
        } else {
            !inside && at.since_cut >= self.span_size / 2 || at.since_cut >= 2 * self.span_size
        }
    }
}

impl SpanPlanner for Planner {
    fn start(&mut self) -> Result<Ask, PolicyError> {
        Ok(Ask {
            after: self.span_size.saturating_mul(2),
            at_entries: true,
        })
    }

    fn decide(&mut self, at: &Candidate) -> Result<Decision, PolicyError> {
        let cut = if self.packing {
            self.packs(at)
        } else {
            self.indexes(at)
        };
        let since_cut = if cut { 0 } else { at.since_cut };
        let ask = if self.packing {
            let here = at.uncompressed;
            let mut after = (2 * self.span_size).saturating_sub(since_cut);
            if self.is_big() && here < self.file.end {
                after = after.min(self.piece_end(here).saturating_sub(here));
            }
            Ask {
                after: after.max(1),
                at_entries: true,
            }
        } else {
            // Nothing is of interest before.
            let half = (self.span_size / 2).saturating_sub(since_cut);
            Ask {
                after: half.max(1),
                at_entries: false,
            }
        };
        Ok(Decision { cut, ask })
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), PolicyError> {
        let size = if entry.kind == Kind::File {
            entry.size
        } else {
            0
        };
        self.file = File {
            header: entry.header,
            data: entry.data,
            data_end: entry.data.saturating_add(size),
            end: entry.end(),
        };
        Ok(())
    }

    fn wants_entries(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::trial::{self, file};

    const KB: u64 = 1 << 10;

    #[test]
    fn packed_spans_begin_with_files() {
        let policy = FileAlignedSpans {
            span_size: 100 * KB,
        };
        let entries: Vec<_> = (0..40).map(|n| file(&format!("f{n}"), 30 * KB)).collect();
        let spans = trial::packed(&policy, &entries).unwrap();
        let one = 30 * KB + 512;
        assert!(spans.iter().all(|at| at % one == 0), "{spans:?}");
        assert_eq!(spans.len(), 40 / 3 + 1);
    }

    #[test]
    fn big_files_are_cut_evenly() {
        let policy = FileAlignedSpans {
            span_size: 100 * KB,
        };
        let entries = [
            file("a", 80 * KB),
            file("big", 250 * KB),
            file("b", 30 * KB),
        ];
        let spans = trial::packed(&policy, &entries).unwrap();
        let big = 80 * KB + 512;
        let piece = (250 * KB).div_ceil(3);
        let data = big + 512;
        assert_eq!(
            spans,
            [0, big, data + piece, data + 2 * piece, data + 250 * KB]
        );
    }

    #[test]
    fn indexed_spans_avoid_small_files() {
        let policy = FileAlignedSpans { span_size: 64 * KB };
        // A block ends every 8.5 KiB: now in a file, now at its end.
        let entries: Vec<_> = (0..200).map(|n| file(&format!("f{n}"), 16 * KB)).collect();
        let spans = trial::indexed(&policy, &entries, 8 * KB + 256).unwrap();
        let inside =
            |at: &&u64| (1..16 * KB).contains(&((**at % (16 * KB + 512)).saturating_sub(512)));
        assert_eq!(spans.iter().filter(inside).count(), 0, "{spans:?}");
        assert!(spans.len() > 30);
    }
}
