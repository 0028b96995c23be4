//! An image in a registry, for writing: blobs, then manifests by digest, then lists of referrers, and the tag last.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use super::client::{Access, Client, Request};
use super::error::Failure;
use super::reference::{Reference, RepositoryName};
use super::referrers;
use super::source::{Presence, RegistrySource, exists, fetch, header};
use super::upload::{Again, Upload, mount};
use crate::digest::Digest;
use crate::document::{Descriptor, Document, Index, REF_NAME};
use crate::error::{Error, Result};
use crate::media_type;
use crate::sink::{BlobWriter, Hashing, IndexUpdate, Sink, import_blob};
use crate::source::{Source, verified};

/// An image in a registry, for writing. See the [module](super).
#[derive(Debug)]
pub struct RegistrySink {
    client: Arc<Client>,
    reference: Reference,
    tag: String,
    /// Documents that were written: the last of them is written once more, under its tag.
    documents: Mutex<BTreeMap<Digest, (String, Vec<u8>)>>,
    /// Manifests that refer to others, where the registry did not say that it takes note.
    unlisted: Mutex<Vec<(Digest, Descriptor)>>,
}

impl RegistrySink {
    pub(super) fn create(client: &Arc<Client>, reference: &Reference) -> Result<Self> {
        let place = || format!("docker://{reference}");
        if reference.digest.is_some() {
            return Err(Error::ReadOnly {
                place: place(),
                why: "it has a digest, which only what is there already can have: name a tag",
            });
        }
        let Some(tag) = reference.tag.clone() else {
            return Err(Error::ReadOnly {
                place: place(),
                why: "it has no tag",
            });
        };
        Ok(Self {
            client: Arc::clone(client),
            reference: reference.clone(),
            tag,
            documents: Mutex::default(),
            unlisted: Mutex::default(),
        })
    }

