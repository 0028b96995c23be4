//! The formats, as far as they are read or written here.
//!
//! A tar is a sequence of 512-byte blocks. An entry is one header block, then its data, filled up
//! with zeros to whole blocks. Two blocks of zeros end the archive; what follows them is nobody's.
//! An archive may also simply stop where a header would begin (or after one block of zeros, or
//! inside the zeros that fill up data): that is no error either.
//!
//! # The header block
//!
//! | field      | at  | bytes | what                                                              |
//! |------------|-----|-------|-------------------------------------------------------------------|
//! | `name`     | 0   | 100   | path, up to the first NUL or the field's end                      |
//! | `mode`     | 100 | 8     | number                                                            |
//! | `uid`      | 108 | 8     | number                                                            |
//! | `gid`      | 116 | 8     | number                                                            |
//! | `size`     | 124 | 12    | number: bytes of data                                             |
//! | `mtime`    | 136 | 12    | number: seconds since 1970                                        |
//! | `chksum`   | 148 | 8     | octal: sum of all bytes, these 8 taken as spaces                  |
//! | `typeflag` | 156 | 1     | see below                                                         |
//! | `linkname` | 157 | 100   | target of a link                                                  |
//! | `magic`    | 257 | 6     | which dialect the rest is in                                      |
//! | `version`  | 263 | 2     |                                                                   |
//! | `uname`    | 265 | 32    | name of the owner (not V7)                                        |
//! | `gname`    | 297 | 32    | name of the group (not V7)                                        |
//! | `devmajor` | 329 | 8     | number (not V7)                                                   |
//! | `devminor` | 337 | 8     | number (not V7)                                                   |
//! | `prefix`   | 345 | 155   | USTAR: with `/` and `name` the whole path, unless empty           |
//! | `prefix`   | 345 | 131   | STAR: the same                                                    |
//! | `atime`    | 476 | 12    | STAR: number                                                      |
//! | `ctime`    | 488 | 12    | STAR: number                                                      |
//! | `trailer`  | 508 | 4     | STAR: `tar\0`                                                     |
//! | `atime`    | 345 | 12    | GNU: number, absent if its first byte is NUL                      |
//! | `ctime`    | 357 | 12    | GNU: the same                                                     |
//! | `sparse`   | 386 | 97    | GNU: four pairs of numbers of 12 bytes, and a flag                |
//! | `realsize` | 483 | 12    | GNU: number: size of a sparse file with its holes                 |
//!
//! The checksum was once computed with signed bytes, so either sum is right. Numbers are described
//! in [`numeric`](crate::numeric).
//!
//! | dialect | `magic`, `version`       |                                                          |
//! |---------|--------------------------|----------------------------------------------------------|
//! | STAR    | `ustar\0`, any           | and the trailer                                          |
//! | USTAR   | `ustar\0`, any           | PAX looks the same                                       |
//! | GNU     | `ustar `, ` \0`          |                                                          |
//! | V7      | anything else            | nothing after `linkname` is looked at                    |
//!
//! Old versions of Go's writer put a USTAR prefix into GNU headers. A GNU header whose `atime` or
//! `ctime` is no number is taken for one of those: if the USTAR prefix is ASCII, it is used.
//!
//! # Types
//!
//! | flag      | entry                                                                   | data |
//! |-----------|-------------------------------------------------------------------------|------|
//! | `0`       | file                                                                    | yes  |
//! | NUL       | directory if the name ends in `/`, else file; reported as `5` or `0`    | as those |
//! | `1`, `2`  | hard link, symbolic link                                                | no   |
//! | `3`, `4`  | character device, block device                                          | no   |
//! | `5`, `6`  | directory, FIFO                                                         | no   |
//! | `S`       | file with holes, GNU dialect                                            | yes  |
//! | `x`       | PAX records for the next entry                                          | records |
//! | `g`       | PAX records for all that follow; reported as an entry, then forgotten   | records |
//! | `L`, `K`  | GNU: path, or link target, of the next entry, up to the first NUL       | text |
//! | any other | reported as it is; treated as a file                                    | yes  |
//!
//! A type without data has none whatever its `size` says, and that size, even a negative one, is
//! reported. `x`, `L` and `K` may come in any order and number: the last of each counts. A `g`
//! among them makes the earlier ones void. Their payload is limited to 1 MiB.
//!
//! Which name wins, from the weakest: `name` (with prefix), the PAX record `path`, GNU `L`, and
//! `GNU.sparse.name`. PAX records are described in [`pax`](crate::pax).
//!
//! # Sparse files
//!
//! The data of a sparse file are its fragments one after another; a map says where each belongs.
//! Fragments must be in order, must not overlap, and must end within the file.
//!
//! * **GNU**: type `S`, GNU dialect only. The map is in the header: up to four fragments, each of
//!   an offset and a length of 12 bytes; an offset that begins with NUL ends the list. The flag,
//!   if not NUL, says that a block of 21 more fragments follows the header, with such a flag at
//!   504, and so on. The reported size is `realsize`.
//! * **PAX 0.0 and 0.1**: a file of any other type with data whose records have `GNU.sparse.map`
//!   (`offset,length,offset,length…`) and `GNU.sparse.numblocks`; in 0.0 the map is the repeated
//!   records `GNU.sparse.offset` and `GNU.sparse.numbytes` in turn. `GNU.sparse.size` or, failing
//!   that, `GNU.sparse.realsize` is the reported size, `GNU.sparse.name` the name.
//! * **PAX 1.0**: `GNU.sparse.major` is 1, `GNU.sparse.minor` is 0. The map comes first in the
//!   data: decimal numbers, each with a newline, first how many fragments there are, then offset
//!   and length of each, filled up to whole blocks. Go reads the map together with the header.
//!
//! With another major or minor version the records mean nothing, and the file is an ordinary one.

