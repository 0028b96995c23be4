//! What goes wrong in a test.

use std::io;

use sociable_policy::builtin::BuiltinError;
use sociable_policy::set::SetError;
use sociable_policy::spec::SpecError;
use sociable_policy_wasm::LoadError;
use sociable_ztoc::ReadError;

/// Why there is nothing to be tested: often what a test wants to see.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A component cannot be used.
    #[error(transparent)]
    Load(Box<LoadError>),
    /// A policy that is built in cannot be used.
    #[error(transparent)]
    BuiltIn(#[from] BuiltinError),
    /// Parameters are no JSON object.
    #[error(transparent)]
    Parameters(#[from] SpecError),
    /// Two policies decide the same.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The engine refuses: a policy failed, or answered what cannot be.
    #[error("{}", sociable_soci::chain(&**.0))]
    Engine(Box<sociable_soci::Error>),
    /// A tar cannot hold an entry.
    #[error(transparent)]
    Tree(Box<sociable_tar::WriteError>),
    /// A file cannot be read or written.
    #[error("{place}")]
    Io {
        /// Which.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The policy decided against an index.
    #[error("the layer has no index: {0}")]
    NoIndex(String),
    /// The table of contents cannot be read: a fault of Sociable's, whatever the policy.
    #[error(transparent)]
    Ztoc(Box<sociable_ztoc::DecodeError>),
    /// The layer has no such file.
    #[error("the layer has no file {0}")]
    NoFile(String),
    /// A file cannot be read through the index: a fault of Sociable's, whatever the policy.
    #[error("{path} cannot be read through the index")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        source: Box<ReadError>,
    },
    /// Files are not what they were: a fault of Sociable's, whatever the policy.
    #[error("{0} is not what was packed")]
    Changed(String),
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        Self::Load(Box::new(error))
    }
}

impl From<sociable_soci::Error> for Error {
    fn from(error: sociable_soci::Error) -> Self {
        Self::Engine(Box::new(error))
    }
}

impl Error {
    pub(crate) fn io(place: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let place = place.into();
        move |source| Self::Io { place, source }
    }
}
