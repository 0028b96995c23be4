//! Reading an image out of containerd.

use std::io::{self, Read};
use std::sync::Arc;

use prost::bytes::{Buf as _, Bytes};
use tonic::Streaming;

use super::Options;
use super::api::{ReadRequest, ReadResponse};
use super::client::Client;
use super::error::{ContainerdError, Refusal};
use super::labels;
use crate::digest::Digest;
use crate::document::{Descriptor, Document, Index, Manifest};
use crate::error::{Error, Result};
use crate::media_type;
use crate::source::{Source, check_range};
use crate::walk::Walk;

/// An image in containerd. See the [module](super).
pub struct ContainerdSource {
    client: Arc<Client>,
    reference: String,
}

impl ContainerdSource {
    /// Finds the image.
    ///
    /// # Errors
    /// [`ContainerdError`]: when containerd cannot be reached, or has no such image.
    pub fn open(reference: &str, options: &Options) -> Result<Self> {
        let client = Client::connect(options)?;
        let source = Self::with(Arc::new(client), reference);
        source.target()?;
        Ok(source)
    }

    pub(super) fn with(client: Arc<Client>, reference: &str) -> Self {
        Self {
            client,
            reference: reference.to_owned(),
        }
    }

    fn target(&self) -> Result<Descriptor> {
        let bad = |why: String| ContainerdError::BadAnswer {
            place: self.client.place().to_owned(),
            why,
        };
        let Some(image) = self.client.find(&self.reference)? else {
            return Err(self.client.no_image(&self.reference)?.into());
        };
        let target = image
            .target
            .ok_or_else(|| bad(format!("the image {} has no target", image.name)))?;
        let digest = target
            .digest
            .parse()
            .map_err(|error| bad(format!("the image {}: {error}", image.name)))?;
        let size = u64::try_from(target.size)
            .map_err(|_| bad(format!("the image {} has a negative size", image.name)))?;
        Ok(Descriptor {
            annotations: target.annotations,
            ..Descriptor::new(target.media_type, digest, size)
        })
    }

    fn no_blob(&self, digest: &Digest) -> Error {
        Error::NoBlob {
            place: self.name(),
            digest: *digest,
        }
    }

    fn size(&self, digest: &Digest) -> Result<u64> {
        let info = self
            .client
            .info(digest)?
            .ok_or_else(|| self.no_blob(digest))?;
        Ok(u64::try_from(info.size).unwrap_or(0))
    }

    /// What was written here as being about a document below `target`.
    fn referrers(&self, target: &Descriptor) -> Result<Vec<Descriptor>> {
        let mut found = Vec::new();
        for step in Walk::new(self, [target.clone()]) {
            let step = match step {
                // Who needs a document will hear what is wrong with it.
                Err(Error::NoBlob { .. } | Error::Document { .. } | Error::Verify { .. }) => {
                    continue;
                }
                step => step?,
            };
            let Some(info) = self.client.info(&step.descriptor.digest)? else {
                continue;
            };
            for digest in labels::referrers(&info.labels) {
                found.extend(self.referrer(digest)?);
            }
        }
        Ok(found)
    }

    fn referrer(&self, digest: Digest) -> Result<Option<Descriptor>> {
        let Some(info) = self.client.info(&digest)? else {
            return Ok(None);
        };
        let size = u64::try_from(info.size).unwrap_or(0);
        let descriptor = Descriptor::new(media_type::OCI_MANIFEST, digest, size);
        Ok(match self.parsed(&descriptor)? {
            Some(Document::Manifest(manifest)) => Some(describe(*manifest, descriptor)),
            _ => None,
        })
    }

    fn start(&self, digest: &Digest, offset: u64, size: u64) -> Result<Streaming<ReadResponse>> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let question = ReadRequest {
            digest: digest.to_string(),
            offset: number(offset),
            size: number(size),
        };
        self.client.read(question).map_err(|refusal| {
            if refusal.is_absence() {
                self.no_blob(digest)
            } else {
                Refusal::on("read a blob from", self.client.place())(refusal)
            }
        })
    }
}

/// A referrer's descriptor, as a registry's list of referrers has it (distribution-spec, "Listing Referrers").
fn describe(manifest: Manifest, mut descriptor: Descriptor) -> Descriptor {
    descriptor.artifact_type = if manifest.artifact_type.is_empty() {
        manifest.config.media_type
    } else {
        manifest.artifact_type
    };
    descriptor.annotations = manifest.annotations;
    descriptor
}

impl Source for ContainerdSource {
    fn name(&self) -> String {
        format!("{} in {}", self.reference, self.client.place())
    }

    fn index(&self) -> Result<Index> {
        let target = self.target()?;
        let mut entries = vec![target.clone()];
        entries.extend(self.referrers(&target)?);
        Ok(Index::new(entries))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(BlobReader {
            client: Arc::clone(&self.client),
            chunks: Some(self.start(&descriptor.digest, 0, 0)?),
            chunk: Bytes::new(),
        }))
    }

    fn blob_at(&self, descriptor: &Descriptor, offset: u64, len: usize) -> Result<Vec<u8>> {
        let digest = &descriptor.digest;
        let size = self.size(digest)?;
        check_range(&self.name(), descriptor, size, offset, len)?;
        if len == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; len];
        BlobReader {
            client: Arc::clone(&self.client),
            chunks: Some(self.start(digest, offset, len as u64)?),
            chunk: Bytes::new(),
        }
        .read_exact(&mut bytes)
        .map_err(Error::io("read a blob of", self.name()))?;
        Ok(bytes)
    }

    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.client.info(&descriptor.digest)?.is_some())
    }
}

/// A blob that comes in chunks.
struct BlobReader {
    client: Arc<Client>,
    /// `None` after the last one, or an error.
    chunks: Option<Streaming<ReadResponse>>,
    chunk: Bytes,
}

impl Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while !self.chunk.has_remaining() {
            let Some(chunks) = &mut self.chunks else {
                return Ok(0);
            };
            match self.client.wait(chunks.message()) {
                Ok(Some(next)) => self.chunk = next.data,
                Ok(None) => self.chunks = None,
                Err(refusal) => {
                    self.chunks = None;
                    return Err(io::Error::other(refusal));
                }
            }
        }
        let n = buf.len().min(self.chunk.remaining());
        self.chunk.copy_to_slice(&mut buf[..n]);
        Ok(n)
    }
}
