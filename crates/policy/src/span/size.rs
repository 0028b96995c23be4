//! The reference's rule.

use super::{Ask, Candidate, Decision, SpanPlanner, SpanPolicy};
use crate::{Layer, PolicyError};

/// The reference's rule: a span begins at the first candidate which is more than `span_size`
/// uncompressed bytes behind the beginning of the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeSpans {
    /// Smallest size of a span, in uncompressed bytes.
    pub span_size: u64,
}

impl SizeSpans {
    /// SOCI's default: 4 MiB.
    pub const DEFAULT_SPAN_SIZE: u64 = 4 << 20;

    fn ask(self, since_cut: u64) -> Ask {
        // One byte more than the size, so that indexing the packed layer gives the same spans.
        let after = self.span_size.saturating_add(1).saturating_sub(since_cut);
        Ask {
            after: after.max(1),
            at_entries: false,
        }
    }
}

impl Default for SizeSpans {
    fn default() -> Self {
        Self {
            span_size: Self::DEFAULT_SPAN_SIZE,
        }
    }
}

impl SpanPolicy for SizeSpans {
    fn planner(&self, _: &Layer) -> Result<Box<dyn SpanPlanner>, PolicyError> {
        Ok(Box::new(*self))
    }

    fn identity(&self) -> String {
        format!("size:{}", self.span_size)
    }
}

impl SpanPlanner for SizeSpans {
    fn start(&mut self) -> Result<Ask, PolicyError> {
        Ok(self.ask(0))
    }

    fn decide(&mut self, at: &Candidate) -> Result<Decision, PolicyError> {
        let cut = at.since_cut > self.span_size;
        Ok(Decision {
            cut,
            ask: self.ask(if cut { 0 } else { at.since_cut }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_cuts_behind_more_than_a_span() {
        let mut planner = SizeSpans { span_size: 100 };
        let mut answer = |since_cut| {
            let decision = planner
                .decide(&Candidate {
                    compressed: 0,
                    uncompressed: since_cut,
                    since_cut,
                    next: since_cut,
                    known: since_cut,
                })
                .unwrap();
            (decision.cut, decision.ask.after)
        };
        assert_eq!(answer(1), (false, 100));
        assert_eq!(answer(100), (false, 1));
        assert_eq!(answer(101), (true, 101));
    }
}
