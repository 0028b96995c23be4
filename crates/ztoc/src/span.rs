//! Spans: the pieces in which a layer's bytes can be fetched and decompressed on their own.

use std::fmt;
use std::ops::Range;

use crate::Sha256;
use crate::format::WINDOW_SIZE;

/// The 32 KiB of uncompressed output before a checkpoint; zeros stand for what is before the
/// stream's beginning.
#[derive(Clone, PartialEq, Eq)]
pub struct Window(Box<[u8; WINDOW_SIZE]>);

impl Window {
    /// A window that ends with the last [`WINDOW_SIZE`] bytes of `output`, zero-filled in front.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "the vector has the array's size")]
    pub fn ending_with(output: &[u8]) -> Self {
        let output = &output[output.len().saturating_sub(WINDOW_SIZE)..];
        let mut window = vec![0; WINDOW_SIZE];
        window[WINDOW_SIZE - output.len()..].copy_from_slice(output);
        Self(window.try_into().expect("it has the window's size"))
    }

    /// The window's bytes, oldest first.
    #[must_use]
    pub fn bytes(&self) -> &[u8; WINDOW_SIZE] {
        &self.0
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window({})", Sha256::of(&self.0[..]))
    }
}

/// A deflate block boundary at which decompression can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Offset in the compressed blob of the first byte that belongs to the span alone.
    pub compressed: u64,
    /// Offset in the uncompressed tar of the first byte the span yields.
    pub uncompressed: u64,
    /// How many bits (0 to 7, the highest) of the byte before `compressed` belong to the span.
    pub bits: u8,
    /// What decompression needs to know of the output before the span.
    pub window: Window,
}

impl Checkpoint {
    /// First compressed byte needed to start here: a byte earlier when bits of it are used.
    #[must_use]
    pub fn first_byte(&self) -> u64 {
        self.compressed.saturating_sub(u64::from(self.bits != 0))
    }
}

/// Spans of a gzip layer. Their sizes may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GzipSpans {
    /// The span size asked for, in uncompressed bytes. Readers do not use it.
    pub span_size: i64,
    /// One checkpoint a span, in order; the first follows the gzip header.
    pub checkpoints: Vec<Checkpoint>,
    /// Digest of each span's compressed bytes, `first_byte()` up to the next span's `compressed`.
    pub digests: Vec<Sha256>,
    /// The first checkpoint is not written, as in SOCI's first releases: it was always the one at
    /// compressed byte 10. Never set on what is built today.
    pub first_is_implied: bool,
}

/// Spans of an uncompressed layer: all of the same size, but for the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarSpans {
    /// Size of a span in bytes, positive.
    pub span_size: u64,
    /// Digest of each span's bytes.
    pub digests: Vec<Sha256>,
}

/// Where a layer's bytes can be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spans {
    /// The layer is gzip.
    Gzip(GzipSpans),
    /// The layer is a plain tar.
    Uncompressed(TarSpans),
}

/// One span's place in the blob and in the tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The bytes of the blob to fetch, and to check against the digest.
    pub compressed: Range<u64>,
    /// The bytes of the uncompressed tar it yields. For the last gzip span the end is the zTOC's
    /// `uncompressed_size`, while the stream may go on behind the end-of-archive marker.
    pub uncompressed: Range<u64>,
    /// SHA-256 of the compressed bytes.
    pub digest: Sha256,
}

impl Spans {
    /// How many spans there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.digests().len()
    }

    /// Whether there is none: the layer is an empty plain tar.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.digests().is_empty()
    }

    /// The spans' digests, in order.
    #[must_use]
    pub fn digests(&self) -> &[Sha256] {
        match self {
            Self::Gzip(spans) => &spans.digests,
            Self::Uncompressed(spans) => &spans.digests,
        }
    }
}

impl crate::Ztoc {
    /// Span number `index`, counted from 0. `None` when there are not so many.
    #[must_use]
    pub fn span(&self, index: usize) -> Option<Span> {
        let digest = *self.spans.digests().get(index)?;
        let (compressed, uncompressed) = match &self.spans {
            Spans::Gzip(spans) => {
                let this = spans.checkpoints.get(index)?;
                let next = spans.checkpoints.get(index + 1);
                (
                    this.first_byte()..next.map_or(self.compressed_size, |next| next.compressed),
                    this.uncompressed
                        ..next.map_or(self.uncompressed_size.max(this.uncompressed), |next| {
                            next.uncompressed
                        }),
                )
            }
            Spans::Uncompressed(spans) => {
                let start = spans.span_size.checked_mul(index as u64)?;
                let end = start
                    .saturating_add(spans.span_size)
                    .min(self.compressed_size);
                (start..end, start..end)
            }
        };
        Some(Span {
            compressed,
            uncompressed,
            digest,
        })
    }

    /// Where a span begins, in uncompressed bytes; 0 for one that is not there.
    #[must_use]
    pub fn span_start(&self, span: usize) -> u64 {
        match &self.spans {
            Spans::Gzip(spans) => spans.checkpoints.get(span).map_or(0, |c| c.uncompressed),
            Spans::Uncompressed(spans) => (span as u64).saturating_mul(spans.span_size),
        }
    }

    /// The number of the span that yields the uncompressed byte `offset`: the last span that
    /// starts at it or before. Offsets behind the end give the last span.
    #[must_use]
    pub fn span_of(&self, offset: u64) -> usize {
        match &self.spans {
            Spans::Gzip(spans) => {
                let after = spans
                    .checkpoints
                    .partition_point(|c| c.uncompressed <= offset);
                after.saturating_sub(1)
            }
            Spans::Uncompressed(spans) => {
                let span = offset.checked_div(spans.span_size).unwrap_or(0);
                usize::try_from(span)
                    .unwrap_or(usize::MAX)
                    .min(spans.digests.len().saturating_sub(1))
            }
        }
    }
}
