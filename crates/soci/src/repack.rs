//! Images whose layers are plain tars: each is packed (gzip) and indexed in one pass on its way to the destination.
//!
//! Docker's archives, and its older image store, keep layers uncompressed. A tar's bytes stay as they are, so that the
//! image's config, which names layers by the digests of their tars, stays as it is too; manifests are written anew. The
//! layers' digests depend on how they are compressed, and are others than those of a registry that the image came from.

use std::collections::BTreeMap;
use std::io::{self, Read};

use sociable_layer::pack::DEFAULT_LEVEL;
use sociable_layer::{Compression, PackOptions, PackedTar};
use sociable_oci::{
    Algorithm, Descriptor, Digest, Document, Hashing, Index, Sink, Source, Walk, limits,
    media_type, verified,
};

use crate::convert::{self, Options, Report};
use crate::create;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::layers::{self, Prepared};
use crate::pack::{Cancellable, pack_error};
use crate::passed::{Found, Passed, kept};
use crate::progress::{Event, Run, Work};
use crate::soci_index::Version;

/// As [`convert`](convert::convert) for v2, [`create`](create::create) for v1; layers that are plain tars are packed.
///
/// # Errors
/// As there, and when a layer cannot be packed.
pub fn make(
    version: Version,
    source: &dyn Source,
    image: &Image,
    sink: Box<dyn Sink>,
    options: &Options<'_>,
    run: Run<'_>,
) -> Result<Report> {
    let make = match version {
        Version::V1 => create::create_prepared,
        Version::V2 => convert::convert_prepared,
    };
    let plain = plain_layers(source)?;
    if plain.is_empty() {
        return make(source, image, sink, options, None, run);
    }
    // Whether there is anything to do is found out before the work.
    image.choose(source, options.platforms)?;
    note(run, &source.name());
    run.progress.event(&Event::Plan {
        layers: plain.len(),
        bytes: plain.iter().map(|layer| layer.size).sum(),
    });
    let mut repacked = Repacked {
        source,
        passed: Passed::default(),
        index: Index::new(Vec::new()),
        documents: BTreeMap::new(),
    };
    let mut replaced = BTreeMap::new();
    for tar in &plain {
        let mut blob = source.blob(tar)?;
        if tar.digest.algorithm() != Algorithm::Sha256 {
            // Packing computes SHA-256 only.
            blob = Box::new(verified(tar, blob));
        }
        let packed = pack_layer(tar, blob, &source.name(), &*sink, options, run)?;
        check(&packed.packed, tar, &source.name())?;
        let size = packed.layer.size;
        repacked.passed.add(packed.layer.digest, size, packed.found);
        replaced.insert(tar.digest, packed.layer);
    }
    let (index, documents) = rewrite(source, &source.index()?, &replaced)?;
    repacked.index = index;
    repacked.documents = documents
        .into_iter()
        .map(|bytes| (Digest::sha256_of(&bytes), bytes))
        .collect();
    let image = Image::open(&repacked, None)?;
    let prepared = Some(&repacked.passed as &dyn Prepared);
    make(&repacked, &image, sink, options, prepared, run)
}

/// Says that layers get other digests.
pub(crate) fn note(run: Run<'_>, place: &str) {
    run.note(&format!(
        "{place} has layers without compression: they are compressed anew, so that their digests are not those of a \
         registry that the image came from"
    ));
}

/// The layers that are plain tars, of all images of a source, each once.
fn plain_layers(source: &dyn Source) -> Result<Vec<Descriptor>> {
    let mut plain: Vec<Descriptor> = Vec::new();
    for step in Walk::new(source, source.index()?.manifests) {
        let step = match step {
            Err(sociable_oci::Error::NoBlob { .. }) => continue,
            step => step?,
        };
        let Some(Document::Manifest(manifest)) = step.document else {
            continue;
        };
        for layer in manifest.layers {
            let candidate = gzip_type(&layer.media_type).is_some()
                && !plain.iter().any(|seen| seen.digest == layer.digest)
                && source.has(&layer.digest)?;
            // Docker's bare type says nothing about compression.
            if candidate && !is_gzip(source, &layer)? {
                plain.push(layer);
            }
        }
    }
    Ok(plain)
}

