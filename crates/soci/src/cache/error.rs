//! Why the cache does not work.

use std::io;
use std::path::{Path, PathBuf};

use super::MAX_HEADER;

/// Why the cache does not work. The cause is in the source chain and is not repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The operating system said no.
    #[error("the cache of zTOCs is unusable: cannot {action} {}", place.display())]
    Io {
        /// A verb: `create`, `write to`, …
        action: &'static str,
        /// The directory or file.
        place: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The zTOC alone is larger than the cache may be.
    #[error("the zTOC is not cached: it does not fit into the cache's limit of {limit} bytes")]
    TooLarge {
        /// How many bytes the cache may have.
        limit: u64,
    },
    /// Key and header are too long.
    #[error(
        "the zTOC is not cached: its header would have {length} bytes, the limit is {MAX_HEADER}"
    )]
    HeaderTooLong {
        /// How many bytes it would have.
        length: usize,
    },
    /// The caller could not give the zTOC's bytes.
    #[error("the zTOC is not cached: its bytes could not be produced")]
    Content(#[source] io::Error),
}

impl CacheError {
    /// For `map_err`.
    pub(super) fn io(action: &'static str, place: &Path) -> impl FnOnce(io::Error) -> Self {
        let place = place.to_owned();
        move |source| Self::Io {
            action,
            place,
            source,
        }
    }
}
