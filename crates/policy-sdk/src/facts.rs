//! What policies are told about a layer and its entries.

/// A layer that is about to be made or indexed.
///
/// Nothing here is about the image it is in: layers are shared, and so are their indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the blob (`sha256:…`); none while the layer is packed.
    pub digest: Option<String>,
    /// Size of the blob, in bytes, compressed; none while the layer is packed.
    pub size: Option<u64>,
    /// Media type of the blob.
    pub media_type: String,
    /// The size of spans that was asked for, in uncompressed bytes, at least 1.
    pub span_size: u64,
    /// Smaller blobs are not indexed unless a policy says so, in compressed bytes.
    pub min_layer_size: u64,
    /// The layer is being made: spans can begin anywhere, order and compression can be chosen. Otherwise it is being indexed
    /// as it is: spans can begin where a deflate block ends.
    pub packing: bool,
}

/// Types of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Regular file.
    File,
    /// Another name of an earlier entry.
    HardLink,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Directory.
    Directory,
    /// FIFO.
    Fifo,
}

/// An entry of a layer's tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path without a leading `/` or `./`, and without a slash at its end; the root is empty. What is no UTF-8 is replaced by
    /// U+FFFD.
    pub path: String,
    /// Its type.
    pub kind: Kind,
    /// Where its first header begins, in bytes of the tar. 0 while an order is asked for.
    pub header: u64,
    /// Where its data begins, in bytes of the tar. 0 while an order is asked for.
    pub data: u64,
    /// Bytes of data in the tar, without padding; 0 where a type has none.
    pub size: u64,
    /// Permission bits, with setuid (0o4000), setgid (0o2000) and sticky (0o1000).
    pub mode: u32,
    /// Target of a symbolic or hard link, as in the tar.
    pub link: Option<String>,
}

impl Entry {
    /// Where the data ends, in bytes of the tar.
    #[must_use]
    pub fn data_end(&self) -> u64 {
        self.data.saturating_add(self.size)
    }

    /// Where the next entry's header begins, in bytes of the tar: behind the data, in whole blocks of 512 bytes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.data_end()
            .checked_next_multiple_of(512)
            .unwrap_or(u64::MAX)
    }
}
