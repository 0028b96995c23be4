//! Why a layer cannot be packed.

use std::io;

use sociable_flate::DeflateError;
use sociable_policy::PolicyError;
use sociable_tar::WriteError;
use sociable_ztoc::CheckError;

use super::SourceError;
use crate::IndexError;

/// Why a layer cannot be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// An entry could not be had, or its content not be opened.
    #[error(transparent)]
    Source(SourceError),
    /// An entry could not be written, or its content was not what its header announced.
    #[error(transparent)]
    Tar(#[from] WriteError),
    /// An entry that a zTOC cannot hold.
    #[error(transparent)]
    Entry(#[from] IndexError),
    /// A tar to be packed could not be read.
    #[error("reading the tar at byte {offset}: {source}")]
    Read {
        /// Bytes read before.
        offset: u64,
        /// What happened.
        source: io::Error,
    },
    /// The blob could not be written.
    #[error("writing the layer at byte {offset}: {source}")]
    Write {
        /// Compressed bytes written before.
        offset: u64,
        /// What happened.
        source: io::Error,
    },
    /// There is no such compression level.
    #[error("compression level {0}: there are 0 to 9")]
    Level(u8),
    /// There is no such level of zstd.
    #[error("zstd's level {0}: there are 1 to 19")]
    Zstd(u8),
    /// The layer exceeds a [limit](crate::Limits).
    #[error("the layer has more than {limit} {what}; {}", advice(.what))]
    Limit {
        /// Of what there is too much.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The index would break a rule that the snapshotter relies on.
    #[error("soci-snapshotter could not read an index of this layer: {0}")]
    Unreadable(#[from] CheckError),
    /// A policy did not answer.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A piece could not be compressed.
    #[error("compressing the layer: {0}")]
    Deflate(#[from] DeflateError),
    /// The system gives no thread.
    #[error("starting a thread: {0}")]
    Thread(#[source] io::Error),
    /// A thread that compresses has ended before its work.
    #[error("a compressing thread has ended early")]
    Worker,
}

fn advice(what: &str) -> &'static str {
    if what == "spans" {
        "use a larger span size"
    } else {
        "raise the limit to go on"
    }
}
