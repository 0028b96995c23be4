//! The format of a zTOC, as read from soci-snapshotter v0.15 and v0.16 (`ztoc/fbs/ztoc.fbs`,
//! `ztoc/compression/gzip_zinfo.h`) and checked against what its tools write and read.
//!
//! # The outer table
//!
//! A zTOC is a [FlatBuffer](https://flatbuffers.dev/internals/), media type
//! `application/octet-stream`, all numbers little endian. Tables and the slots of their fields:
//!
//! | table | slot | field | type |
//! |---|---|---|---|
//! | `Ztoc` (root) | 0 | version, always `"0.9"` | string |
//! | | 1 | build tool identifier | string |
//! | | 2 | size of the layer blob, bytes | int64 |
//! | | 3 | size of the tar up to its end marker, bytes | int64 |
//! | | 4 | table of contents | `TOC` |
//! | | 5 | compression info | `CompressionInfo` |
//! | `TOC` | 0 | entries, in archive order | vector of `FileMetadata` |
//! | `FileMetadata` | 0 | name | string (raw bytes) |
//! | | 1 | type: `reg` `dir` `symlink` `hardlink` `char` `block` `fifo` | string |
//! | | 2 | offset of the data in the tar | int64 |
//! | | 3 | size of the data | int64 |
//! | | 4 | link target | string |
//! | | 5 | mode | int64 |
//! | | 6, 7 | uid, gid | uint32 |
//! | | 8, 9 | user name, group name | string |
//! | | 10 | modification time, RFC 3339 | string |
//! | | 11, 12 | device major, minor | int64 |
//! | | 13 | PAX records (called `xattrs`) | vector of `Xattr` |
//! | `Xattr` | 0, 1 | key, value | string |
//! | `CompressionInfo` | 0 | algorithm: 1 gzip (the default), 2 uncompressed | int8 |
//! | | 1 | number of the last span; -1 where there is none | int32 |
//! | | 2 | digest of each span, `sha256:…` | vector of string |
//! | | 3 | checkpoints, see below | vector of uint8 |
//!
//! # Checkpoints of a gzip layer ("zinfo")
//!
//! Packed, without padding:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | number of checkpoints, int32 |
//! | 8 | span size asked for, int64 |
//! | then for each checkpoint: 8 | offset in the blob of the first whole byte that is its own, int64 |
//! | 8 | offset in the tar, int64 |
//! | 1 | how many bits (0 to 7) of the byte before are its own too |
//! | 32,768 | the output before it, the deflate window; zeros before the stream's beginning |
//!
//! Span *i* covers the blob's bytes from its first byte (one earlier where bits are shared) up to
//! the offset of checkpoint *i* + 1, or up to the blob's end. The first span begins after the gzip
//! header. zTOCs of SOCI's first releases leave out the first checkpoint although they count it;
//! it is at compressed byte 10, uncompressed byte 0.
//!
//! The reference places a checkpoint at the first deflate block, and then at every block end which
//! is more than the span size behind the last checkpoint. Readers accept any places.
//!
//! # Checkpoints of an uncompressed layer
//!
//! Another FlatBuffer, root table `TarZinfo`: slot 0 version, int32, always 2; slot 1 span size,
//! int64; slot 2 size of the tar, int64. Spans are of exactly that size.
//!
//! # What the reference's bytes look like
//!
//! A FlatBuffer may be laid out in many ways. The reference's writer (Go's builder) works from the
//! end of the buffer to its beginning: version, tool identifier; the entries from the last to the
//! first, each with name, type, link target, user, group, time, then for every PAX record (sorted
//! by key) key, value, table, then the vector of them, then the entry's table; the vector of
//! entries; `TOC`; the checkpoints; the digests; their vector; `CompressionInfo`; `Ztoc`. Fields
//! of a table are added in slot order, except `CompressionInfo` (1, 2, 3, 0) and `Ztoc`
//! (0, 1, 4, 2, 3, 5). A field with its default value is left out, strings are written each time
//! anew, and a table's field list (vtable) is shared with an earlier table that has the same one.
//! [`encode`](crate::encode) does just that, so that the bytes, and their digest, are equal.

