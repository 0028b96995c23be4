//! Images of layers that were made one by one.
//!
//! In a build with BuildKit each layer is a step of its own, cached by itself, in a container of its own. A step makes or indexes
//! one layer ([`pack_layer`], [`index_layer`]) and says what came of it: a [`Part`], a small document. Later, and
//! elsewhere, the parts are put together to manifests and SOCI indexes without a look at any layer: [`assemble`]. What comes out is what
//! [`convert`](mod@crate::convert) would make of the image without an index.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read, Write};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sociable_layer::pack::{PackEntry, SourceError};
use sociable_oci::{
    BlobWriter, Descriptor, Digest, Hashing, Index, IndexUpdate, Manifest, Platform, Sink, Source,
    media_type,
};

use crate::convert::{self, Report};
use crate::error::{Error, Result};
use crate::image::PlatformImage;
use crate::layers::{self, Job, Plan};
use crate::outcome::LayerOutcome;
use crate::progress::Run;
use crate::settings::IndexSettings;

/// A layer that was made or indexed by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The layer.
    pub layer: Descriptor,
    /// Digest of its tar.
    pub diff_id: Digest,
    /// Its zTOC, or why it has none.
    pub outcome: LayerOutcome,
}

/// An image that is to be put together for one platform.
#[derive(Debug, Clone)]
pub struct Image {
    /// The platform.
    pub platform: Platform,
    /// Its config, JSON, with the diff IDs of all layers.
    pub config: Vec<u8>,
    /// Its layers, lowest first.
    pub parts: Vec<Part>,
}

/// Documents of an image.
#[derive(Debug, Clone)]
pub struct Assembly {
    /// Configs, SOCI indexes, prefetch artifacts, manifests, image index: everything but layers and zTOCs, each once.
    pub documents: Vec<Vec<u8>>,
    /// The image index.
    pub image: Descriptor,
    /// SOCI indexes in the order of the images; `None` where no layer was indexed.
    pub soci_indexes: Vec<Option<Descriptor>>,
    /// What became of the layers; `None` where none was indexed.
    pub report: Option<Report>,
}

/// Packs entries into a layer with its zTOC, both written to `sink`. `place` says what the entries are of, for messages.
///
/// # Errors
/// [`Error`].
pub fn pack_layer<E: PackEntry>(
    entries: impl IntoIterator<Item = Result<E, SourceError>>,
    sink: &dyn Sink,
    place: &str,
    settings: &IndexSettings,
    level: u8,
    run: Run<'_>,
) -> Result<Part> {
    let nothing = Drawer::default();
    let job = job(&nothing, sink, settings, run);
    crate::pack::layer(job, entries, place, level, settings.min_layer_size)
}

/// Indexes a layer that exists, with its zTOC written to `sink`, and the layer itself if that lacks it. `diff_id` is what its
/// image's config says.
///
/// # Errors
/// [`Error`].
pub fn index_layer(
    source: &dyn Source,
    layer: &Descriptor,
    diff_id: Digest,
    sink: &dyn Sink,
    settings: &IndexSettings,
    run: Run<'_>,
) -> Result<Part> {
    let job = job(source, sink, settings, run);
    // An image of this one layer.
    let config = Descriptor::of(media_type::OCI_CONFIG, b"");
    let image = PlatformImage {
        platform: Platform::host(),
        descriptor: config.clone(),
        manifest: Manifest::new(config, vec![layer.clone()]),
    };
    let mut outcomes = layers::process(job, &layers::plan_all(job, &[image], [])?)?;
    let outcome = outcomes
        .remove(&layer.digest)
        .unwrap_or(LayerOutcome::Copied);
    Ok(Part {
        layer: layer.clone(),
        diff_id,
        outcome,
    })
}

/// What becomes of a layer that is not looked into with these settings; `None` for one that is.
///
/// # Errors
/// [`Error::NotALayer`].
pub fn passed_over(layer: &Descriptor, settings: &IndexSettings) -> Result<Option<LayerOutcome>> {
    Ok(match layers::plan(layer, settings, &Drawer::default())? {
        Plan::Index(_) => None,
        Plan::Skip(reason) => Some(LayerOutcome::Skipped(reason)),
        Plan::Copy => Some(LayerOutcome::Copied),
    })
}

/// Writes a layer that exists to `sink`, if that lacks it, and does not look into it.
///
/// # Errors
/// [`Error`].
pub fn copy_layer(
    source: &dyn Source,
    layer: &Descriptor,
    diff_id: Digest,
    sink: &dyn Sink,
    run: Run<'_>,
) -> Result<Part> {
    let settings = IndexSettings::default();
    let job = job(source, sink, &settings, run);
    layers::process(job, &[(layer.clone(), Plan::Copy)])?;
    Ok(Part {
        layer: layer.clone(),
        diff_id,
        outcome: LayerOutcome::Copied,
    })
}

fn job<'a>(
    source: &'a dyn Source,
    sink: &'a dyn Sink,
    settings: &'a IndexSettings,
    run: Run<'a>,
) -> Job<'a> {
    Job {
        source,
        sink,
        settings,
        cache: None,
        prepared: None,
        prior: None,
        run,
    }
}

