//! One layer by itself: its zTOC, without an image around it.

use std::io::{self, Read};

use sociable_layer::{Compression, IndexError, Indexed};

use sociable_policy::Layer;

use crate::layers::index_blob;
use crate::progress::{Cancel, Run};
use crate::settings::IndexSettings;

/// Indexes a layer that comes as a stream. Whether it is gzip or a plain tar is seen
/// from its first bytes.
///
/// # Errors
/// [`IndexError`].
pub fn index_layer(
    layer: impl Read + Send,
    settings: &IndexSettings,
    run: Run<'_>,
) -> Result<Indexed, IndexError> {
    let mut layer = Watched {
        layer,
        cancel: run.cancel,
        progress: run.progress,
    };
    let mut head = Vec::new();
    let read = layer.by_ref().take(4).read_to_end(&mut head);
    read.map_err(|source| IndexError::Read { offset: 0, source })?;
    if head == ZSTD {
        return Err(IndexError::Format("zstd"));
    }
    let compression = if head.starts_with(&[0x1f, 0x8b]) {
        Compression::Gzip
    } else {
        Compression::Uncompressed
    };
    // What is read has no name, nor a size that is known before.
    let facts = Layer {
        packing: false,
        ..settings.facts_of_new("")
    };
    let blob = io::Cursor::new(head).chain(layer);
    index_blob(blob, compression, &facts, settings)
}

/// How zstd begins (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

struct Watched<'a, R> {
    layer: R,
    cancel: &'a Cancel,
    progress: &'a dyn crate::progress::Progress,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        let count = self.layer.read(buffer)?;
        self.progress.event(&crate::progress::Event::Input {
            bytes: count as u64,
        });
        Ok(count)
    }
}