use crate::numeric::parse_octal;

/// Size of a block.
pub const BLOCK: usize = 512;

/// A header block.
pub type Block = [u8; BLOCK];

/// Most bytes of a PAX header, a GNU long name or link, or a sparse map that Go reads.
pub const EXTENSION_LIMIT: u64 = 1 << 20;

/// A part of the header block.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// What the standards call it.
    pub name: &'static str,
    /// Its first byte.
    pub at: usize,
    /// How many bytes it has.
    pub len: usize,
}

impl Field {
    const fn new(name: &'static str, at: usize, len: usize) -> Self {
        Self { name, at, len }
    }

    /// The field's bytes.
    #[must_use]
    pub fn of(self, block: &Block) -> &[u8] {
        &block[self.at..self.at + self.len]
    }

    /// The field's bytes, to be written.
    pub fn of_mut(self, block: &mut Block) -> &mut [u8] {
        &mut block[self.at..self.at + self.len]
    }

    /// The field as text: up to the first NUL, or all of it.
    #[must_use]
    pub fn text(self, block: &Block) -> &[u8] {
        until_nul(self.of(block))
    }
}

/// Path, or its last part.
pub const NAME: Field = Field::new("name", 0, 100);
/// Permission bits.
pub const MODE: Field = Field::new("mode", 100, 8);
/// Owner.
pub const UID: Field = Field::new("uid", 108, 8);
/// Group.
pub const GID: Field = Field::new("gid", 116, 8);
/// Bytes of data.
pub const SIZE: Field = Field::new("size", 124, 12);
/// Modification time.
pub const MTIME: Field = Field::new("mtime", 136, 12);
/// Checksum of the block.
pub const CHKSUM: Field = Field::new("chksum", 148, 8);
/// Type of the entry.
pub const TYPEFLAG: Field = Field::new("typeflag", 156, 1);
/// Target of a link.
pub const LINKNAME: Field = Field::new("linkname", 157, 100);
/// Dialect.
pub const MAGIC: Field = Field::new("magic", 257, 6);
/// Version of the dialect.
pub const VERSION: Field = Field::new("version", 263, 2);
/// Owner's name.
pub const UNAME: Field = Field::new("uname", 265, 32);
/// Group's name.
pub const GNAME: Field = Field::new("gname", 297, 32);
/// Device's major number.
pub const DEVMAJOR: Field = Field::new("devmajor", 329, 8);
/// Device's minor number.
pub const DEVMINOR: Field = Field::new("devminor", 337, 8);
/// USTAR: first part of the path.
pub const PREFIX: Field = Field::new("prefix", 345, 155);
/// STAR: first part of the path.
pub const STAR_PREFIX: Field = Field::new("prefix", 345, 131);
/// STAR: time of the last access.
pub const STAR_ATIME: Field = Field::new("atime", 476, 12);
/// STAR: time of the last change of the inode.
pub const STAR_CTIME: Field = Field::new("ctime", 488, 12);
/// STAR: what tells it from USTAR.
pub const STAR_TRAILER: Field = Field::new("trailer", 508, 4);
/// GNU: time of the last access.
pub const GNU_ATIME: Field = Field::new("atime", 345, 12);
/// GNU: time of the last change of the inode.
pub const GNU_CTIME: Field = Field::new("ctime", 357, 12);
/// GNU: first fragments of a sparse file, and whether more follow.
pub const GNU_SPARSE: Field = Field::new("sparse", 386, 4 * FRAGMENT + 1);
/// GNU: size of a sparse file with its holes.
pub const GNU_REALSIZE: Field = Field::new("realsize", 483, 12);

