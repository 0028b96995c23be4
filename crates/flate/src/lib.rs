//! DEFLATE streams that are entered and left at block boundaries.
//!
//! A SOCI index records where inside a gzip layer decompression can start. That takes two things
//! which ordinary compression libraries hide, and which this crate adds to [zlib-rs]:
//!
//! * [`Inflater`] stops at the end of every deflate block and says how many bits of the last byte
//!   belong to the next block; it can also *start* in the middle of a stream, given those bits
//!   and the 32 KiB of output that came before ([`Inflater::resume`]).
//! * [`Deflater`] compresses one piece of a longer stream, with the 32 KiB before it as dictionary,
//!   so that it ends on a whole byte where decompression can start.
//!
//! What enters: bytes. What leaves: bytes and block positions. What must never be done here:
//! knowing about tar, images or indexes. This is the only crate of the project that contains
//! `unsafe` code (calls of zlib's C-shaped interface), in [`mod@inflate`] and [`mod@deflate`].
//!
//! [zlib-rs]: https://docs.rs/libz-rs-sys

pub mod deflate;
pub mod inflate;

pub use deflate::{DeflateError, Deflater};
pub use inflate::{InflateError, Inflater, Step, Stop};

/// How far back a deflate stream may refer to its own output, in uncompressed bytes.
///
/// RFC 1951, section 2: "distances are limited to 32K bytes".
pub const WINDOW_SIZE: usize = 32 * 1024;
