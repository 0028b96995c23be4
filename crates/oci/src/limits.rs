//! Limits on everything that comes from outside. Far above what real images need, far below what hurts.

/// Bytes of a document (index, manifest, configuration).
pub const MAX_DOCUMENT: u64 = 8 << 20;
/// Layers of one manifest.
pub const MAX_LAYERS: usize = 1000;
/// Entries of one index.
pub const MAX_INDEX_ENTRIES: usize = 4096;
/// Indexes inside indexes.
pub const MAX_DEPTH: usize = 8;
/// Documents that one walk visits.
pub const MAX_DOCUMENTS: usize = 16_384;
/// Entries of one archive.
pub const MAX_ARCHIVE_ENTRIES: u64 = 100_000;
/// Bytes of a name in an archive that anybody could mean: beyond that a file is passed over.
pub const MAX_ARCHIVE_NAME: usize = 1024;
/// Bytes of one PAX or GNU long name header in an archive.
pub const MAX_TAR_EXTENSION: u64 = 1 << 20;

/// Something from outside is larger than this crate accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {actual} is over the limit of {limit}")]
pub struct LimitError {
    /// What is limited, with its unit.
    pub what: &'static str,
    /// What there is (or how far it was counted).
    pub actual: u64,
    /// What is accepted.
    pub limit: u64,
}

pub(crate) fn check(what: &'static str, actual: u64, limit: u64) -> Result<(), LimitError> {
    if actual > limit {
        Err(LimitError {
            what,
            actual,
            limit,
        })
    } else {
        Ok(())
    }
}
