//! What goes wrong with a policy.

/// A policy that did not answer, or not as it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy {policy}: {function}: {why}")]
pub struct PolicyError {
    /// Which policy, with its version.
    pub policy: String,
    /// What was asked.
    pub function: &'static str,
    /// What happened, and what to do about it.
    pub why: String,
}

impl PolicyError {
    /// An error.
    pub fn new(policy: impl Into<String>, function: &'static str, why: impl Into<String>) -> Self {
        Self {
            policy: policy.into(),
            function,
            why: why.into(),
        }
    }
}