    /// Starts a blob that can be read again.
    fn upload<'a>(&self, blob: &Descriptor, again: Again<'a>) -> Result<Box<dyn BlobWriter + 'a>> {
        let upload = Upload::start(
            &self.client,
            &self.reference.name,
            Some((&blob.digest, blob.size)),
            Hashing::Caller,
            Some(again),
        )?;
        Ok(Box::new(upload))
    }

    /// Writes a manifest under a digest or a tag; whether the registry took note of its subject.
    fn put_manifest(&self, selector: &str, media_type: &str, bytes: &[u8]) -> Result<bool> {
        let url = self
            .client
            .url(&self.reference.name, &format!("manifests/{selector}"))?;
        let request = Request::new(Method::PUT, url, &self.reference.name, Access::Push, &[201])
            .slow()
            .header(CONTENT_TYPE, media_type)
            .body(bytes.to_vec());
        let response = self.client.block(self.client.send(&request))?;
        let digest = Digest::sha256_of(bytes).to_string();
        if let Some(said) = header(&response, "docker-content-digest")
            && said.starts_with("sha256:")
            && said != digest
        {
            return Err(request
                .failed(Failure::Answer(format!(
                    "the registry stored {said} in the place of {digest}"
                )))
                .into());
        }
        Ok(response.headers().contains_key("oci-subject"))
    }

    /// Whether a blob is there, or was taken over from `source`, or from another repository that is known to have it.
    fn acquire_from(
        &self,
        source: Option<&RepositoryName>,
        descriptor: &Descriptor,
    ) -> Result<bool> {
        let own = &self.reference.name;
        if self.holds(descriptor)? {
            self.client.remember(own, &descriptor.digest);
            return Ok(true);
        }
        if media_type::is_document(&descriptor.media_type) {
            return Ok(false);
        }
        let home = self.client.home(&own.registry, &descriptor.digest);
        let places: BTreeSet<&RepositoryName> = source.into_iter().chain(&home).collect();
        for from in places {
            if from.registry == own.registry
                && from.repository != own.repository
                && mount(&self.client, own, from, &descriptor.digest)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The bytes of a document that this sink wrote, or the registry had.
    fn document(&self, descriptor: &Descriptor) -> Result<(String, Vec<u8>)> {
        let known = self
            .documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&descriptor.digest)
            .cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = fetch(
            &self.client,
            &self.reference.name,
            &descriptor.digest.to_string(),
        )?;
        verified(descriptor, &found.bytes[..])
            .read_to_end(&mut Vec::new())
            .map_err(Error::io("read", self.name()))?;
        Ok((descriptor.media_type.clone(), found.bytes))
    }

    /// What the tag is to lead to: a tag holds one document, so several images without an index get one.
    fn root(&self, update: &IndexUpdate) -> Result<Descriptor> {
        let mut images = Vec::new();
        for entry in update.entries() {
            if entry.digest == update.image().digest || self.is_image(entry)? {
                images.push(entry.clone());
            }
        }
        images.dedup_by_key(|image| image.digest);
        if let [only] = &images[..] {
            return Ok(only.clone());
        }
        for image in &mut images {
            image.annotations.remove(REF_NAME);
        }
        let bytes = Index::new(images).to_bytes();
        self.put_document(media_type::OCI_INDEX, &bytes)?;
        Ok(Descriptor::of(media_type::OCI_INDEX, &bytes))
    }

    /// Whether something beside an image is another one, and does not just refer to one.
    fn is_image(&self, entry: &Descriptor) -> Result<bool> {
        if !entry.artifact_type.is_empty() {
            return Ok(false);
        }
        let (media_type, bytes) = self.document(entry)?;
        let document = Document::parse(&media_type, &bytes).ok().flatten();
        Ok(document.is_some_and(|document| subject_of(&document).is_none()))
    }

    /// What the tag leads to now.
    fn current(&self) -> Result<Option<Digest>> {
        match fetch(&self.client, &self.reference.name, &self.tag) {
            Ok(found) => Ok(Some(found.descriptor.digest)),
            Err(error) if error.failure.status() == Some(404) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Sink for RegistrySink {
    fn name(&self) -> String {
        format!("docker://{}", self.reference)
    }

    fn has(&self, digest: &Digest) -> Result<bool> {
        let blob = Descriptor::new("", *digest, 0);
        let found = exists(&self.client, &self.reference.name, &blob, Access::Push)?;
        Ok(found != Presence::Absent)
    }

    fn holds(&self, descriptor: &Descriptor) -> Result<bool> {
        let found = exists(&self.client, &self.reference.name, descriptor, Access::Push)?;
        Ok(found.is_of(descriptor.size))
    }

    fn repository(&self) -> Option<&RepositoryName> {
        Some(&self.reference.name)
    }

    fn seen(&self, digest: &Digest, repository: &RepositoryName) {
        self.client.remember(repository, digest);
    }

    fn acquire(&self, source: &dyn Source, descriptor: &Descriptor) -> Result<bool> {
        self.acquire_from(source.repository(), descriptor)
    }

    fn import_from(&self, source: &dyn Source, descriptor: &Descriptor) -> Result<bool> {
        if media_type::is_document(&descriptor.media_type) {
            // Whether it is there is not all: an interrupted run may have left it out of a list of referrers.
            self.put_document(&descriptor.media_type, &source.document(descriptor)?)?;
            return Ok(true);
        }
        import_blob(self, source, descriptor)
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let blob = Descriptor::of("", bytes);
        if !self.acquire_from(None, &blob)? {
            let mut writer = self.upload(&blob, Again::Bytes(bytes))?;
            writer
                .write_all(bytes)
                .map_err(Error::io("write a blob to", self.name()))?;
            writer.commit_trusted(&blob.digest, blob.size)?;
        }
        Ok(blob.digest)
    }

    fn existing(&self) -> Option<Box<dyn Source + '_>> {
        Some(Box::new(RegistrySource::direct(
            &self.client,
            &self.reference,
        )))
    }

    fn begin_with(
        &self,
        known: Option<(&Digest, u64)>,
        hashing: Hashing,
    ) -> Result<Box<dyn BlobWriter + '_>> {
        let upload = Upload::start(&self.client, &self.reference.name, known, hashing, None)?;
        Ok(Box::new(upload))
    }

    fn begin_from<'a>(
        &'a self,
        source: &'a dyn Source,
        descriptor: &Descriptor,
    ) -> Result<Box<dyn BlobWriter + 'a>> {
        self.upload(
            descriptor,
            Again::Source(source, Box::new(descriptor.clone())),
        )
    }

    fn put_document(&self, media_type: &str, bytes: &[u8]) -> Result<Digest> {
        let descriptor = Descriptor::of(media_type, bytes);
        let document = Document::parse(media_type, bytes).ok().flatten();
        let subject = document.as_ref().and_then(subject_of);
        // A registry that knows the API tells with its answer only, so what has a subject is always written.
        if subject.is_some() || !self.holds(&descriptor)? {
            let noted = self.put_manifest(&descriptor.digest.to_string(), media_type, bytes)?;
            if let (Some(subject), Some(document), false) = (subject, document, noted) {
                self.unlisted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((subject, referrer(&descriptor, &document)));
            }
        }
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(descriptor.digest, (media_type.to_owned(), bytes.to_vec()));
        Ok(descriptor.digest)
    }

    fn finish(self: Box<Self>, update: &IndexUpdate) -> Result<Descriptor> {
        let unlisted =
            std::mem::take(&mut *self.unlisted.lock().unwrap_or_else(PoisonError::into_inner));
        for (subject, referrer) in unlisted {
            referrers::add(&self.client, &self.reference.name, &subject, &referrer)?;
        }
        let image = self.root(update)?;
        // A tag that may not be moved need not be, if it is where it should be.
        if self.current()? == Some(image.digest) {
            return Ok(image);
        }
        let (media_type, bytes) = self.document(&image)?;
        self.put_manifest(&self.tag, &media_type, &bytes)?;
        Ok(image)
    }
}

/// What a document refers to.
fn subject_of(document: &Document) -> Option<Digest> {
    let subject = match document {
        Document::Manifest(manifest) => &manifest.subject,
        Document::Index(index) => &index.subject,
    };
    subject.as_ref().map(|subject| subject.digest)
}

/// How a list of referrers describes a manifest (distribution-spec, "Listing Referrers").
fn referrer(descriptor: &Descriptor, document: &Document) -> Descriptor {
    let mut entry = descriptor.clone();
    match document {
        Document::Manifest(manifest) => {
            entry.artifact_type = if manifest.artifact_type.is_empty() {
                manifest.config.media_type.clone()
            } else {
                manifest.artifact_type.clone()
            };
            entry.annotations.clone_from(&manifest.annotations);
        }
        Document::Index(index) => {
            entry.artifact_type.clone_from(&index.artifact_type);
            entry.annotations.clone_from(&index.annotations);
        }
    }
    entry
}