/// The only version there is.
pub const VERSION: &str = "0.9";

/// Media type of a zTOC in a manifest.
pub const MEDIA_TYPE: &str = "application/octet-stream";

/// Size of the deflate window stored with each checkpoint, in bytes.
pub const WINDOW_SIZE: usize = sociable_flate::WINDOW_SIZE;

/// Size of the fixed part in front of the gzip checkpoints, in bytes.
pub const CHECKPOINTS_HEADER_SIZE: usize = 4 + 8;

/// Size of one gzip checkpoint, in bytes.
pub const CHECKPOINT_SIZE: usize = 8 + 8 + 1 + WINDOW_SIZE;

/// Version number inside an uncompressed layer's checkpoints.
pub const TAR_ZINFO_VERSION: i32 = 2;

/// Tar headers and data start at multiples of this many bytes.
pub const TAR_BLOCK: u64 = 512;

/// PAX records with this prefix are extended attributes.
pub const XATTR_PREFIX: &str = "SCHILY.xattr.";

/// Where the first checkpoint is when it is not written (zTOCs of SOCI's first releases): after
/// a gzip header without optional fields.
pub const IMPLIED_FIRST_CHECKPOINT: u64 = 10;

/// Largest zTOC in bytes: FlatBuffers' offsets are 31 bits wide, and Go's builder stops there.
pub const MAX_SIZE: u64 = (1 << 31) - 1;

pub(crate) mod slot {
    //! Field numbers of the tables above.
    pub(crate) const ZTOC_VERSION: usize = 0;
    pub(crate) const ZTOC_TOOL: usize = 1;
    pub(crate) const ZTOC_COMPRESSED_SIZE: usize = 2;
    pub(crate) const ZTOC_UNCOMPRESSED_SIZE: usize = 3;
    pub(crate) const ZTOC_TOC: usize = 4;
    pub(crate) const ZTOC_COMPRESSION: usize = 5;
    pub(crate) const TOC_ENTRIES: usize = 0;
    pub(crate) const FILE_NAME: usize = 0;
    pub(crate) const FILE_TYPE: usize = 1;
    pub(crate) const FILE_OFFSET: usize = 2;
    pub(crate) const FILE_SIZE: usize = 3;
    pub(crate) const FILE_LINKNAME: usize = 4;
    pub(crate) const FILE_MODE: usize = 5;
    pub(crate) const FILE_UID: usize = 6;
    pub(crate) const FILE_GID: usize = 7;
    pub(crate) const FILE_UNAME: usize = 8;
    pub(crate) const FILE_GNAME: usize = 9;
    pub(crate) const FILE_MTIME: usize = 10;
    pub(crate) const FILE_DEVMAJOR: usize = 11;
    pub(crate) const FILE_DEVMINOR: usize = 12;
    pub(crate) const FILE_PAX: usize = 13;
    pub(crate) const PAX_KEY: usize = 0;
    pub(crate) const PAX_VALUE: usize = 1;
    pub(crate) const COMPRESSION_ALGORITHM: usize = 0;
    pub(crate) const COMPRESSION_MAX_SPAN: usize = 1;
    pub(crate) const COMPRESSION_DIGESTS: usize = 2;
    pub(crate) const COMPRESSION_CHECKPOINTS: usize = 3;
    pub(crate) const TAR_VERSION: usize = 0;
    pub(crate) const TAR_SPAN_SIZE: usize = 1;
    pub(crate) const TAR_SIZE: usize = 2;
}

/// The algorithm field's value for gzip, which is also its default.
pub const ALGORITHM_GZIP: i8 = 1;
/// The algorithm field's value for plain tar.
pub const ALGORITHM_UNCOMPRESSED: i8 = 2;
