//! Spans for layers of which no start is known.

use std::ops::Range;

use super::{Ask, Candidate, Decision, SpanPlanner, SpanPolicy};
use crate::{Entry, Kind, Layer, PolicyError};

/// Small spans where small files are dense, large ones in large files.
///
/// Of small files a start needs some here and some there; of a large file it reads stretches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveSpans {
    /// Size of spans among small files, in uncompressed bytes, at least 1.
    pub small: u64,
    /// Size of spans in large files, in uncompressed bytes. A file is large from this size on.
    pub large: u64,
}

impl Default for AdaptiveSpans {
    fn default() -> Self {
        Self {
            small: 2 << 20,
            large: 8 << 20,
        }
    }
}

impl SpanPolicy for AdaptiveSpans {
    fn planner(&self, _: &Layer) -> Result<Box<dyn SpanPlanner>, PolicyError> {
        Ok(Box::new(Planner {
            policy: *self,
            large: 0..0,
            last: 0..0,
        }))
    }

    fn identity(&self) -> String {
        format!("adaptive:{},{}", self.small, self.large)
    }
}

struct Planner {
    policy: AdaptiveSpans,
    /// The last large file, in bytes of the tar.
    large: Range<u64>,
    /// The last entry.
    last: Range<u64>,
}

impl Planner {
    fn wanted(&self, at: u64) -> u64 {
        if self.large.contains(&at) {
            self.policy.large.max(1)
        } else {
            self.policy.small.max(1)
        }
    }
}

impl SpanPlanner for Planner {
    fn start(&mut self) -> Result<Ask, PolicyError> {
        Ok(Ask {
            after: self.wanted(0),
            at_entries: true,
        })
    }

    fn decide(&mut self, at: &Candidate) -> Result<Decision, PolicyError> {
        let here = at.uncompressed;
        let wanted = self.wanted(here);
        // A file that would make the span too large begins its own, unless the one before is next to nothing.
        let with_file = at.since_cut.saturating_add(self.last.end - self.last.start);
        let begins = here == self.last.start
            && at.since_cut >= self.policy.small / 2
            && with_file > self.policy.small;
        let cut = at.since_cut >= wanted || begins;
        let since_cut = if cut { 0 } else { at.since_cut };
        let mut after = wanted.saturating_sub(since_cut);
        if self.large.contains(&here) {
            // What follows the file is cut by another measure.
            after = after.min(self.large.end - here);
        }
        Ok(Decision {
            cut,
            ask: Ask {
                after: after.max(1),
                at_entries: !self.large.contains(&here),
            },
        })
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), PolicyError> {
        self.last = entry.header..entry.end();
        if entry.kind == Kind::File && entry.size >= self.policy.large {
            self.large = self.last.clone();
        }
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

    #[test]
    fn small_spans_among_small_files() {
        let policy = AdaptiveSpans {
            small: 10_000,
            large: 100_000,
        };
        let mut entries: Vec<_> = (0..106).map(|n| file(&format!("f{n}"), 512)).collect();
        entries.push(file("large", 1_000_000));
        let spans = trial::packed(&policy, &entries).unwrap();
        let begin = 106 * 1024;
        assert!(spans.contains(&begin), "{spans:?}");
        assert!(
            spans.iter().all(|at| *at > begin || at % 1024 == 0),
            "{spans:?}"
        );
        assert_eq!(spans.iter().filter(|at| **at < begin).count(), 12);
        assert!((9..=11).contains(&spans.iter().filter(|at| **at > begin).count()));
    }
}