/// Makes the documents of an image.
///
/// # Errors
/// [`Error`].
pub fn assemble(images: &[Image], settings: &IndexSettings, run: Run<'_>) -> Result<Assembly> {
    let parts = images.iter().flat_map(|image| &image.parts);
    let drawer = Drawer::holding(parts.clone());
    let mut outcomes = BTreeMap::new();
    for part in parts {
        outcomes.insert(part.layer.digest, part.outcome.clone());
    }
    let mut chosen = Vec::new();
    for image in images {
        let config = drawer.put(&image.config)?;
        let config = Descriptor::new(media_type::OCI_CONFIG, config, image.config.len() as u64);
        let layers = image.parts.iter().map(|part| part.layer.clone());
        let manifest = Manifest::new(config, layers.collect());
        let mut descriptor = Descriptor::of(media_type::OCI_MANIFEST, &manifest.to_bytes());
        descriptor.platform = Some(image.platform.clone());
        chosen.push(PlatformImage {
            platform: image.platform.clone(),
            descriptor,
            manifest,
        });
    }
    let entries: Vec<_> = chosen.iter().map(|i| i.descriptor.clone()).collect();
    let manifests: Vec<_> = chosen.iter().map(|i| Some(i.manifest.clone())).collect();
    let job = job(&drawer, &drawer, settings, run);
    let assembled = convert::assemble(
        job,
        &chosen,
        Index::new(entries.clone()),
        manifests,
        &outcomes,
    );
    match assembled {
        Ok(assembled) => {
            let (image, report) = (assembled.image().clone(), assembled.report.clone());
            let soci_index = |platform: &Platform| {
                let platform = platform.to_string();
                let report = report.platforms.iter().find(|p| p.platform == platform)?;
                let blob = &report.soci_index;
                Some(Descriptor::new(&blob.media_type, blob.digest, blob.size))
            };
            Ok(Assembly {
                soci_indexes: images.iter().map(|i| soci_index(&i.platform)).collect(),
                documents: drawer.documents(),
                image,
                report: Some(report),
            })
        }
        // An image all the same.
        Err(Error::NothingIndexed(_)) => {
            for image in &chosen {
                drawer.put(&image.manifest.to_bytes())?;
            }
            let index = Index::new(entries.clone()).to_bytes();
            drawer.put(&index)?;
            Ok(Assembly {
                documents: drawer.documents(),
                image: Descriptor::of(media_type::OCI_INDEX, &index),
                soci_indexes: vec![None; images.len()],
                report: None,
            })
        }
        Err(error) => Err(error),
    }
}

/// Keeps documents in memory, and knows of blobs that are elsewhere.
#[derive(Debug, Default)]
struct Drawer {
    elsewhere: BTreeSet<Digest>,
    documents: Mutex<BTreeMap<Digest, Vec<u8>>>,
}

impl Drawer {
    fn holding<'a>(parts: impl Iterator<Item = &'a Part>) -> Self {
        let mut elsewhere = BTreeSet::new();
        for part in parts {
            elsewhere.insert(part.layer.digest);
            if let LayerOutcome::Indexed(indexed) = &part.outcome {
                elsewhere.insert(indexed.ztoc);
            }
        }
        Self {
            elsewhere,
            documents: Mutex::default(),
        }
    }

    fn keep(&self, digest: Digest, bytes: Vec<u8>) {
        let documents = self.documents.lock();
        let mut documents = documents.unwrap_or_else(PoisonError::into_inner);
        documents.insert(digest, bytes);
    }

    fn document(&self, digest: &Digest) -> Option<Vec<u8>> {
        let documents = self.documents.lock();
        let documents = documents.unwrap_or_else(PoisonError::into_inner);
        documents.get(digest).cloned()
    }

    fn documents(self) -> Vec<Vec<u8>> {
        let documents = self.documents.into_inner();
        let documents = documents.unwrap_or_else(PoisonError::into_inner);
        documents.into_values().collect()
    }
}

const NAME: &str = "the image that is put together";

impl Source for Drawer {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn index(&self) -> sociable_oci::Result<Index> {
        Ok(Index::new(Vec::new()))
    }

    fn blob(&self, descriptor: &Descriptor) -> sociable_oci::Result<Box<dyn Read + Send>> {
        match self.document(&descriptor.digest) {
            Some(bytes) => Ok(Box::new(Cursor::new(bytes))),
            None => Err(sociable_oci::Error::NoBlob {
                place: NAME.to_owned(),
                digest: descriptor.digest,
            }),
        }
    }

    fn blob_at(
        &self,
        descriptor: &Descriptor,
        offset: u64,
        len: usize,
    ) -> sociable_oci::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.blob_from(descriptor, offset)?
            .take(len as u64)
            .read_to_end(&mut bytes)
            .map_err(sociable_oci::Error::io("read a document from", NAME))?;
        Ok(bytes)
    }

    fn has(&self, descriptor: &Descriptor) -> sociable_oci::Result<bool> {
        Sink::has(self, &descriptor.digest)
    }
}

impl Sink for Drawer {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn has(&self, digest: &Digest) -> sociable_oci::Result<bool> {
        Ok(self.elsewhere.contains(digest) || self.document(digest).is_some())
    }

    fn begin_with(
        &self,
        _: Option<(&Digest, u64)>,
        _: Hashing,
    ) -> sociable_oci::Result<Box<dyn BlobWriter + '_>> {
        Ok(Box::new(Sheet {
            drawer: self,
            bytes: Vec::new(),
        }))
    }

    fn finish(self: Box<Self>, update: &IndexUpdate) -> sociable_oci::Result<Descriptor> {
        Ok(update.image().clone())
    }
}

/// A document being written.
struct Sheet<'a> {
    drawer: &'a Drawer,
    bytes: Vec<u8>,
}

impl Write for Sheet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for Sheet<'_> {
    fn commit(self: Box<Self>, _: Option<&Digest>) -> sociable_oci::Result<(Digest, u64)> {
        let (digest, size) = (Digest::sha256_of(&self.bytes), self.bytes.len() as u64);
        self.drawer.keep(digest, self.bytes);
        Ok((digest, size))
    }

    fn commit_trusted(self: Box<Self>, _: &Digest, _: u64) -> sociable_oci::Result<()> {
        self.commit(None).map(|_| ())
    }
}
