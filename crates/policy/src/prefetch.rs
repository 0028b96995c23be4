//! What a node fetches first, before anything asks for it.

use std::fmt;

use crate::{Entry, Layer, PolicyError};

/// A wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The spans of this file: an index into the entries.
    File(u32),
    /// This span, counted from 0.
    Span(u32),
}

/// Chooses what is fetched first.
pub trait PrefetchPolicy: Send + Sync + fmt::Debug {
    /// Chooses for a layer with these entries, whose spans begin at these places: uncompressed bytes, rising from 0.
    ///
    /// # Errors
    /// The policy's.
    fn choose(
        &self,
        layer: &Layer,
        entries: &[Entry<'_>],
        spans: &[u64],
    ) -> Result<Vec<Target>, PolicyError>;

    /// Names the policy and everything that its answers depend on.
    fn identity(&self) -> String;
}
