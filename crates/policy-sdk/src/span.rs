//! Where spans begin.

use crate::{Entry, Layer, Plugin, Result};

/// Decides where spans begin. A span is what is fetched and inflated at once; a table of contents costs some 32,800 bytes for
/// each. The first span of a layer always begins at its first byte.
pub trait Span: Plugin {
    /// Decides about one layer.
    type Planner: Planner;

    /// A layer begins, and with it the first span.
    ///
    /// # Errors
    /// The policy's.
    fn start(&self, layer: &Layer) -> Result<(Self::Planner, Opening)>;
}

/// Decides where the spans of one layer begin.
pub trait Planner: 'static {
    /// Shall a span begin here? Asked at rising places. `entries` are those that came up since the last call, in the archive's
    /// order.
    ///
    /// # Errors
    /// The policy's.
    fn decide(&mut self, entries: &[Entry], at: &Candidate) -> Result<Decision>;
}

/// A place at which a span can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// In bytes of the compressed blob. 0 while a layer is packed: it is not known yet.
    pub compressed: u64,
    /// In bytes of the uncompressed tar.
    pub uncompressed: u64,
    /// Uncompressed bytes since the current span began.
    pub since_cut: u64,
    /// The next place at which a span could begin, in uncompressed bytes; [`uncompressed`](Self::uncompressed) where that is not
    /// known (while packing, and without [`look_ahead`](Opening::look_ahead)). What lies between belongs together in any case.
    pub next: u64,
    /// How far the layer is known, in uncompressed bytes, at least to `next`: all entries whose headers end before it were told.
    pub known: u64,
}

/// When to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// After so many uncompressed bytes, at least 1: at the first candidate from there on or, while packing, exactly there.
    pub after: u64,
    /// Before that, too, where an entry begins (while packing), or at every candidate (while indexing).
    pub at_entries: bool,
}

/// How a policy wants to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// When to ask for the first time.
    pub ask: Ask,
    /// While a layer is indexed: how many uncompressed bytes behind a candidate to know before deciding, up to 1 MiB (what is
    /// more counts as that). None: decide at once.
    pub look_ahead: Option<u64>,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Begin a span here.
    pub cut: bool,
    /// When to ask again.
    pub ask: Ask,
}
