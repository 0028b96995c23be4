//! What an image, its SOCI indexes, their zTOCs and spans are.

use serde::Serialize;
use sociable_oci::{Digest, Source};
use sociable_ztoc::{EntryKind, Spans, Ztoc};

use crate::convert::Blob;
use crate::error::Result;
use crate::found::{self, FoundIndex};
use crate::image::{Image, PlatformImage, Platforms};
use crate::names::{BUILD_TOOL, DISABLE_XATTRS};
use crate::prefetch::{Prefetch, SpanRange};
use crate::record::{self, Used};
use crate::soci_index::{Version, layer_of};

/// An image.
#[derive(Debug, Clone, Serialize)]
pub struct ImageInfo {
    /// Where it is.
    pub place: String,
    /// What leads to it: `None` where `index.json` itself lists its platforms.
    pub target: Option<Blob>,
    /// Its images, by platform.
    pub platforms: Vec<PlatformInfo>,
}

/// The image for one platform.
#[derive(Debug, Clone, Serialize)]
pub struct PlatformInfo {
    /// The platform.
    pub platform: String,
    /// Its manifest.
    pub manifest: Blob,
    /// Its layers, lowest first.
    pub layers: Vec<LayerInfo>,
    /// Its SOCI indexes.
    pub soci_indexes: Vec<IndexInfo>,
}

/// A layer.
#[derive(Debug, Clone, Serialize)]
pub struct LayerInfo {
    /// The layer.
    #[serde(flatten)]
    pub blob: Blob,
    /// Whether the source has it.
    pub present: bool,
    /// Its zTOC, if it has one.
    pub ztoc: Option<ZtocInfo>,
}

/// A SOCI index.
#[derive(Debug, Clone, Serialize)]
pub struct IndexInfo {
    /// Its generation.
    pub version: Version,
    /// The document.
    #[serde(flatten)]
    pub blob: Blob,
    /// Who built it.
    pub build_tool_identifier: Option<String>,
    /// How many layers it has zTOCs of.
    pub ztocs: usize,
    /// Bytes of all its zTOCs: what a start fetches before anything else.
    pub ztoc_bytes: u64,
    /// Policies that decided, where some did and it was recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Used>,
    /// Spans to prefetch, by layer.
    pub prefetch: Vec<PrefetchInfo>,
}

/// A prefetch artifact.
#[derive(Debug, Clone, Serialize)]
pub struct PrefetchInfo {
    /// The layer.
    pub layer: Digest,
    /// Its spans.
    pub spans: Vec<SpanRange>,
}

/// A zTOC.
#[derive(Debug, Clone, Serialize)]
pub struct ZtocInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Who built it.
    pub build_tool_identifier: String,
    /// `gzip` or `uncompressed`.
    pub compression: &'static str,
    /// Bytes of the layer's tar, up to the end marker.
    pub uncompressed_size: u64,
    /// The span size that was asked for, uncompressed bytes.
    pub span_size: i64,
    /// What the spans are.
    pub spans: SpansInfo,
    /// Entries by kind.
    pub entries: EntriesInfo,
    /// Whether the index says that the snapshotter need not look for extended attributes.
    pub xattrs_disabled: bool,
}

/// Sizes of spans, in compressed bytes: what one fetch costs.
#[derive(Debug, Clone, Copy, Serialize, Default)]
pub struct SpansInfo {
    /// How many.
    pub count: usize,
    /// The smallest.
    pub smallest: u64,
    /// The median.
    pub median: u64,
    /// The largest.
    pub largest: u64,
}

/// How many entries of each kind.
#[derive(Debug, Clone, Copy, Serialize, Default)]
pub struct EntriesInfo {
    /// All.
    pub count: usize,
    /// Regular files.
    pub files: usize,
    /// Directories.
    pub directories: usize,
    /// Symbolic and hard links.
    pub links: usize,
    /// Devices and named pipes.
    pub others: usize,
}

