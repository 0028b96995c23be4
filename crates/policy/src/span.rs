//! Where spans begin.
//!
//! A span is what is fetched and inflated at once. A table of contents takes some 32,800 bytes for each: few and well placed
//! ones make fast starts.

mod adaptive;
mod file_aligned;
mod profile;
mod size;
pub mod trial;

pub use adaptive::AdaptiveSpans;
pub use file_aligned::FileAlignedSpans;
pub use profile::ProfileSpans;
pub use size::SizeSpans;

use std::fmt;

use crate::{Entry, Layer, PolicyError};

/// A place in a layer at which a span could begin.
///
/// When a gzip layer is indexed these are the ends of its deflate blocks. When a layer is packed they are where
/// the planner [wants them](Ask).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Offset in the compressed blob, in bytes: the first byte of the next block. While a layer is
    /// packed this is not known yet, and 0.
    pub compressed: u64,
    /// Offset in the uncompressed tar, in bytes.
    pub uncompressed: u64,
    /// Uncompressed bytes since the current span began.
    pub since_cut: u64,
    /// The next place at which a span could begin, in uncompressed bytes, or `uncompressed` where that is not known. All
    /// entries whose headers end before it were told.
    pub next: u64,
    /// How far the layer is known, in uncompressed bytes, at least to `next`: see [`SpanPlanner::look_ahead`].
    pub known: u64,
}

/// When to ask a planner again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// After so many uncompressed bytes, at least 1: at the first candidate from there on or, while packing, where any
    /// place can be one, exactly there.
    pub after: u64,
    /// Before that, too, where an entry begins (while packing), or at every candidate (while indexing).
    pub at_entries: bool,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Begin a span here.
    pub cut: bool,
    /// When to ask again.
    pub ask: Ask,
}

/// Makes planners.
pub trait SpanPolicy: Send + Sync + fmt::Debug {
    /// A planner for one layer.
    ///
    /// # Errors
    /// The policy's.
    fn planner(&self, layer: &Layer) -> Result<Box<dyn SpanPlanner>, PolicyError>;

    /// A text which names the policy and everything that its answers depend on: part of the key under which results are
    /// cached.
    fn identity(&self) -> String;
}

/// Decides where the spans of one layer begin. The first always begins at its first byte.
///
/// Its answers must not depend on anything but what it was told and asked.
pub trait SpanPlanner: Send {
    /// The layer begins, and with it the first span. Called once, before anything else.
    ///
    /// # Errors
    /// The policy's.
    fn start(&mut self) -> Result<Ask, PolicyError>;

    /// Shall a new span begin here? Asked at rising places.
    ///
    /// # Errors
    /// The policy's.
    fn decide(&mut self, at: &Candidate) -> Result<Decision, PolicyError>;

    /// An entry came up. Told in the archive's order.
    ///
    /// # Errors
    /// The policy's.
    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), PolicyError> {
        let _ = entry;
        Ok(())
    }

    /// Whether to tell [entries](SpanPlanner::entry).
    fn wants_entries(&self) -> bool {
        false
    }

    /// How many uncompressed bytes behind a candidate the planner would like to know before it decides. While a gzip layer
    /// is indexed it is then asked only when the next candidate was found and, up to [`MAX_LOOK_AHEAD`], so much
    /// was read. `None`: it decides at once.
    fn look_ahead(&self) -> Option<u64> {
        None
    }
}

/// No planner looks farther ahead, in uncompressed bytes.
pub const MAX_LOOK_AHEAD: u64 = 1 << 20;
