//! How a layer is compressed while it is packed.

use crate::{Entry, Layer, Plugin, Result};

/// Decides how layers are compressed.
pub trait Compression: Plugin {
    /// How shall the layer be compressed? `None`: as it was asked for.
    ///
    /// # Errors
    /// The policy's.
    fn layer(&self, layer: &Layer) -> Result<Option<Choice>> {
        let _ = layer;
        Ok(None)
    }

    /// At which gzip level, 0 to 9, shall this file of the layer be compressed? `None`: at the layer's. Asked about files of 4 KiB
    /// and more, in the archive's order.
    ///
    /// # Errors
    /// The policy's.
    fn file(&self, layer: &Layer, entry: &Entry, sample: Sample) -> Result<Option<u8>>;
}

/// Formats of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Can be entered at spans, and so be loaded lazily.
    Gzip,
    /// Smaller and faster to unpack, but soci-snapshotter cannot load it lazily: it gets no index.
    Zstd,
    /// A plain tar: can be loaded lazily, and takes all of its size on the wire.
    None,
}

/// A choice for a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The format.
    pub format: Format,
    /// For gzip 0 (stored) to 9 (smallest), for zstd 1 to 19; without meaning for none.
    pub level: u8,
}

/// What the beginning of a file shrinks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Bytes that were tried, from the file's beginning.
    pub bytes: u32,
    /// What they took after deflate at level 1, in bytes.
    pub deflated: u32,
}