/// Looks at an image.
///
/// # Errors
/// When a document cannot be read, or a SOCI index is none. A layer may be missing.
pub fn inspect(source: &dyn Source, image: &Image, platforms: &Platforms) -> Result<ImageInfo> {
    let target = image.target.as_deref().map(Blob::from);
    let platforms = image
        .choose(source, platforms)?
        .iter()
        .map(|of| platform(source, image, of))
        .collect::<Result<_>>()?;
    Ok(ImageInfo {
        place: source.name(),
        target,
        platforms,
    })
}

fn platform(source: &dyn Source, image: &Image, of: &PlatformImage) -> Result<PlatformInfo> {
    let indexes = found::indexes(source, image, of)?;
    let layers = of
        .manifest
        .layers
        .iter()
        .map(|layer| {
            let ztoc = indexes.iter().find_map(|i| i.index.ztoc_of(&layer.digest));
            let ztoc = ztoc
                .map(|descriptor| {
                    let ztoc = found::ztoc(source, descriptor, &layer.digest)?;
                    let mut info = ztoc_info(&ztoc, descriptor.digest, descriptor.size);
                    info.xattrs_disabled = descriptor.annotations.contains_key(DISABLE_XATTRS);
                    Ok::<_, crate::Error>(info)
                })
                .transpose()?;
            Ok(LayerInfo {
                blob: Blob::from(layer),
                present: source.has(layer)?,
                ztoc,
            })
        })
        .collect::<Result<_>>()?;
    Ok(PlatformInfo {
        platform: of.platform.to_string(),
        manifest: Blob::from(&of.descriptor),
        layers,
        soci_indexes: indexes
            .iter()
            .map(|index| index_info(source, index))
            .collect::<Result<_>>()?,
    })
}

fn index_info(source: &dyn Source, found: &FoundIndex) -> Result<IndexInfo> {
    let bad = |why: String| crate::Error::BadIndex {
        digest: found.descriptor.digest,
        why,
    };
    let mut prefetch = Vec::new();
    for artifact in &found.index.prefetch {
        let document = Prefetch::parse(&source.document(artifact)?)
            .map_err(|why| bad(format!("prefetch artifact {}: {why}", artifact.digest)))?;
        prefetch.push(PrefetchInfo {
            layer: layer_of(artifact).map_err(bad)?,
            spans: document.spans,
        });
    }
    Ok(IndexInfo {
        version: found.index.version,
        blob: Blob::from(&found.descriptor),
        build_tool_identifier: found.index.annotations.get(BUILD_TOOL).cloned(),
        ztocs: found.index.ztocs.len(),
        ztoc_bytes: found.index.ztocs.iter().map(|ztoc| ztoc.size).sum(),
        policies: record::read(&found.index.annotations),
        prefetch,
    })
}

/// What a zTOC is.
#[must_use]
pub fn ztoc_info(ztoc: &Ztoc, digest: Digest, size: u64) -> ZtocInfo {
    let mut sizes: Vec<u64> = (0..ztoc.spans.len())
        .filter_map(|i| ztoc.span(i))
        .map(|span| span.compressed.end - span.compressed.start)
        .collect();
    sizes.sort_unstable();
    let at = |i: usize| sizes.get(i).copied().unwrap_or(0);
    let (compression, span_size) = match &ztoc.spans {
        Spans::Gzip(spans) => ("gzip", spans.span_size),
        Spans::Uncompressed(spans) => (
            "uncompressed",
            i64::try_from(spans.span_size).unwrap_or(i64::MAX),
        ),
    };
    let mut entries = EntriesInfo {
        count: ztoc.entries.len(),
        ..EntriesInfo::default()
    };
    for entry in &ztoc.entries {
        *match entry.kind {
            EntryKind::File => &mut entries.files,
            EntryKind::Directory => &mut entries.directories,
            EntryKind::Symlink | EntryKind::Hardlink => &mut entries.links,
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => &mut entries.others,
        } += 1;
    }
    ZtocInfo {
        digest,
        size,
        build_tool_identifier: ztoc.build_tool_identifier.to_string(),
        compression,
        uncompressed_size: ztoc.uncompressed_size,
        span_size,
        spans: SpansInfo {
            count: sizes.len(),
            smallest: at(0),
            median: at(sizes.len() / 2),
            largest: at(sizes.len().saturating_sub(1)),
        },
        entries,
        xattrs_disabled: false,
    }
}
