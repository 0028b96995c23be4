//! Where spans begin.

/// A place in a layer at which a span could begin.
///
/// When a gzip layer is indexed these are the ends of its deflate blocks, from where the planner
/// [wants to be asked](SpanPlanner::ask_after) on. When a layer is packed they are exactly there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary {
    /// Offset in the compressed blob, in bytes: the first byte of the next block. While a layer is
    /// packed this is not known yet, and 0.
    pub compressed: u64,
    /// Offset in the uncompressed tar, in bytes.
    pub uncompressed: u64,
    /// Uncompressed bytes since the current span began.
    pub since_cut: u64,
}

/// Decides where spans begin. The first span of a layer always begins at its first byte.
pub trait SpanPlanner: Send {
    /// Shall a new span begin here? Asked at rising places.
    fn cut(&mut self, at: &Boundary) -> bool;

    /// How many uncompressed bytes after `at` (at least 1) to ask again: not before, and while
    /// packing, where any place can become a boundary, exactly there. Must not depend on anything
    /// but the places that were asked about.
    fn ask_after(&mut self, at: &Boundary) -> u64;

    /// A text which names the planner and everything its answers depend on: part of the key under
    /// which results are cached.
    fn identity(&self) -> String;
}

/// The reference's rule: a span begins at the first boundary which is more than `span_size`
/// uncompressed bytes behind the beginning of the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeSpans {
    /// Smallest size of a span, in uncompressed bytes.
    pub span_size: u64,
}

impl SizeSpans {
    /// SOCI's default: 4 MiB.
    pub const DEFAULT_SPAN_SIZE: u64 = 4 << 20;
}

impl Default for SizeSpans {
    fn default() -> Self {
        Self {
            span_size: Self::DEFAULT_SPAN_SIZE,
        }
    }
}

impl SpanPlanner for SizeSpans {
    fn cut(&mut self, at: &Boundary) -> bool {
        at.since_cut > self.span_size
    }

    fn ask_after(&mut self, at: &Boundary) -> u64 {
        // One byte more than the size, so that indexing the packed layer gives the same spans.
        (self.span_size.saturating_add(1))
            .saturating_sub(at.since_cut)
            .max(1)
    }

    fn identity(&self) -> String {
        format!("size:{}", self.span_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_cuts_behind_more_than_a_span() {
        let mut planner = SizeSpans { span_size: 100 };
        let at = |since_cut| Boundary {
            compressed: 0,
            uncompressed: since_cut,
            since_cut,
        };
        assert!(!planner.cut(&at(0)));
        assert!(!planner.cut(&at(100)));
        assert!(planner.cut(&at(101)));
        assert_eq!(planner.ask_after(&at(0)), 101);
        assert_eq!(planner.ask_after(&at(101)), 1);
    }
}
