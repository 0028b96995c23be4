//! Which layers get an index.

use crate::{Layer, Plugin, Result};

/// Selects layers.
pub trait Selection: Plugin {
    /// Shall this layer be indexed?
    ///
    /// # Errors
    /// The policy's.
    fn select(&self, layer: &Layer) -> Result<Verdict>;
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether to index the layer.
    pub index: bool,
    /// Why, in a few words: it is shown.
    pub reason: String,
}
