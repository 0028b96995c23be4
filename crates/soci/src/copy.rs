//! `copy`, `pull`, `push`: an image as it is, with everything that belongs to it.
//!
//! That is all below its root; the SOCI index that an image manifest names, even where nothing lists it; whatever refers
//! to a document of it: SOCI indexes v1, signatures, attestations, and what refers to those; and what a document of it refers
//! to. BuildKit's attestations name the manifest that they were made of as their subject, and once an image is converted nothing
//! lists that manifest any more.

use std::collections::BTreeSet;

use serde::Serialize;
use sociable_oci::{
    Descriptor, Digest, Document, IndexUpdate, Manifest, Platform, Selection, Sink, Source, Walk,
    media_type, select,
};

use crate::convert::Blob;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::layers::{self, Job, Plan};
use crate::names::INDEX_DIGEST;
use crate::progress::Run;
use crate::settings::IndexSettings;

/// Referrers of referrers of … are followed so far.
const MAX_REFERRER_DEPTH: usize = 4;

/// What to copy.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The image's tag in the source.
    pub source_tag: Option<&'a str>,
    /// Its tag in the sink.
    pub tag: Option<&'a str>,
    /// Only the image for this platform.
    pub platform: Option<&'a Platform>,
    /// Refuse layers that are not compressed: Docker's archives hold them, and nobody wants them in a registry.
    pub refuse_plain: bool,
}

/// What was copied.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The image.
    pub image: Blob,
    /// Manifests and indexes, the image's own among them.
    pub documents: usize,
    /// Configs, layers, zTOCs and other blobs.
    pub blobs: usize,
    /// Their size in bytes, whether or not they had to be moved.
    pub bytes: u64,
    /// What stands beside the image: its SOCI indexes, signatures, …
    pub beside: Vec<Blob>,
}

/// Copies an image.
///
/// # Errors
/// [`Error`]; nothing is visible at the sink then.
pub fn copy(
    source: &dyn Source,
    sink: Box<dyn Sink>,
    options: Options<'_>,
    run: Run<'_>,
) -> Result<Report> {
    let mut roots = roots(source, options)?;
    let mut all = Documents::default();
    for root in &roots {
        all.take(source, root)?;
    }
    let beside = all.take_beside(source)?;
    let blobs = all.blobs();
    if options.refuse_plain
        && let Some(plain) = blobs.iter().find(|blob| is_plain(blob))
    {
        return Err(Error::PlainLayer {
            place: source.name(),
            layer: plain.digest,
        });
    }
    all.write(source, &*sink, &blobs, run)?;
    if run.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    if roots.is_empty() {
        return Err(Error::NoPlatforms);
    }
    let root = roots.remove(0);
    let listed = beside.iter().map(Blob::from).collect();
    let update = roots.into_iter().chain(beside).fold(
        IndexUpdate::new(root).tagged(options.tag),
        IndexUpdate::also,
    );
    let image = sink.finish(&update)?;
    Ok(Report {
        image: Blob::from(&image),
        documents: all.documents.len(),
        blobs: blobs.len(),
        bytes: blobs.iter().map(|blob| blob.size).sum(),
        beside: listed,
    })
}

/// Brings everything below `roots` to a sink; nothing of it is visible there yet under any name.
///
/// # Errors
/// [`Error`].
pub fn transfer(
    source: &dyn Source,
    roots: &[Descriptor],
    sink: &dyn Sink,
    run: Run<'_>,
) -> Result<()> {
    let mut all = Documents::default();
    for root in roots {
        all.take(source, root)?;
    }
    let blobs = all.blobs();
    all.write(source, sink, &blobs, run)
}

fn is_plain(blob: &Descriptor) -> bool {
    media_type::is_layer(&blob.media_type)
        && media_type::layer_compression(&blob.media_type) == Some(media_type::Compression::None)
}

/// The image, or its images where `index.json` itself lists them.
fn roots(source: &dyn Source, options: Options<'_>) -> Result<Vec<Descriptor>> {
    if let Some(platform) = options.platform {
        let image = Image::open(source, options.source_tag)?;
        return Ok(vec![image.one(source, Some(platform))?.descriptor]);
    }
    let selection =
        select(&source.index()?, options.source_tag).map_err(|error| Error::Select {
            place: source.name(),
            source: Box::new(error),
        })?;
    Ok(match selection {
        Selection::One(root) => vec![*root],
        Selection::Flat(index) => index.manifests,
    })
}

fn subject_of(document: &Document) -> Option<&Descriptor> {
    match document {
        Document::Manifest(manifest) => manifest.subject.as_deref(),
        Document::Index(index) => index.subject.as_deref(),
    }
}

