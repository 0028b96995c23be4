//! Which layers get an index.

use std::fmt;

use crate::{Layer, PolicyError};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether to index the layer.
    pub index: bool,
    /// Why, in a few words: it is shown.
    pub reason: String,
}

/// Selects layers.
pub trait SelectionPolicy: Send + Sync + fmt::Debug {
    /// Shall this layer be indexed?
    ///
    /// # Errors
    /// The policy's.
    fn select(&self, layer: &Layer) -> Result<Verdict, PolicyError>;

    /// Names the policy and everything that its answers depend on.
    fn identity(&self) -> String;
}
