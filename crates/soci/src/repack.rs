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

use crate::cache::Cache;
use crate::convert::{self, Options, Report};
use crate::create;
use crate::error::{Error, Result};
use crate::image::{Image, PlatformImage, manifest_of};
use crate::layers::{self, Prepared};
use crate::pack::{Cancellable, pack_error};
use crate::passed::{Found, Passed, kept};
use crate::progress::{Event, Run, Work};
use crate::settings::IndexSettings;
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
    // Whether there is anything to do is found out before the work.
    image.choose(source, options.platforms)?;
    let packing = Packing {
        sink: &*sink,
        settings: options.settings,
        cache: options.cache,
        run,
    };
    match Repacked::new(source, packing)? {
        None => make(source, image, sink, options, None, run),
        Some(repacked) => {
            let image = Image::open(&repacked, None)?;
            let prepared = Some(repacked.prepared());
            make(&repacked, &image, sink, options, prepared, run)
        }
    }
}

/// What happens to layers that are plain tars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// They are indexed as they are.
    Keep,
    /// They are packed.
    Pack,
}

/// Where packed layers go, and how they are indexed.
#[derive(Clone, Copy)]
pub(crate) struct Packing<'a> {
    pub(crate) sink: &'a dyn Sink,
    pub(crate) settings: &'a IndexSettings,
    pub(crate) cache: Option<&'a Cache>,
    pub(crate) run: Run<'a>,
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
                && source.has(&layer)?;
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
    packing: Packing<'_>,
) -> Result<Repack> {
    let Packing {
        sink,
        settings,
        cache,
        run,
    } = packing;
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
    let facts = settings.facts_of_new(media_type::OCI_LAYER_GZIP);
    let mut planner = settings.policies.planner(&facts)?;
    let pack = PackOptions {
        build_tool_identifier: settings.build_tool_identifier.as_str().into(),
        span_size: settings.span_size,
        planner: &mut *planner,
        level: DEFAULT_LEVEL,
        levels: None,
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
    let unwanted = settings.unwanted(&settings.facts(&layer))?.is_some();
    let found = match ztoc {
        _ if unwanted => None,
        Err(error) => Some(Found::Bad(error)),
        Ok(ztoc) => {
            let encoded = layers::encode(&ztoc, &layer, settings)?;
            let write = |out: &mut dyn io::Write| encoded.write_to(out);
            layers::remember(cache, settings, &layer, None, write, run);
            Some(Found::Layer {
                compression: Compression::Gzip,
                facts: layers::facts_of(&ztoc, &layer, &encoded, settings)?,
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

/// Digest and size of each document that has changed, by its old digest.
type Changed = BTreeMap<Digest, (Digest, u64)>;

/// Documents with packed layers in the place of tars.
pub(crate) struct Rewritten {
    pub(crate) index: Index,
    changed: Changed,
    /// The documents below the index that have changed.
    pub(crate) documents: Vec<Vec<u8>>,
}

/// Puts packed layers in the place of tars in `index` and what is below it.
pub(crate) fn rewrite(
    source: &dyn Source,
    index: &Index,
    replaced: &BTreeMap<Digest, Descriptor>,
) -> Result<Rewritten> {
    let mut indexes = Vec::new();
    let mut changed = Changed::new();
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
    Ok(Rewritten {
        index,
        changed,
        documents: documents.into_values().collect(),
    })
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
fn point(entry: &mut Descriptor, changed: &Changed) -> bool {
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
pub(crate) struct Repacked<'a> {
    source: &'a dyn Source,
    passed: Passed,
    index: Index,
    changed: Changed,
    documents: BTreeMap<Digest, Vec<u8>>,
}

impl<'a> Repacked<'a> {
    /// Packs the layers of a source that are plain tars; `None` if there are none.
    ///
    /// # Errors
    /// When one cannot be read, is damaged, or cannot be packed or written.
    pub(crate) fn new(source: &'a dyn Source, packing: Packing<'_>) -> Result<Option<Self>> {
        let plain = plain_layers(source)?;
        if plain.is_empty() {
            return Ok(None);
        }
        note(packing.run, &source.name());
        packing.run.progress.event(&Event::Plan {
            layers: plain.len(),
            bytes: plain.iter().map(|layer| layer.size).sum(),
        });
        let mut passed = Passed::default();
        let mut replaced = BTreeMap::new();
        for tar in &plain {
            let mut blob = source.blob(tar)?;
            if tar.digest.algorithm() != Algorithm::Sha256 {
                // Packing computes SHA-256 only.
                blob = Box::new(verified(tar, blob));
            }
            let packed = pack_layer(tar, blob, &source.name(), packing)?;
            check(&packed.packed, tar, &source.name())?;
            passed.add(packed.layer.digest, packed.layer.size, packed.found);
            replaced.insert(tar.digest, packed.layer);
        }
        let Rewritten {
            index,
            changed,
            documents,
        } = rewrite(source, &source.index()?, &replaced)?;
        let documents = documents.into_iter();
        Ok(Some(Self {
            source,
            passed,
            index,
            changed,
            documents: documents
                .map(|bytes| (Digest::sha256_of(&bytes), bytes))
                .collect(),
        }))
    }

    /// The packed layers.
    pub(crate) fn prepared(&self) -> &dyn Prepared {
        &self.passed
    }

    /// An image of the source, with packed layers.
    ///
    /// # Errors
    /// When its manifest cannot be read.
    pub(crate) fn image(&self, image: &PlatformImage) -> Result<PlatformImage> {
        let mut image = image.clone();
        point(&mut image.descriptor, &self.changed);
        image.manifest = manifest_of(self, &image.descriptor)?;
        Ok(image)
    }
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

    fn has(&self, descriptor: &Descriptor) -> sociable_oci::Result<bool> {
        let digest = &descriptor.digest;
        let ours = self.documents.contains_key(digest) || self.passed.contains(digest);
        Ok(ours || self.source.has(descriptor)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sociable_oci::oci_dir::{OciDir, OciDirSink};
    use sociable_oci::{IndexUpdate, Manifest};

    /// A layout with documents and nothing else.
    fn layout(documents: &[Vec<u8>], top: Descriptor) -> (tempfile::TempDir, OciDir) {
        let dir = tempfile::tempdir().unwrap();
        let sink = OciDirSink::create(dir.path()).unwrap();
        for document in documents {
            sink.put(document).unwrap();
        }
        Box::new(sink).finish(&IndexUpdate::new(top)).unwrap();
        let source = OciDir::open(dir.path()).unwrap();
        (dir, source)
    }

    #[test]
    fn documents_change_up_to_the_top_and_no_others() {
        let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
        let tar = Descriptor::of(media_type::OCI_LAYER, b"tar");
        let docker = Descriptor {
            media_type: media_type::DOCKER_LAYER.to_owned(),
            ..tar.clone()
        };
        let other = Descriptor::of(media_type::OCI_LAYER_GZIP, b"gzip");
        let plain = Manifest::new(
            config.clone(),
            vec![tar.clone(), other.clone(), tar.clone()],
        );
        let same = Manifest::new(config.clone(), vec![other.clone()]);
        let bare = Manifest::new(config.clone(), vec![docker]);
        let of = |bytes: &[u8]| Descriptor::of(media_type::OCI_MANIFEST, bytes);
        let missing = of(b"not there");
        let [plain, same, bare] = [plain, same, bare].map(|manifest| manifest.to_bytes());
        let mut embedded = of(&plain);
        embedded.data = "e30=".into();
        let inner = Index::new(vec![embedded, of(&same)]).to_bytes();
        let inner_entry = Descriptor::of(media_type::OCI_INDEX, &inner);
        let outer = Index::new(vec![
            inner_entry.clone(),
            of(&bare),
            missing.clone(),
            inner_entry,
        ]);
        let outer_bytes = outer.to_bytes();
        let top = Descriptor::of(media_type::OCI_INDEX, &outer_bytes);
        let documents = [plain, same.clone(), bare, inner, outer_bytes];
        let (_dir, source) = layout(&documents, top);

        let packed = Descriptor::of("", b"packed");
        let replaced = BTreeMap::from([(tar.digest, packed.clone())]);
        let before = source.index().unwrap();
        let rewritten = rewrite(&source, &before, &replaced).unwrap();
        // Both manifests with the tar, and both indexes.
        assert_eq!(rewritten.documents.len(), 4);
        let find = |entry: &Descriptor| {
            let bytes = rewritten.documents.iter();
            let bytes = bytes.clone().find(|b| Digest::sha256_of(b) == entry.digest);
            assert_eq!(bytes.unwrap().len() as u64, entry.size);
            assert!(entry.data.is_empty());
            Document::parse(&entry.media_type, bytes.unwrap()).unwrap()
        };
        let index = |entry: &Descriptor| match find(entry) {
            Some(Document::Index(index)) => index,
            found => panic!("{found:?}"),
        };
        let layers = |entry: &Descriptor| match find(entry) {
            Some(Document::Manifest(manifest)) => manifest.layers,
            found => panic!("{found:?}"),
        };
        let outer = index(&rewritten.index.manifests[0]);
        assert_eq!(outer.manifests[0], outer.manifests[3]);
        assert_eq!(outer.manifests[2], missing);
        let inner = index(&outer.manifests[0]);
        assert_eq!(inner.manifests[1], of(&same));
        let is = |layer: &Descriptor, media_type: &str| {
            layer.media_type == media_type
                && layer.digest == packed.digest
                && layer.size == packed.size
        };
        let changed = layers(&inner.manifests[0]);
        assert!(is(&changed[0], media_type::OCI_LAYER_GZIP) && changed[1] == other);
        assert_eq!(changed[0], changed[2]);
        assert!(is(
            &layers(&outer.manifests[1])[0],
            media_type::DOCKER_LAYER_GZIP
        ));

        let nothing = rewrite(&source, &before, &BTreeMap::new()).unwrap();
        assert_eq!(nothing.index, before);
        assert!(nothing.documents.is_empty());
    }
}