fn is_gzip(source: &dyn Source, layer: &Descriptor) -> Result<bool> {
    Ok(layer.size >= 2 && source.blob_at(layer, 0, 2)? == [0x1f, 0x8b])
}

/// The media type of a plain layer once it is packed; `None` for what is no plain layer.
fn gzip_type(plain: &str) -> Option<String> {
    Some(match plain {
        media_type::OCI_LAYER | media_type::OCI_LAYER_NONDISTRIBUTABLE => format!("{plain}+gzip"),
        media_type::DOCKER_LAYER | media_type::DOCKER_LAYER_FOREIGN => format!("{plain}.gzip"),
        _ => return None,
    })
}

/// A tar that has become a layer.
pub(crate) struct Repack {
    /// The layer, without a media type.
    pub(crate) layer: Descriptor,
    /// What was found in it, if it is large enough for an index.
    pub(crate) found: Option<Found>,
    pub(crate) packed: Facts,
}

/// What the tar was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) diff_id: Digest,
    pub(crate) size: u64,
}

/// Packs a tar into the sink. What `tar` says is for messages: the caller compares it with the facts.
pub(crate) fn pack_layer(
    tar: &Descriptor,
    bytes: impl Read,
    place: &str,
    sink: &dyn Sink,
    options: &Options<'_>,
    run: Run<'_>,
) -> Result<Repack> {
    let settings = options.settings;
    let work = Work::Pack;
    run.progress.event(&Event::Start { layer: tar, work });
    let mut out = Cancellable {
        writer: sink.begin_with(None, Hashing::Caller)?,
        run,
    };
    let watched = Watched {
        bytes,
        tar: &tar.digest,
        run,
    };
    let mut planner = settings.planner();
    let pack = PackOptions {
        build_tool_identifier: settings.build_tool_identifier.as_str().into(),
        span_size: settings.span_size,
        planner: &mut *planner,
        level: DEFAULT_LEVEL,
        jobs: run.jobs,
        limits: settings.limits,
        allow_unreadable: settings.allow_unreadable,
        progress: None,
    };
    let packed = sociable_layer::pack_tar(watched, &mut out, pack).map_err(|error| {
        let what = || format!("layer {} of {place}", tar.digest);
        pack_error(error, run, sink, place, what)
    })?;
    let PackedTar {
        ztoc,
        digest,
        size,
        diff_id,
        tar_size,
    } = packed;
    let digest = Digest::from_sha256(digest.0);
    out.writer.commit_trusted(&digest, size)?;
    let layer = Descriptor::new("", digest, size);
    run.progress.event(&Event::Packed {
        tar: &tar.digest,
        layer: &layer,
    });
    let found = match ztoc {
        _ if size < settings.min_layer_size => None,
        Err(error) => Some(Found::Bad(error)),
        Ok(ztoc) => {
            let encoded = layers::encode(&ztoc, &layer)?;
            layers::remember(options.cache, settings, &layer, &encoded, run);
            Some(Found::Layer {
                compression: Compression::Gzip,
                facts: layers::facts_of(&ztoc, &encoded, settings),
                ztoc: kept(|file| encoded.write_to(file))?,
            })
        }
    };
    let packed = Facts {
        diff_id: Digest::from_sha256(diff_id.0),
        size: tar_size,
    };
    Ok(Repack {
        layer,
        found,
        packed,
    })
}

/// Compares a tar with what it should have been.
fn check(actual: &Facts, tar: &Descriptor, place: &str) -> Result<()> {
    let same = tar.digest.algorithm() != Algorithm::Sha256 || actual.diff_id == tar.digest;
    if same && actual.size == tar.size {
        return Ok(());
    }
    Err(Error::WrongLayer {
        place: place.to_owned(),
        expected: tar.digest,
        actual: Box::new(actual.diff_id),
        size: actual.size,
    })
}

/// A tar being read: reported, and stopped when somebody asks.
struct Watched<'a, R> {
    bytes: R,
    tar: &'a Digest,
    run: Run<'a>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.run.cancel.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        let count = self.bytes.read(buffer)?;
        let (layer, bytes) = (self.tar, count as u64);
        self.run.progress.event(&Event::Bytes { layer, bytes });
        Ok(count)
    }
}

