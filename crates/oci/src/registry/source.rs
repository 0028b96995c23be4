//! An image in a registry, for reading.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, Response};

use super::client::{Access, Client, Request, transport};
use super::download::Download;
use super::error::{Failure, RegistryError};
use super::reference::{Reference, RepositoryName};
use super::referrers;
use crate::digest::Digest;
use crate::document::{Descriptor, Index, REF_NAME};
use crate::error::{Error, Result};
use crate::limits;
use crate::media_type;
use crate::source::{Source, check_range, verified};

/// Bytes of documents that are kept, so that none is fetched twice.
const KEPT: usize = 16 << 20;

/// What is accepted for a manifest, in the order of preference.
const DOCUMENTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";

/// An image in a registry. See the [module](super).
#[derive(Debug)]
pub struct RegistrySource {
    client: Arc<Client>,
    reference: Reference,
    /// Where to ask: mirrors first, the registry itself last.
    places: Vec<RepositoryName>,
    documents: Mutex<BTreeMap<Digest, Arc<[u8]>>>,
}

/// A manifest as a registry answers with it.
pub(super) struct Fetched {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
}

impl RegistrySource {
    pub(super) fn new(client: &Arc<Client>, reference: &Reference) -> Self {
        Self {
            client: Arc::clone(client),
            places: places(client, &reference.name),
            reference: reference.clone(),
            documents: Mutex::default(),
        }
    }

    /// The registry itself and no mirror: what is there now, to be changed.
    pub(super) fn direct(client: &Arc<Client>, reference: &Reference) -> Self {
        Self {
            places: vec![reference.name.clone()],
            ..Self::new(client, reference)
        }
    }

