//! Why a layer cannot be indexed.

use std::io;

use bstr::BString;
use sociable_flate::InflateError;
use sociable_policy::PolicyError;
use sociable_tar::TarError;
use sociable_ztoc::CheckError;

/// Why a layer cannot be indexed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The layer could not be read.
    #[error("reading the layer at byte {offset}: {source}")]
    Read {
        /// Compressed bytes read before.
        offset: u64,
        /// What happened.
        source: io::Error,
    },
    /// The layer is no gzip stream, or a damaged one.
    #[error("the layer is not valid gzip at byte {offset}: {source}")]
    Inflate {
        /// Compressed bytes before the place, roughly.
        offset: u64,
        /// What is wrong.
        source: InflateError,
    },
    /// The layer is compressed in a way that cannot be entered in the middle.
    #[error(
        "the layer is compressed with {0}, for which there is no index; gzip and plain tar can be indexed"
    )]
    Format(&'static str),
    /// The gzip stream stops in the middle.
    #[error("the gzip stream ends in the middle, after {offset} bytes")]
    Truncated {
        /// Size of what there is, compressed bytes.
        offset: u64,
    },
    /// Something that is no gzip member follows the gzip stream.
    #[error("byte {offset} and what follows it is not a gzip member: {why}")]
    TrailingGarbage {
        /// Compressed bytes before it.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A policy did not answer.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The tar inside is malformed.
    #[error("the layer is not a valid tar: {0}")]
    Tar(#[from] TarError),
    /// A tar entry of a type that a zTOC cannot hold.
    #[error(
        "unsupported input tar entry '{}' ({name:?}, header at byte {offset} of the tar): {}",
        .typeflag.escape_ascii(), explain(*.typeflag)
    )]
    UnsupportedEntry {
        /// The type as it stands in the header.
        typeflag: u8,
        /// The entry's name.
        name: BString,
        /// Where its header is, uncompressed bytes.
        offset: u64,
    },
    /// A sparse file in PAX form, which the snapshotter cannot read back.
    #[error(
        "{name:?} (header at byte {offset} of the tar) is a sparse file: soci-snapshotter cannot \
         read such files through an index; pack the layer without --sparse, or force the index"
    )]
    Sparse {
        /// The entry's name.
        name: BString,
        /// Where its header is, uncompressed bytes.
        offset: u64,
    },
    /// An entry without data whose header states a size below zero.
    #[error("{name:?} (header at byte {offset} of the tar) has a size of {size} bytes")]
    NegativeSize {
        /// The entry's name.
        name: BString,
        /// Where its header is, uncompressed bytes.
        offset: u64,
        /// What the header says.
        size: i64,
    },
    /// The index would break a rule that the snapshotter relies on.
    #[error("soci-snapshotter could not read an index of this layer: {0}")]
    Unreadable(#[from] CheckError),
    /// A plain tar cannot be cut into spans of no size.
    #[error("the span size of an uncompressed layer must be at least 1 byte")]
    SpanSize,
    /// The system gives no thread.
    #[error("starting a thread: {0}")]
    Thread(#[source] io::Error),
    /// The layer exceeds a [limit](crate::Limits).
    #[error("the layer has more than {limit} {what} (at byte {offset})")]
    Limit {
        /// Of what there is too much.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// Compressed bytes read so far.
        offset: u64,
    },
}

fn explain(typeflag: u8) -> &'static str {
    match typeflag {
        b'g' => "global PAX headers cannot be indexed",
        b'S' => "GNU sparse files cannot be indexed",
        b'7' => "contiguous files cannot be indexed",
        _ => "only files, directories, links, devices and named pipes can be indexed",
    }
}
