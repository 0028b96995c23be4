//! The rules that readers of a zTOC rely on.
//!
//! They are those of soci-snapshotter v0.16: `fs/span-manager` (counts, rising offsets),
//! `ztoc.Unmarshal` (order of entries), and of zlib (leftover bits). A layer's own bytes are
//! checked by [`LayerReader::open`](crate::LayerReader::open) and span by span while reading.

use bstr::BString;

use crate::format::TAR_BLOCK;
use crate::{Spans, Ztoc};

/// A rule that a zTOC breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// A gzip layer has no checkpoint.
    #[error("there is no checkpoint")]
    NoCheckpoint,
    /// There is not one digest for each checkpoint.
    #[error("there are {checkpoints} checkpoints and {digests} digests")]
    DigestCount {
        /// How many checkpoints.
        checkpoints: usize,
        /// How many digests.
        digests: usize,
    },
    /// An uncompressed layer's spans would have no size.
    #[error("the span size is 0")]
    SpanSize,
    /// The first span does not yield the tar's first byte.
    #[error("the first span starts at uncompressed byte {0}, not at 0")]
    FirstSpan(u64),
    /// No gzip header fits in front of the first span.
    #[error("the first span starts at compressed byte {0}, where no gzip header fits before it")]
    NoHeader(u64),
    /// More leftover bits than a byte has.
    #[error("span {span} claims {bits} bits of the byte before it; 0 to 7 are possible")]
    Bits {
        /// Number of the span, from 0.
        span: usize,
        /// What it claims.
        bits: u8,
    },
    /// A span has no compressed bytes, or begins behind the next one's beginning.
    #[error("span {span} has the compressed bytes {start} to {end}: offsets must rise")]
    CompressedOrder {
        /// Number of the span, from 0.
        span: usize,
        /// Where it starts.
        start: u64,
        /// Where it ends.
        end: u64,
    },
    /// A span yields nothing, or begins behind the next one's beginning.
    #[error("span {span} has the uncompressed bytes {start} to {end}: offsets must rise")]
    UncompressedOrder {
        /// Number of the span, from 0.
        span: usize,
        /// Where it starts.
        start: u64,
        /// Where it ends.
        end: u64,
    },
    /// An entry's header overlaps the entry before it.
    #[error(
        "entry {index} ({name:?}) has its data at byte {offset} of the tar, but the entry before \
         it goes up to {previous_end}"
    )]
    EntryOrder {
        /// Number of the entry, from 0.
        index: usize,
        /// Its name.
        name: BString,
        /// Where its data starts.
        offset: u64,
        /// Where the entry before ends, rounded up to whole tar blocks.
        previous_end: u64,
    },
    /// There is no room for an entry's header before its data.
    #[error(
        "entry {index} ({name:?}) has its data at byte {offset} of the tar: no room for its header"
    )]
    NoEntryHeader {
        /// Number of the entry, from 0.
        index: usize,
        /// Its name.
        name: BString,
        /// Where its data starts.
        offset: u64,
    },
    /// An entry ends beyond the largest possible offset.
    #[error("entry {index} ({name:?}) of {size} bytes ends beyond any possible offset")]
    EntrySize {
        /// Number of the entry, from 0.
        index: usize,
        /// Its name.
        name: BString,
        /// Its size.
        size: u64,
    },
}

impl Ztoc {
    /// Checks every rule that can be checked without the layer.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Result<(), CheckError> {
        self.check_spans()?;
        self.check_entries()
    }

    fn check_spans(&self) -> Result<(), CheckError> {
        let spans = match &self.spans {
            Spans::Gzip(spans) => spans,
            Spans::Uncompressed(spans) if spans.span_size == 0 => return Err(CheckError::SpanSize),
            Spans::Uncompressed(_) => return Ok(()),
        };
        let (checkpoints, digests) = (spans.checkpoints.len(), spans.digests.len());
        if checkpoints != digests {
            return Err(CheckError::DigestCount {
                checkpoints,
                digests,
            });
        }
        let first = spans.checkpoints.first().ok_or(CheckError::NoCheckpoint)?;
        if first.uncompressed != 0 {
            return Err(CheckError::FirstSpan(first.uncompressed));
        }
        // RFC 1952, section 2.3: ten bytes and optional fields, always whole bytes.
        if first.compressed < 10 || first.bits != 0 {
            return Err(CheckError::NoHeader(first.compressed));
        }
        for (span, checkpoint) in spans.checkpoints.iter().enumerate() {
            if checkpoint.bits > 7 {
                return Err(CheckError::Bits {
                    span,
                    bits: checkpoint.bits,
                });
            }
            let next = spans.checkpoints.get(span + 1);
            let start = checkpoint.first_byte();
            let end = next.map_or(self.compressed_size, |next| next.compressed);
            if start >= end {
                return Err(CheckError::CompressedOrder { span, start, end });
            }
            if let Some(next) = next
                && checkpoint.uncompressed >= next.uncompressed
            {
                let (start, end) = (checkpoint.uncompressed, next.uncompressed);
                return Err(CheckError::UncompressedOrder { span, start, end });
            }
        }
        Ok(())
    }

    fn check_entries(&self) -> Result<(), CheckError> {
        let mut previous_end = 0u64;
        for (index, entry) in self.entries.iter().enumerate() {
            let name = || entry.name.clone();
            let offset = entry.offset;
            if offset < previous_end {
                return Err(CheckError::EntryOrder {
                    index,
                    name: name(),
                    offset,
                    previous_end,
                });
            }
            if offset - previous_end < TAR_BLOCK {
                return Err(CheckError::NoEntryHeader {
                    index,
                    name: name(),
                    offset,
                });
            }
            previous_end = entry
                .end()
                .filter(|&end| i64::try_from(end).is_ok())
                .ok_or_else(|| CheckError::EntrySize {
                    index,
                    name: name(),
                    size: entry.size,
                })?;
        }
        Ok(())
    }
}
