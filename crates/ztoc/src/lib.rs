//! The zTOC: a table of contents of one compressed image layer.
//!
//! [`format`](mod@format) documents the format, byte by byte; no other page is needed.
//!
//! * [`Ztoc`] is the content: [`Entry`]s of the layer's tar, and [`Spans`] in which the compressed
//!   bytes can be fetched and decompressed on their own.
//! * [`Ztoc::encode`] writes the bytes that the SOCI tools write for the same content.
//! * [`Ztoc::decode`] reads any bytes without panicking and [checks](Ztoc::check) every rule that
//!   the snapshotter relies on.
//! * [`LayerReader`] reads files of a layer through its zTOC, fetching only the spans they are in.
//!
//! What enters: bytes and plain values. What leaves: the same. What must never be done here:
//! reading tar headers, opening files, speaking to the network, deciding where spans begin.

pub mod check;
pub mod decode;
pub mod encode;
mod entry;
mod flatbuffer;
pub mod format;
pub mod read;
mod sha256;
mod span;
mod time;

pub use check::CheckError;
pub use decode::DecodeError;
pub use encode::{EncodeError, Encoded};
pub use entry::{Entry, EntryKind};
pub use read::{Cost, LayerReader, ReadError, ReadRange};
pub use sha256::{ParseSha256Error, Sha256};
pub use span::{Checkpoint, GzipSpans, Span, Spans, TarSpans, Window};
pub use time::Time;

/// A layer's table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ztoc {
    /// Who built it; free text, part of the bytes and so of the digest.
    pub build_tool_identifier: bstr::BString,
    /// Size of the layer blob as stored, in bytes.
    pub compressed_size: u64,
    /// Bytes of the uncompressed tar up to and including its end-of-archive marker. What follows
    /// the marker (padding of the tar to whole records) is not counted.
    pub uncompressed_size: u64,
    /// The tar's entries, in the order of the archive.
    pub entries: Vec<Entry>,
    /// Where decompression can start.
    pub spans: Spans,
}