    /// What it reads.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Asks every place until one answers; a 404 is `None`, and an error of a mirror no answer.
    fn anywhere<T>(
        &self,
        ask: impl Fn(&RepositoryName) -> Result<T, RegistryError>,
    ) -> Result<Option<T>> {
        let last = self.places.len().saturating_sub(1);
        for (number, place) in self.places.iter().enumerate() {
            match ask(place) {
                Ok(found) => return Ok(Some(found)),
                Err(error) if number < last && !matches!(error.failure, Failure::Interrupted) => {}
                Err(error) if error.failure.status() == Some(404) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn no_blob(&self, digest: &Digest) -> Error {
        Error::NoBlob {
            place: self.name(),
            digest: *digest,
        }
    }

    /// A manifest or an index, as a registry has it: not verified.
    fn bytes_of(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let selector = descriptor.digest.to_string();
        let found = self.anywhere(|place| fetch(&self.client, place, &selector))?;
        found
            .map(|found| found.bytes)
            .ok_or_else(|| self.no_blob(&descriptor.digest))
    }

    fn keep(&self, digest: Digest, bytes: &[u8]) {
        let mut documents = self
            .documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let kept: usize = documents.values().map(|bytes| bytes.len()).sum();
        if kept + bytes.len() > KEPT {
            documents.clear();
        }
        documents.insert(digest, bytes.into());
    }

    fn kept(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(digest)
            .cloned()
    }

    /// What the reference leads to.
    fn root(&self) -> Result<Fetched> {
        let selector = self.reference.selector();
        let found = self.anywhere(|place| fetch(&self.client, place, &selector))?;
        let Some(found) = found else {
            return Err(Error::NoSuchImage {
                place: format!("docker://{}", self.reference),
            });
        };
        if let Some(expected) = &self.reference.digest {
            let bytes = &found.bytes;
            let descriptor = Descriptor::new("", *expected, bytes.len() as u64);
            verified(&descriptor, &bytes[..])
                .read_to_end(&mut Vec::new())
                .map_err(Error::io("read", self.name()))?;
        }
        Ok(found)
    }
}

/// Where a repository is read from.
fn places(client: &Client, name: &RepositoryName) -> Vec<RepositoryName> {
    let mut places: Vec<RepositoryName> = client
        .options
        .mirrors
        .iter()
        .filter(|(host, _)| *host == name.registry)
        .map(|(_, mirror)| {
            let (registry, prefix) = mirror.split_once('/').unwrap_or((mirror, ""));
            let repository = if prefix.is_empty() {
                name.repository.clone()
            } else {
                format!("{}/{}", prefix.trim_end_matches('/'), name.repository)
            };
            RepositoryName {
                registry: registry.to_owned(),
                repository,
            }
        })
        .collect();
    places.push(name.clone());
    places
}

/// Fetches a manifest or an index by tag or digest.
pub(super) fn fetch(
    client: &Arc<Client>,
    repository: &RepositoryName,
    selector: &str,
) -> Result<Fetched, RegistryError> {
    let url = client.url(repository, &format!("manifests/{selector}"))?;
    let request =
        Request::new(Method::GET, url, repository, Access::Pull, &[200]).header(ACCEPT, DOCUMENTS);
    client.block(async {
        let mut tries = 0;
        loop {
            tries += 1;
            let response = client.send(&request).await?;
            let content_type = header(&response, CONTENT_TYPE.as_str());
            let claimed = header(&response, "docker-content-digest");
            match body(client, response, limits::MAX_DOCUMENT).await {
                Ok(bytes) => {
                    let descriptor = describe(&bytes, content_type.as_deref());
                    // What the registry says of its own bytes has to be true, as far as we can tell.
                    if let Some(claimed) = claimed
                        && claimed.starts_with("sha256:")
                        && claimed != descriptor.digest.to_string()
                    {
                        return Err(request.failed(Failure::Answer(format!(
                            "the registry says that this is {claimed}, but its {} bytes have the digest {}",
                            bytes.len(),
                            descriptor.digest
                        ))));
                    }
                    return Ok(Fetched { descriptor, bytes });
                }
                Err(failure) if failure.may_pass() && tries <= client.options.retries => {
                    let wait = super::client::pause(tries);
                    client.sleep(wait).await.map_err(|f| request.failed(f))?;
                }
                Err(failure) => return Err(request.failed(failure)),
            }
        }
    })
}

/// The descriptor of a document: its own `mediaType` decides, then what the registry says.
fn describe(bytes: &[u8], content_type: Option<&str>) -> Descriptor {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
        #[serde(default)]
        artifact_type: String,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let typed = serde_json::from_slice::<Typed>(bytes).ok();
    let said = content_type
        .map(|text| text.split(';').next().unwrap_or(text).trim().to_owned())
        .filter(|text| text.starts_with("application/vnd."));
    let (own, artifact_type, lists) = typed.map_or((None, String::new(), false), |typed| {
        (
            typed.media_type,
            typed.artifact_type,
            typed.manifests.is_some(),
        )
    });
    let media_type = own
        .filter(|own| !own.is_empty())
        .or(said)
        .unwrap_or_else(|| {
            if lists {
                media_type::OCI_INDEX.to_owned()
            } else {
                media_type::OCI_MANIFEST.to_owned()
            }
        });
    let mut descriptor = Descriptor::of(&media_type, bytes);
    if media_type::is_manifest(&media_type) {
        descriptor.artifact_type = artifact_type;
    }
    descriptor
}

pub(super) fn header(response: &Response, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// A whole small body.
pub(super) async fn body(
    client: &Client,
    mut response: Response,
    limit: u64,
) -> Result<Vec<u8>, Failure> {
    let too_large = |size: u64| {
        Failure::Answer(format!(
            "the answer has {size} bytes or more, over the limit of {limit}"
        ))
    };
    if let Some(size) = response.content_length().filter(|size| *size > limit) {
        return Err(too_large(size));
    }
    let mut bytes = Vec::new();
    let idle = client.options.idle_timeout;
    loop {
        let next = client
            .watched(tokio::time::timeout(idle, response.chunk()))
            .await?
            .map_err(|_| Failure::Stalled(idle))?
            .map_err(transport)?;
        let Some(chunk) = next else {
            return Ok(bytes);
        };
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            return Err(too_large(bytes.len() as u64));
        }
    }
}

/// What a registry says of a blob or document without sending it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Absent,
    /// There, of so many bytes.
    Sized(u64),
    /// There; some registries do not say how large.
    Unsized,
}

impl Presence {
    /// Whether it is there, and not of another size.
    pub(super) fn is_of(self, size: u64) -> bool {
        match self {
            Self::Absent => false,
            Self::Sized(actual) => actual == size,
            Self::Unsized => true,
        }
    }
}

/// Asks whether a repository has a blob or document.
pub(super) fn exists(
    client: &Arc<Client>,
    repository: &RepositoryName,
    descriptor: &Descriptor,
    access: Access,
) -> Result<Presence, RegistryError> {
    let kind = endpoint(descriptor);
    let url = client.url(repository, &format!("{kind}/{}", descriptor.digest))?;
    let mut request = Request::new(Method::HEAD, url, repository, access, &[200, 404]);
    if kind == "manifests" {
        request = request.header(ACCEPT, DOCUMENTS);
    }
    let response = client.block(client.send(&request))?;
    if response.status().as_u16() == 404 {
        return Ok(Presence::Absent);
    }
    let length = header(&response, CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
    Ok(length.map_or(Presence::Unsized, Presence::Sized))
}

fn endpoint(descriptor: &Descriptor) -> &'static str {
    if media_type::is_document(&descriptor.media_type) {
        "manifests"
    } else {
        "blobs"
    }
}

impl Source for RegistrySource {
    fn name(&self) -> String {
        format!("docker://{}", self.reference)
    }

    fn index(&self) -> Result<Index> {
        let mut root = self.root()?;
        self.keep(root.descriptor.digest, &root.bytes);
        if let Some(tag) = &self.reference.tag {
            root.descriptor
                .annotations
                .insert(REF_NAME.to_owned(), tag.clone());
        }
        Ok(Index::new(vec![root.descriptor]))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        self.blob_from(descriptor, 0)
    }

    fn blob_from(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send>> {
        if media_type::is_document(&descriptor.media_type) {
            let bytes = self.bytes_of(descriptor)?;
            let start = usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
            return Ok(Box::new(Cursor::new(bytes[start..].to_vec())));
        }
        let path = format!("blobs/{}", descriptor.digest);
        let found = self.anywhere(|place| {
            let url = self.client.url(place, &path)?;
            Download::start(&self.client, place, url, descriptor.size, offset)
        })?;
        match found {
            Some(download) => Ok(Box::new(download)),
            None => Err(self.no_blob(&descriptor.digest)),
        }
    }

    fn blob_at(&self, descriptor: &Descriptor, offset: u64, len: usize) -> Result<Vec<u8>> {
        check_range(&self.name(), descriptor, descriptor.size, offset, len)?;
        if len == 0 {
            return Ok(Vec::new());
        }
        if media_type::is_document(&descriptor.media_type) {
            let bytes = self.document(descriptor)?;
            let start = usize::try_from(offset).unwrap_or(bytes.len());
            return Ok(bytes.get(start..start + len).unwrap_or_default().to_vec());
        }
        let path = format!("blobs/{}", descriptor.digest);
        let found = self.anywhere(|place| {
            let url = self.client.url(place, &path)?;
            let end = offset + len as u64;
            // A part is small enough to be asked for again as a whole.
            let mut tries = 0;
            loop {
                tries += 1;
                let part = self.client.block(async {
                    let (response, skip) =
                        self.client.range(place, &url, offset, Some(end)).await?;
                    part(&self.client, response, skip, len)
                        .await
                        .map_err(|failure| {
                            super::client::failed(&Method::GET, &url, place, tries, failure)
                        })
                });
                match part {
                    Err(error)
                        if error.failure.may_pass() && tries <= self.client.options.retries =>
                    {
                        let wait = super::client::pause(tries);
                        if self.client.block(self.client.sleep(wait)).is_err() {
                            return Err(error);
                        }
                    }
                    part => return part,
                }
            }
        })?;
        found.ok_or_else(|| self.no_blob(&descriptor.digest))
    }

    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        if self.kept(&descriptor.digest).is_some() {
            return Ok(true);
        }
        let last = self.places.len().saturating_sub(1);
        for (number, place) in self.places.iter().enumerate() {
            match exists(&self.client, place, descriptor, Access::Pull) {
                // A mirror need not have what the registry has.
                Ok(Presence::Absent) => {}
                Ok(_) => return Ok(true),
                Err(error) if number < last && !matches!(error.failure, Failure::Interrupted) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    fn document_within(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        limits::check("bytes of a document", descriptor.size, limit).map_err(|source| {
            Error::Limit {
                place: self.name(),
                source,
            }
        })?;
        if let Some(kept) = self.kept(&descriptor.digest)
            && kept.len() as u64 == descriptor.size
        {
            return Ok(kept.to_vec());
        }
        let mut bytes =
            Vec::with_capacity(usize::try_from(descriptor.size.min(1 << 20)).unwrap_or(0));
        verified(descriptor, self.blob(descriptor)?)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read a document from", self.name()))?;
        if bytes.len() as u64 <= limits::MAX_DOCUMENT {
            self.keep(descriptor.digest, &bytes);
        }
        Ok(bytes)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        referrers::list(&self.client, &self.reference.name, subject)
    }

    fn manifest(&self, digest: &Digest) -> Result<Option<Descriptor>> {
        let selector = digest.to_string();
        let found = self.anywhere(|place| fetch(&self.client, place, &selector))?;
        let Some(found) = found else { return Ok(None) };
        let size = found.bytes.len() as u64;
        let descriptor = Descriptor {
            digest: *digest,
            size,
            ..found.descriptor
        };
        verified(&descriptor, &found.bytes[..])
            .read_to_end(&mut Vec::new())
            .map_err(Error::io("read", self.name()))?;
        self.keep(*digest, &found.bytes);
        Ok(Some(descriptor))
    }

    fn repository(&self) -> Option<&RepositoryName> {
        Some(&self.reference.name)
    }
}

/// `len` bytes of an answer, after `skip` that are not wanted.
async fn part(
    client: &Client,
    mut response: Response,
    mut skip: u64,
    len: usize,
) -> Result<Vec<u8>, Failure> {
    let idle = client.options.idle_timeout;
    let mut bytes = Vec::with_capacity(len.min(1 << 20));
    while bytes.len() < len {
        let chunk = client
            .watched(tokio::time::timeout(idle, response.chunk()))
            .await?
            .map_err(|_| Failure::Stalled(idle))?
            .map_err(transport)?
            .ok_or_else(|| Failure::Transport {
                connecting: false,
                why: format!("the connection ended after {} of {len} bytes", bytes.len()),
            })?;
        let jump = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
        skip -= jump as u64;
        let chunk = &chunk[jump..];
        bytes.extend_from_slice(&chunk[..chunk.len().min(len - bytes.len())]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_document_is() {
        let of = |text: &str, said: Option<&str>| describe(text.as_bytes(), said).media_type;
        let oci = media_type::OCI_MANIFEST;
        assert_eq!(
            of(&format!(r#"{{"mediaType":"{oci}"}}"#), Some("text/plain")),
            oci
        );
        assert_eq!(
            of("{}", Some("application/vnd.x+json; charset=utf-8")),
            "application/vnd.x+json"
        );
        assert_eq!(of(r#"{"manifests":[]}"#, None), media_type::OCI_INDEX);
        assert_eq!(of("{}", Some("application/json")), oci);
    }
}
