//! One entry of a layer's tar.

use bstr::BString;

use crate::Time;

/// What an entry is. A zTOC knows no other kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to [`Entry::linkname`].
    Symlink,
    /// Another name of the entry called [`Entry::linkname`], which is in the same layer.
    Hardlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

impl EntryKind {
    /// Every kind, with the text a zTOC has for it.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::File, "reg"),
        (Self::Directory, "dir"),
        (Self::Symlink, "symlink"),
        (Self::Hardlink, "hardlink"),
        (Self::CharDevice, "char"),
        (Self::BlockDevice, "block"),
        (Self::Fifo, "fifo"),
    ];

    /// The text a zTOC has for this kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |(_, text)| text)
    }

    /// The kind a zTOC's text stands for.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name)| name.as_bytes() == text)
            .map(|(kind, _)| *kind)
    }
}

/// One entry of the layer's tar, as Go's `archive/tar` sees it.
///
/// Names are bytes: tar does not say how they are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path as the archive spells it, neither cleaned nor made absolute.
    pub name: BString,
    /// What the entry is.
    pub kind: EntryKind,
    /// Offset in the uncompressed tar of the entry's first byte of data, in bytes. For an entry
    /// without data, where data would begin.
    pub offset: u64,
    /// Uncompressed size of the content in bytes, as the header states it.
    pub size: u64,
    /// Target of a symbolic or hard link, else empty.
    pub linkname: BString,
    /// Permission and set-id bits, and whatever else the header's mode field holds.
    pub mode: i64,
    /// Numeric owner, as its low 32 bits.
    pub uid: u32,
    /// Numeric group, as its low 32 bits.
    pub gid: u32,
    /// Owner's name, may be empty.
    pub uname: BString,
    /// Group's name, may be empty.
    pub gname: BString,
    /// Modification time. `None` where the format cannot express it (an empty string).
    pub mtime: Option<Time>,
    /// Major device number.
    pub devmajor: i64,
    /// Minor device number.
    pub devminor: i64,
    /// All raw PAX records of the entry, sorted by key, each key once. Extended attributes are
    /// those whose key starts with [`XATTR_PREFIX`](crate::format::XATTR_PREFIX).
    pub pax_records: Vec<(BString, BString)>,
}

impl Entry {
    /// Extended attributes: name without prefix, value.
    pub fn xattrs(&self) -> impl Iterator<Item = (&bstr::BStr, &bstr::BStr)> {
        self.pax_records.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix(crate::format::XATTR_PREFIX.as_bytes())?;
            Some((name.into(), value.as_ref()))
        })
    }

    /// Where the next entry's header begins, in the uncompressed tar: after this entry's stated
    /// size, rounded up to whole tar blocks. `None` when that is beyond 2^64.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.offset
            .checked_add(self.size)?
            .checked_next_multiple_of(crate::format::TAR_BLOCK)
    }
}