/// GNU: bytes of one fragment in a sparse map, offset and length.
pub const FRAGMENT: usize = 24;

/// Value of [`MAGIC`] of USTAR, PAX and STAR.
pub const USTAR_MAGIC: &[u8] = b"ustar\0";
/// Value of [`VERSION`] that USTAR writers write.
pub const USTAR_VERSION: &[u8] = b"00";
/// Values of [`MAGIC`] and [`VERSION`] of GNU.
pub const GNU_MAGIC: (&[u8], &[u8]) = (b"ustar ", b" \0");
/// Value of [`STAR_TRAILER`].
pub const STAR_MAGIC: &[u8] = b"tar\0";

/// What the bytes after `linkname` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Nothing.
    V7,
    /// USTAR, and PAX, whose header blocks are the same.
    Ustar,
    /// Schily's tar.
    Star,
    /// GNU tar.
    Gnu,
}

impl Dialect {
    /// Reads the magic values of a header block.
    #[must_use]
    pub fn of(block: &Block) -> Self {
        let magic = MAGIC.of(block);
        if magic == USTAR_MAGIC {
            if STAR_TRAILER.of(block) == STAR_MAGIC {
                Self::Star
            } else {
                Self::Ustar
            }
        } else if (magic, VERSION.of(block)) == GNU_MAGIC {
            Self::Gnu
        } else {
            Self::V7
        }
    }
}

/// Types of entries that have a meaning here; others are possible.
pub mod typeflag {
    /// File, in V7; reported as [`FILE`] or [`DIRECTORY`].
    pub const OLD_FILE: u8 = 0;
    /// File.
    pub const FILE: u8 = b'0';
    /// Hard link.
    pub const HARD_LINK: u8 = b'1';
    /// Symbolic link.
    pub const SYMLINK: u8 = b'2';
    /// Character device.
    pub const CHAR_DEVICE: u8 = b'3';
    /// Block device.
    pub const BLOCK_DEVICE: u8 = b'4';
    /// Directory.
    pub const DIRECTORY: u8 = b'5';
    /// FIFO.
    pub const FIFO: u8 = b'6';
    /// PAX records for the next entry.
    pub const PAX: u8 = b'x';
    /// PAX records for all entries that follow.
    pub const PAX_GLOBAL: u8 = b'g';
    /// GNU sparse file.
    pub const GNU_SPARSE: u8 = b'S';
    /// GNU: path of the next entry.
    pub const GNU_LONG_NAME: u8 = b'L';
    /// GNU: link target of the next entry.
    pub const GNU_LONG_LINK: u8 = b'K';

    /// Whether entries of this type never have data, whatever their size says.
    #[must_use]
    pub fn is_header_only(flag: u8) -> bool {
        matches!(
            flag,
            HARD_LINK | SYMLINK | CHAR_DEVICE | BLOCK_DEVICE | DIRECTORY | FIFO
        )
    }
}

/// The sum of a block's bytes, taken as unsigned and as signed, with the checksum's own eight bytes
/// counted as spaces.
#[must_use]
pub fn checksums(block: &Block) -> (i64, i64) {
    let (mut unsigned, mut signed) = (0, 0);
    for (at, &byte) in block.iter().enumerate() {
        let byte = if (CHKSUM.at..CHKSUM.at + CHKSUM.len).contains(&at) {
            b' '
        } else {
            byte
        };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    (unsigned, signed)
}

/// Whether a block's checksum is the sum of its bytes, which tells a header from anything else.
#[must_use]
pub fn is_header(block: &Block) -> bool {
    let (unsigned, signed) = checksums(block);
    parse_octal(CHKSUM.of(block)).is_some_and(|sum| sum == unsigned || sum == signed)
}

/// How many bytes fill `size` up to whole blocks.
#[must_use]
pub fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// The bytes before the first NUL, or all.
pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}
