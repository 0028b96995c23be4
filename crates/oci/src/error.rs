//! The error of sources and sinks.
//!
//! A message says what was done and where; the cause is in the [`source`](std::error::Error::source) chain and is not
//! repeated, so print the whole chain. Narrow operations have narrow errors of their own in their modules.

use std::io;

use crate::containerd::ContainerdError;
use crate::digest::{Digest, VerifyError};
use crate::docker_daemon::DaemonError;
use crate::document::DocumentError;
use crate::limits::LimitError;
use crate::registry::RegistryError;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong between an image and this program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system said no.
    #[error("cannot {action} {place}")]
    Io {
        /// A verb: `read`, `rename`, …
        action: &'static str,
        /// The path or stream.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The bytes of a blob are not those its descriptor promises.
    #[error("a blob in {place} is damaged")]
    Verify {
        /// The image.
        place: String,
        /// Expected and actual.
        source: VerifyError,
    },
    /// A document cannot be understood.
    #[error("{document} in {place} cannot be used")]
    Document {
        /// Which document: its digest, or `index.json`.
        document: String,
        /// The image.
        place: String,
        /// Why.
        source: DocumentError,
    },
    /// A blob is referred to and is not there.
    #[error("{place} has no blob {digest}")]
    NoBlob {
        /// The image.
        place: String,
        /// What was looked for.
        digest: Digest,
    },
    /// A directory that is not an image, or not one this crate understands.
    #[error("{place} is not an OCI image layout: {why}")]
    NotALayout {
        /// The path or stream.
        place: String,
        /// Why.
        why: String,
    },
    /// An archive that is none of Docker's, or not one this crate understands.
    #[error("{place} is not a Docker archive: {why}")]
    NotADockerArchive {
        /// The path or stream.
        place: String,
        /// Why.
        why: String,
    },
    /// Something else than a WebAssembly component.
    #[error("{place} holds no WebAssembly component: {why}")]
    NoComponent {
        /// The image.
        place: String,
        /// Why.
        why: String,
    },
    /// A Docker archive with several images, or without the one asked for.
    #[error("{place} {}; it holds {}", which(wanted.as_deref()), images.join(", "))]
    WhichImage {
        /// The path or stream.
        place: String,
        /// The reference asked for.
        wanted: Option<String>,
        /// What can be asked for.
        images: Vec<String>,
    },
    /// The Docker daemon did not do what it was asked.
    #[error("cannot {action} {reference} of the Docker daemon at {address}")]
    Daemon {
        /// A verb: `read`, `load`.
        action: &'static str,
        /// The image.
        reference: String,
        /// The daemon.
        address: String,
        /// Why.
        source: Box<DaemonError>,
    },
    /// A place that is only read.
    #[error("{place} cannot be written: {why}")]
    ReadOnly {
        /// The place.
        place: String,
        /// Why.
        why: &'static str,
    },
    /// A tar archive is damaged.
    #[error("{place} is damaged at byte {offset}: {why}")]
    Archive {
        /// The path or stream.
        place: String,
        /// Where.
        offset: u64,
        /// Why.
        why: String,
    },
    /// A range that reaches beyond the blob.
    #[error("blob {digest} of {size} bytes in {place} has no bytes {offset} to {end}")]
    OutOfRange {
        /// The image.
        place: String,
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
        /// First byte asked for.
        offset: u64,
        /// One after the last byte asked for.
        end: u64,
    },
    /// Larger than this crate accepts.
    #[error("{place} is too large")]
    Limit {
        /// The image.
        place: String,
        /// Which limit.
        source: LimitError,
    },
    /// An earlier write failed in a way that cannot be undone, or a caller forgot a writer.
    #[error("{place} cannot be completed: {why}")]
    Incomplete {
        /// The destination.
        place: String,
        /// Why.
        why: String,
    },
    /// There is no such image.
    #[error("there is no image {place}")]
    NoSuchImage {
        /// What was looked for.
        place: String,
    },
    /// Something that is needed before any work could not be made ready.
    #[error("cannot set up {what}: {why}")]
    Setup {
        /// What.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// A registry did not do what was asked of it.
    #[error(transparent)]
    Registry(Box<RegistryError>),
    /// containerd cannot do what was asked.
    #[error(transparent)]
    Containerd(Box<ContainerdError>),
    /// The caller asked a writer that does not hash for a digest.
    #[error(
        "a blob for {place} was written without hashing: commit it with the digest that the caller computed"
    )]
    NotHashed {
        /// The destination.
        place: String,
    },
}

impl From<RegistryError> for Error {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

fn which(wanted: Option<&str>) -> String {
    wanted.map_or_else(
        || "holds several images, of which one has to be named".to_owned(),
        |wanted| format!("has no image {wanted:?}"),
    )
}

impl Error {
    /// For `map_err`: an I/O error with its context. A [`VerifyError`] inside becomes [`Error::Verify`], and an error of
    /// this type inside (a reader or writer over a network has nothing else to say it with) comes out as it was.
    pub fn io(action: &'static str, place: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let place = place.into();
        move |source| {
            let source = match source.downcast::<Self>() {
                Ok(own) => return own,
                Err(source) => source,
            };
            let verify = source
                .get_ref()
                .and_then(|e| e.downcast_ref::<VerifyError>())
                .cloned();
            match verify {
                Some(source) => Self::Verify { place, source },
                None => Self::Io {
                    action,
                    place,
                    source,
                },
            }
        }
    }
}

#[cfg(test)]
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
