//! What can go wrong.

use std::io;
use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why nothing was recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The root to be traced cannot be read.
    #[error("{}: {source}", .path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The image to be traced cannot be read.
    #[error(transparent)]
    Image(#[from] sociable_soci::Error),
    /// A layer of the image cannot be looked into, so its files are not known.
    #[error("{0}")]
    Unseen(String),
    /// The image has no index, and so no requests for ranges.
    #[error("no layer of the image has a zTOC")]
    NoZtocs,
    /// The thread that reads the image is gone.
    #[error("the thread that reads the image has ended")]
    Gone,
    /// The root does not know who shall run the command.
    #[error("there is no {what} {name:?} in the root's /etc/passwd and /etc/group")]
    NoUser {
        /// User, or group.
        what: &'static str,
        /// As it was asked for.
        name: String,
    },
    /// This process may not make mounts.
    #[error("no right to {what}: {source}")]
    Denied {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A step on the way to the command's surroundings failed.
    #[error("cannot {what}: {source}")]
    Step {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The root cannot be mounted there.
    #[error("cannot mount on {}: {source}", .on.display())]
    Mount {
        /// The mount point.
        on: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The command did not start.
    #[error("{program:?} does not start in the root: {source}")]
    Command {
        /// Its program.
        program: String,
        /// Why not.
        source: io::Error,
    },
}

impl From<sociable_soci::tree::TreeError> for Error {
    fn from(error: sociable_soci::tree::TreeError) -> Self {
        Self::Image(error.into())
    }
}

/// For `map_err`: a step, told apart by whether rights are what is missing.
pub(crate) fn step<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| {
        let source = error.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Error::Denied { what, source },
            _ => Error::Step { what, source },
        }
    }
}
