//! What policies are told about a layer and its entries.

use std::borrow::Cow;

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
    /// The size of spans that was asked for, in uncompressed bytes.
    pub span_size: u64,
    /// Smaller blobs are not indexed unless a policy says so, in compressed bytes.
    pub min_layer_size: u64,
    /// The layer is being made; otherwise it is being indexed as it is.
    pub packing: bool,
}

impl Layer {
    /// Facts about a layer that is handled by itself, and packed.
    #[must_use]
    pub fn packed(media_type: &str, span_size: u64) -> Self {
        Self {
            digest: None,
            size: None,
            media_type: media_type.to_owned(),
            span_size,
            min_layer_size: 0,
            packing: true,
        }
    }
}

/// Types of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
pub struct Entry<'a> {
    /// Path without a leading `/` or `./`, and without a slash at its end. What is no UTF-8 is replaced by U+FFFD.
    pub path: Cow<'a, str>,
    /// Its type.
    pub kind: Kind,
    /// Where its first header begins, in bytes of the tar. 0 while an order is asked for.
    pub header: u64,
    /// Where its data begins, in bytes of the tar. 0 while an order is asked for.
    pub data: u64,
    /// Bytes of data in the tar, without padding.
    pub size: u64,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Target of a link, as in the tar.
    pub link: Option<Cow<'a, str>>,
}

impl Entry<'_> {
    /// Where the next entry's header begins: behind the data, in whole blocks of 512 bytes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.data
            .saturating_add(self.size)
            .checked_next_multiple_of(512)
            .unwrap_or(u64::MAX)
    }

    /// The same, independent of where it came from.
    #[must_use]
    pub fn into_owned(self) -> Entry<'static> {
        Entry {
            path: Cow::Owned(self.path.into_owned()),
            link: self.link.map(|link| Cow::Owned(link.into_owned())),
            kind: self.kind,
            header: self.header,
            data: self.data,
            size: self.size,
            mode: self.mode,
        }
    }
}

/// A path as policies see it: without a leading `/` or `./`, and without a slash at its end.
#[must_use]
pub fn path(name: &[u8]) -> Cow<'_, str> {
    let mut name = name;
    loop {
        name = match name {
            [b'/', rest @ ..] | [b'.', b'/', rest @ ..] => rest,
            [b'.'] => b"",
            _ => break,
        };
    }
    while let [rest @ .., b'/'] = name {
        name = rest;
    }
    String::from_utf8_lossy(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (name, expected) in [
            ("usr/bin/", "usr/bin"),
            ("./usr", "usr"),
            (".//./usr", "usr"),
            ("/", ""),
            ("./", ""),
            (".", ""),
            (".wh.a", ".wh.a"),
            ("../a", "../a"),
        ] {
            assert_eq!(path(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(path(b"a\xff"), "a\u{fffd}");
    }
}
