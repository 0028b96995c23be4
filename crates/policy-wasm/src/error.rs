//! Why a component cannot be used.

use sociable_policy::PolicyError;

/// Why a component cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The system has not what is needed to run components.
    #[error("components cannot be run here: {0}")]
    Engine(String),
    /// The bytes are no component.
    #[error("{place} is no WebAssembly component: {why}")]
    NoComponent {
        /// Where it came from.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// It wants what no policy gets.
    #[error(
        "{place} imports {import}, but a policy gets nothing but sociable:policy/log: build it without WASI"
    )]
    Import {
        /// Where it came from.
        place: String,
        /// What it wants.
        import: String,
    },
    /// It is no policy.
    #[error("{place} is a component, but no policy: it exports no {missing}")]
    NoPolicy {
        /// Where it came from.
        place: String,
        /// What is missing.
        missing: String,
    },
    /// It exports an interface with other functions or types than this program knows.
    #[error("{place} exports {interface}, but not as this program knows it: {why}")]
    Mismatch {
        /// Where it came from.
        place: String,
        /// The interface.
        interface: String,
        /// What is different.
        why: String,
    },
    /// The schema of its parameters is none.
    #[error("policy {policy}: its schema of parameters is wrong: {why}")]
    Schema {
        /// The policy.
        policy: String,
        /// What is wrong.
        why: String,
    },
    /// The parameters do not fit the schema.
    #[error("policy {policy}: parameters{at}: {why}; `sociable policy info` shows what it takes")]
    Parameters {
        /// The policy.
        policy: String,
        /// Which of them, after a space.
        at: String,
        /// What is wrong.
        why: String,
    },
    /// It did not answer.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}