/// Manifests and indexes: those above before those below.
#[derive(Default)]
struct Documents {
    documents: Vec<(Descriptor, Document)>,
    seen: BTreeSet<Digest>,
}

impl Documents {
    /// Takes everything below a root that is there; a registry's index may list what the source never had.
    fn take(&mut self, source: &dyn Source, root: &Descriptor) -> Result<()> {
        for step in Walk::new(source, [root.clone()]) {
            let step = match step {
                Err(sociable_oci::Error::NoBlob { digest, .. }) if digest != root.digest => {
                    continue;
                }
                step => step?,
            };
            let Some(document) = step.document else {
                return Err(Error::NotAnImage {
                    place: source.name(),
                    digest: step.descriptor.digest,
                    media_type: step.descriptor.media_type,
                });
            };
            if self.seen.insert(step.descriptor.digest) {
                self.documents.push((step.descriptor, document));
            }
        }
        Ok(())
    }

    /// Takes what belongs to the documents and is not below their root.
    fn take_beside(&mut self, source: &dyn Source) -> Result<Vec<Descriptor>> {
        let mut beside = Vec::new();
        let mut from = 0;
        for _ in 0..MAX_REFERRER_DEPTH {
            let until = self.documents.len();
            let (mut found, mut subjects) = (Vec::new(), Vec::new());
            for (descriptor, document) in &self.documents[from..until] {
                found.extend(self.belonging(source, descriptor, document)?);
                subjects.extend(self.subject(source, document)?);
            }
            for subject in subjects {
                self.take(source, &subject)?;
            }
            for descriptor in found {
                if !self.seen.contains(&descriptor.digest) {
                    self.take(source, &descriptor)?;
                    beside.push(descriptor);
                }
            }
            from = until;
        }
        Ok(beside)
    }

    /// What a document refers to, where the source has all of it and nothing lists it.
    fn subject(&self, source: &dyn Source, document: &Document) -> Result<Option<Descriptor>> {
        let Some(subject) = subject_of(document) else {
            return Ok(None);
        };
        if self.seen.contains(&subject.digest)
            || !media_type::is_document(&subject.media_type)
            || !source.has(subject)?
        {
            return Ok(None);
        }
        if let Some(Document::Manifest(manifest)) = source.parsed(subject)? {
            for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
                if !source.has(blob)? {
                    return Ok(None);
                }
            }
        }
        Ok(Some(subject.clone()))
    }

    fn belonging(
        &self,
        source: &dyn Source,
        descriptor: &Descriptor,
        document: &Document,
    ) -> Result<Vec<Descriptor>> {
        let mut found = Vec::new();
        if let Document::Manifest(manifest) = document
            && let Some(index) = manifest.annotations.get(INDEX_DIGEST)
            && let Ok(index) = index.parse()
            && !self.seen.contains(&index)
        {
            found.extend(source.manifest(&index)?);
        }
        for referrer in source.referrers(&descriptor.digest)? {
            if self.seen.contains(&referrer.digest)
                || !media_type::is_document(&referrer.media_type)
                || !source.has(&referrer)?
            {
                continue;
            }
            let document = source.parsed(&referrer)?;
            let subject = document.as_ref().and_then(subject_of);
            if subject.is_some_and(|subject| subject.digest == descriptor.digest) {
                found.push(referrer);
            }
        }
        Ok(found)
    }

    /// Writes blobs, several at once, and then the documents.
    fn write(
        &self,
        source: &dyn Source,
        sink: &dyn Sink,
        blobs: &[Descriptor],
        run: Run<'_>,
    ) -> Result<()> {
        let settings = IndexSettings::default();
        let job = Job {
            source,
            sink,
            settings: &settings,
            cache: None,
            prepared: None,
            prior: None,
            run,
        };
        let blobs: Vec<(Descriptor, Plan)> = blobs
            .iter()
            .map(|blob| (blob.clone(), Plan::Copy))
            .collect();
        layers::process(job, &blobs)?;
        // What an index lists has to be there before it.
        for (descriptor, _) in self.documents.iter().rev() {
            sink.import_from(source, descriptor)?;
        }
        Ok(())
    }

    /// Everything that the manifests list, each once.
    fn blobs(&self) -> Vec<Descriptor> {
        let manifests = self
            .documents
            .iter()
            .filter_map(|(_, document)| match document {
                Document::Manifest(manifest) => Some(&**manifest),
                Document::Index(_) => None,
            });
        let mut seen = BTreeSet::new();
        manifests
            .flat_map(|manifest: &Manifest| {
                std::iter::once(&manifest.config).chain(&manifest.layers)
            })
            .filter(|blob| seen.insert(blob.digest))
            .cloned()
            .collect()
    }
}