/// Puts packed layers in the place of tars: gives the new `index.json`, and the documents below it that have changed.
pub(crate) fn rewrite(
    source: &dyn Source,
    index: &Index,
    replaced: &BTreeMap<Digest, Descriptor>,
) -> Result<(Index, Vec<Vec<u8>>)> {
    let mut indexes = Vec::new();
    // Digest and size of each document that has changed, by its old digest.
    let mut changed: BTreeMap<Digest, (Digest, u64)> = BTreeMap::new();
    let mut documents: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    for step in Walk::new(source, index.manifests.iter().cloned()) {
        let step = match step {
            Err(sociable_oci::Error::NoBlob { .. }) => continue,
            step => step?,
        };
        match step.document {
            Some(Document::Index(index)) => indexes.push((step.descriptor.digest, index)),
            Some(Document::Manifest(mut manifest)) => {
                let old = manifest.layers.clone();
                manifest
                    .layers
                    .iter_mut()
                    .for_each(|l| pack_in(l, replaced));
                if manifest.layers != old {
                    let bytes = manifest.to_bytes();
                    let new = (Digest::sha256_of(&bytes), bytes.len() as u64);
                    changed.insert(step.descriptor.digest, new);
                    documents.insert(step.descriptor.digest, bytes);
                }
            }
            None => {}
        }
    }
    // Each round reaches the indexes one level further up.
    for _ in 0..=limits::MAX_DEPTH {
        for (old, index) in &indexes {
            let mut index = index.clone();
            let mut any = false;
            for entry in &mut index.manifests {
                any |= point(entry, &changed);
            }
            if any {
                let bytes = index.to_bytes();
                changed.insert(*old, (Digest::sha256_of(&bytes), bytes.len() as u64));
                documents.insert(*old, bytes);
            }
        }
    }
    let mut index = index.clone();
    for entry in &mut index.manifests {
        point(entry, &changed);
    }
    Ok((index, documents.into_values().collect()))
}

fn pack_in(layer: &mut Descriptor, replaced: &BTreeMap<Digest, Descriptor>) {
    if let Some(packed) = replaced.get(&layer.digest)
        && let Some(media_type) = gzip_type(&layer.media_type)
    {
        layer.media_type = media_type;
        layer.digest = packed.digest;
        layer.size = packed.size;
        layer.data.clear();
    }
}

/// Points an entry at the new form of what it led to; says whether there is one.
fn point(entry: &mut Descriptor, changed: &BTreeMap<Digest, (Digest, u64)>) -> bool {
    let Some((digest, size)) = changed.get(&entry.digest) else {
        return false;
    };
    entry.digest = *digest;
    entry.size = *size;
    // An embedded copy of the old document would be wrong now.
    entry.data.clear();
    true
}

/// A source with packed layers in the place of tars.
struct Repacked<'a> {
    source: &'a dyn Source,
    passed: Passed,
    index: Index,
    documents: BTreeMap<Digest, Vec<u8>>,
}

impl Source for Repacked<'_> {
    fn name(&self) -> String {
        self.source.name()
    }

    fn index(&self) -> sociable_oci::Result<Index> {
        Ok(self.index.clone())
    }

    fn blob(&self, descriptor: &Descriptor) -> sociable_oci::Result<Box<dyn Read + Send>> {
        match self.documents.get(&descriptor.digest) {
            Some(bytes) => Ok(Box::new(io::Cursor::new(bytes.clone()))),
            None => self.source.blob(descriptor),
        }
    }

    fn blob_at(
        &self,
        descriptor: &Descriptor,
        offset: u64,
        len: usize,
    ) -> sociable_oci::Result<Vec<u8>> {
        // Documents are read whole.
        self.source.blob_at(descriptor, offset, len)
    }

    fn has(&self, digest: &Digest) -> sociable_oci::Result<bool> {
        let ours = self.documents.contains_key(digest) || self.passed.contains(digest);
        Ok(ours || self.source.has(digest)?)
    }
}
