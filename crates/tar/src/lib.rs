//! Tar, as image layers use it and as Go's `archive/tar` reads it.
//!
//! A layer's table of contents is made with Go's tar reader by everybody else, and the snapshotter
//! parses each header with it again before it serves a file. So there is exactly one right answer
//! for any bytes, including bytes that are no tar: Go's. This crate gives that answer.
//!
//! * [`header`] documents the formats, byte by byte: V7, USTAR, STAR, GNU, PAX, and three kinds of
//!   sparse files. [`numeric`] and [`pax`] are their two encodings of values.
//! * [`Reader`] takes an uncompressed stream in pieces of any size and reports each [`Entry`]: what
//!   Go's `Next` returns, together with the positions in the stream that a table of contents needs.
//! * [`TarWriter`] writes entries the same way every time, and says for each the [`Entry`] that
//!   [`Reader`] would report, so that nobody has to parse what was just written.
//! * [`walk`] lists a directory in the order in which it should be packed; [`diff`] lists what one has changed of another.
//!
//! ```
//! use sociable_tar::{Header, Kind, Limits, Reader, TarWriter};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut writer = TarWriter::new(Vec::new());
//! let (written, mut data) = writer.entry(&Header::new("hello.txt", Kind::File { size: 5 }))?;
//! data.copy_from(&mut &b"hello"[..])?;
//! let archive = writer.finish()?;
//!
//! let mut reader = Reader::new(Limits::default());
//! let mut entries = Vec::new();
//! for piece in archive.chunks(100) {
//!     reader.feed(piece, &mut |entry| entries.push(entry))?;
//! }
//! assert_eq!(reader.finish()?, 512 + 512 + 1024);
//! assert_eq!(entries, [written]);
//! # Ok(())
//! # }
//! ```
//!
//! **What enters:** bytes of a tar in any pieces, hostile or not; for [`walk`], a directory that
//! is trusted not to change while it is read (a change is noticed where it matters: an opened file
//! that is not the file listed, contents longer or shorter than announced).
//! **What leaves:** entries, bytes of a tar, positions, and errors that name the place.
//! **What must never be done here:** decompress, compress, or compute digests; decide which types
//! of entry an index supports (the reader reports all that Go reports); clean, reorder or rename
//! what an archive says; follow a symbolic link; differ from Go because it would be more sensible.

#[cfg(unix)]
pub mod diff;
pub mod error;
pub mod header;
pub mod numeric;
pub mod pax;
pub mod read;
#[cfg(unix)]
pub mod walk;
pub mod write;

#[cfg(unix)]
pub use diff::{Change, Diff};
pub use error::{TarError, TarErrorKind};
pub use pax::Time;
pub use read::{Entry, Limits, Reader, Sparse};
#[cfg(unix)]
pub use walk::{Excludes, Walk, WalkEntry};
pub use write::{Header, Kind, TarWriter, WriteError};
