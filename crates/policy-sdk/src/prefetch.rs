//! What a node fetches first, before anything asks for it.

use crate::{Entry, Layer, Plugin, Result};

/// Chooses what is fetched first.
pub trait Prefetch: Plugin {
    /// Chooses for a layer that was indexed. `spans` are the places where spans begin, in uncompressed bytes, rising from 0.
    ///
    /// # Errors
    /// The policy's.
    fn choose(&self, layer: &Layer, entries: &[Entry], spans: &[u64]) -> Result<Vec<Target>>;
}

/// A wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The spans of this file: an index into the entries.
    File(u32),
    /// This span, counted from 0.
    Span(u32),
}
