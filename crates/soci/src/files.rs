//! Files of an image, read through its index: only the spans that hold them are fetched.
//!
//! A layer without a zTOC (because it is small, or because the image has no SOCI index) is read whole and indexed on
//! the fly; a zstd layer stays unseen, and answers that it could change say so.

use std::cell::RefCell;
use std::io::{self, Write};

use serde::Serialize;
use sociable_layer::Compression;
use sociable_oci::{Descriptor, Source, media_type, verified};
use sociable_ztoc::{Entry, LayerReader, ReadRange, Ztoc};

use crate::error::{Error, Result};
use crate::found;
use crate::image::{Image, PlatformImage};
use crate::layers::{check_blob, index_blob};
use crate::settings::IndexSettings;
use crate::tree::Tree;

/// The layers of an image, as far as they can be looked into.
#[derive(Debug)]
pub struct Layers {
    layers: Vec<Layer>,
    cost: RefCell<Cost>,
}

#[derive(Debug)]
struct Layer {
    descriptor: Descriptor,
    content: Result<Ztoc, String>,
}

/// What looking into an image has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Cost {
    /// Bytes of zTOCs.
    pub ztoc_bytes: u64,
    /// Bytes of layers that had to be read whole, as they have no zTOC.
    pub whole_layer_bytes: u64,
    /// Bytes of spans, and of gzip headers.
    pub span_bytes: u64,
    /// Spans.
    pub spans: u64,
    /// Spans of all indexed layers.
    pub spans_total: u64,
    /// Bytes of all layers.
    pub image_bytes: u64,
}

impl Layers {
    /// Reads the zTOCs of an image.
    ///
    /// # Errors
    /// When one cannot be read, or a layer without one cannot be indexed.
    pub fn open(source: &dyn Source, image: &Image, of: &PlatformImage) -> Result<Self> {
        let indexes = found::indexes(source, image, of)?;
        let mut cost = Cost::default();
        let mut layers = Vec::new();
        for descriptor in &of.manifest.layers {
            cost.image_bytes += descriptor.size;
            let ztoc = indexes
                .iter()
                .find_map(|i| i.index.ztoc_of(&descriptor.digest));
            let content = match ztoc {
                Some(ztoc) => {
                    cost.ztoc_bytes += ztoc.size;
                    Ok(found::ztoc(source, ztoc, &descriptor.digest)?)
                }
                None => on_the_fly(source, descriptor)?.inspect(|_| {
                    cost.whole_layer_bytes += descriptor.size;
                }),
            };
            if let Ok(ztoc) = &content {
                cost.spans_total += ztoc.spans.len() as u64;
            }
            layers.push(Layer {
                descriptor: descriptor.clone(),
                content,
            });
        }
        Ok(Self {
            layers,
            cost: RefCell::new(cost),
        })
    }

    /// The merged file system.
    ///
    /// # Errors
    /// When the layers are beyond all measure.
    pub fn tree(&self) -> Result<Tree<'_>> {
        let entries: Vec<Option<&[Entry]>> = self
            .layers
            .iter()
            .map(|layer| layer.content.as_ref().ok().map(|ztoc| &ztoc.entries[..]))
            .collect();
        Ok(Tree::merge(&entries)?)
    }

    /// Why layer number `layer` (from 0) cannot be seen.
    #[must_use]
    pub fn unseen(&self, layer: usize) -> Option<String> {
        let layer = self.layers.get(layer)?;
        let why = layer.content.as_ref().err()?;
        Some(format!("layer {}: {why}", layer.descriptor.digest))
    }

    /// What was read so far.
    #[must_use]
    pub fn cost(&self) -> Cost {
        *self.cost.borrow()
    }

    /// Writes a file's content, following links. `tree` must be of these layers.
    ///
    /// # Errors
    /// [`Error::Tree`] when there is no such file; [`Error::Read`].
    pub fn cat(
        &self,
        source: &dyn Source,
        tree: &Tree<'_>,
        path: &[u8],
        out: &mut dyn Write,
    ) -> Result<()> {
        let node = tree.resolve(path)?;
        let (layer, entry) = tree.content(node)?;
        let layer = &self.layers[layer];
        let ztoc = layer.content.as_ref().map_err(|why| Error::Unseen {
            layer: layer.descriptor.digest,
            why: why.clone(),
        })?;
        let read = |source| Error::Read {
            path: path.into(),
            layer: layer.descriptor.digest,
            source: Box::new(source),
        };
        let blob = BlobRanges {
            source,
            descriptor: &layer.descriptor,
        };
        let mut reader = LayerReader::open(ztoc, blob).map_err(read)?;
        let result = reader.copy_entry(&ztoc.entries[entry], out).map_err(read);
        let mut cost = self.cost.borrow_mut();
        cost.span_bytes += reader.cost().bytes;
        cost.spans += reader.cost().spans;
        result
    }
}

/// Indexes a layer that has no zTOC; `Err` says why that is not possible.
fn on_the_fly(source: &dyn Source, layer: &Descriptor) -> Result<Result<Ztoc, String>> {
    let compression = match media_type::layer_compression(&layer.media_type) {
        Some(media_type::Compression::Gzip | media_type::Compression::Unknown) => Compression::Gzip,
        Some(media_type::Compression::None) => Compression::Uncompressed,
        Some(media_type::Compression::Zstd) => {
            return Ok(Err(
                "it is compressed with zstd, which has no index".to_owned()
            ));
        }
        None => return Ok(Err(format!("its media type is {:?}", layer.media_type))),
    };
    if media_type::is_nondistributable(&layer.media_type) && !source.has(layer)? {
        return Ok(Err(
            "it is a foreign layer, and not in the source".to_owned()
        ));
    }
    // Only what is in it matters here: files that the snapshotter could not read can still be listed.
    let settings = IndexSettings {
        allow_unreadable: true,
        ..IndexSettings::default()
    };
    let blob = verified(layer, source.blob(layer)?);
    let indexed =
        index_blob(blob, compression, &settings.facts(layer), &settings).map_err(|source| {
            Error::Layer {
                layer: layer.digest,
                source: Box::new(source),
            }
        })?;
    check_blob(&indexed, layer, &source.name())?;
    Ok(Ok(indexed.ztoc))
}

/// Byte ranges of a blob of a source.
pub(crate) struct BlobRanges<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) descriptor: &'a Descriptor,
}

impl ReadRange for BlobRanges<'_> {
    fn read_range(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self
            .source
            .blob_at(self.descriptor, offset, buffer.len())
            .map_err(io::Error::other)?;
        if bytes.len() != buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.copy_from_slice(&bytes);
        Ok(())
    }
}
