//! What became of a layer.

use serde::{Deserialize, Serialize};
use sociable_oci::Digest;

use crate::prefetch::SpanRange;

/// Why a layer is not indexed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SkipReason {
    /// It is quicker to fetch it whole.
    #[error("{size} bytes are less than the minimum of {minimum} bytes (--min-layer-size)")]
    TooSmall {
        /// Its size, compressed bytes.
        size: u64,
        /// The limit.
        minimum: u64,
    },
    /// Compressed in a way that cannot be entered in the middle.
    #[error(
        "it is compressed with {format}, for which SOCI has no index (gzip and plain tar can be indexed)"
    )]
    Format {
        /// What it is compressed with, or its media type.
        format: String,
    },
    /// A policy decided against it.
    #[error("{why} (says policy {policy})")]
    Policy {
        /// The policy.
        policy: String,
        /// Its reason.
        why: String,
    },
    /// A layer that lives elsewhere and is not in the source.
    #[error("it is a foreign layer, and not in the source")]
    Absent,
}

/// Where a zTOC came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It was made: the layer was read.
    Layer,
    /// From the cache.
    Cache,
    /// From a SOCI index that the image, or the destination, had already.
    Index,
}

/// An indexed layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedLayer {
    /// Digest of its zTOC.
    pub ztoc: Digest,
    /// Size of its zTOC, bytes.
    pub ztoc_size: u64,
    /// How many spans it has.
    pub spans: usize,
    /// How many tar entries it has.
    pub entries: usize,
    /// Bytes of its tar, up to the end marker.
    pub uncompressed_size: u64,
    /// Whether it has extended attributes or opaque directories.
    pub needs_xattrs: bool,
    /// Where the zTOC came from.
    pub origin: Origin,
    /// Spans of each path to prefetch, in the order of
    /// [`IndexSettings::prefetch`](crate::IndexSettings::prefetch).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefetch: Vec<Option<SpanRange>>,
    /// Spans that a policy wants to have prefetched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<SpanRange>,
}

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerOutcome {
    /// It was indexed.
    Indexed(IndexedLayer),
    /// It was not.
    Skipped(SkipReason),
    /// It was only to be copied.
    Copied,
}
