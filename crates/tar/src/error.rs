//! What can be wrong with an archive, and where.

use std::fmt;

use bstr::BString;

/// An archive that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TarError {
    /// Where the header block stands that could not be read, or whose data could not: its first
    /// byte, counted in the uncompressed stream.
    pub offset: u64,
    /// The entry's name, where it is known.
    pub name: Option<BString>,
    /// What is wrong.
    #[source]
    pub kind: TarErrorKind,
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tar header at byte {}", self.offset)?;
        match &self.name {
            Some(name) => write!(f, " ({name:?})"),
            None => Ok(()),
        }
    }
}

/// What is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TarErrorKind {
    /// The block is no header: its checksum is not the sum of its bytes.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// A block of zeros, half of the end-of-archive marker, before a block of something else.
    #[error("a single block of zeros stands between entries")]
    LoneZeroBlock,
    /// A field of the header is neither octal nor base-256, or does not fit 64 bits.
    #[error("the header's field `{0}` is no number")]
    Number(&'static str),
    /// The size of an entry that has data is negative.
    #[error("the entry's size is negative")]
    NegativeSize,
    /// A PAX extended header is not a sequence of `LENGTH KEY=VALUE\n`.
    #[error("a PAX record is malformed")]
    PaxRecord,
    /// A PAX record with a meaning has a value without one.
    #[error("the PAX record {0:?} has an invalid value")]
    PaxValue(BString),
    /// The map of a sparse file is malformed, or does not describe a file of that size.
    #[error("the sparse map is invalid")]
    SparseMap,
    /// The data of a sparse entry end before the map at their beginning does.
    #[error("the sparse map is cut short by the end of the entry's data")]
    SparseMapCut,
    /// The map of a sparse file takes more than 1 MiB.
    #[error("the sparse map is longer than 1 MiB")]
    SparseMapTooLong,
    /// A PAX extended header, or a GNU long name or link, takes more than 1 MiB.
    #[error("the extension header is longer than 1 MiB")]
    ExtensionTooLong,
    /// The stream ends in the middle of a header or of data.
    #[error("the archive is cut short")]
    UnexpectedEof,
    /// More entries than [`Limits::entries`](crate::Limits::entries).
    #[error("the archive has more than {0} entries")]
    TooManyEntries(u64),
    /// More bytes of names and records than [`Limits::metadata`](crate::Limits::metadata).
    #[error("the names and records of the archive take more than {0} bytes")]
    TooMuchMetadata(u64),
}

impl TarErrorKind {
    /// The text of the error that Go's `archive/tar` gives for the same bytes. `None` for our own
    /// [limits](crate::Limits), which Go does not have.
    #[must_use]
    pub fn reference_message(&self) -> Option<&'static str> {
        match self {
            Self::Checksum
            | Self::LoneZeroBlock
            | Self::Number(_)
            | Self::NegativeSize
            | Self::PaxRecord
            | Self::PaxValue(_)
            | Self::SparseMap => Some("archive/tar: invalid tar header"),
            Self::SparseMapTooLong => Some("archive/tar: sparse map too long"),
            Self::ExtensionTooLong => Some("archive/tar: header field too long"),
            Self::SparseMapCut | Self::UnexpectedEof => Some("unexpected EOF"),
            Self::TooManyEntries(_) | Self::TooMuchMetadata(_) => None,
        }
    }
}
