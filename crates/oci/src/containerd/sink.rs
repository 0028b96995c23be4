//! Writing an image into containerd.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Options;
use super::api::{
    self, CreateImageRequest, FieldMask, Image, Info, Labels, UpdateContentRequest,
    UpdateImageRequest,
};
use super::client::Client;
use super::error::{ContainerdError, Refusal};
use super::labels;
use super::lease::Lease;
use super::reference::complete;
use super::source::ContainerdSource;
use super::writer::ContainerdWriter;
use crate::digest::Digest;
use crate::document::{Descriptor, Document, Index, REF_NAME};
use crate::error::{Error, Result};
use crate::media_type;
use crate::sink::{BlobWriter, Hashing, IndexUpdate, Sink};
use crate::source::Source as _;
use crate::walk::Walk;

/// A destination in containerd. See the [module](super).
pub struct ContainerdSink {
    lease: Arc<Lease>,
    reference: String,
    /// Blobs of unknown digest, so far.
    unnamed: AtomicU64,
}

impl ContainerdSink {
    /// Connects, and takes a lease.
    ///
    /// # Errors
    /// [`ContainerdError`]: when containerd cannot be reached, or the reference has a digest.
    pub fn create(reference: &str, options: &Options) -> Result<Self> {
        if reference.contains('@') {
            return Err(ContainerdError::DigestAsDestination {
                reference: reference.to_owned(),
            }
            .into());
        }
        let client = Arc::new(Client::connect(options)?);
        Ok(Self {
            lease: Arc::new(Lease::create(client)?),
            reference: reference.to_owned(),
            unnamed: AtomicU64::new(0),
        })
    }

    fn client(&self) -> &Client {
        self.lease.client()
    }

    /// What was written, to be read.
    fn written(&self) -> ContainerdSource {
        ContainerdSource::with(Arc::clone(self.lease.client()), &self.reference)
    }

    /// Adds labels to a blob that it lacks.
    fn label(&self, digest: &Digest, labels: Labels) -> Result<()> {
        let place = self.client().place();
        let Some(info) = self.client().info(digest)? else {
            return Err(Error::NoBlob {
                place: self.name(),
                digest: *digest,
            });
        };
        let mut new = labels;
        new.retain(|key, value| info.labels.get(key) != Some(value));
        if new.is_empty() {
            return Ok(());
        }
        let paths = new.keys().map(|key| format!("labels.{key}")).collect();
        let question = UpdateContentRequest {
            info: Some(Info {
                digest: digest.to_string(),
                size: 0,
                labels: new,
            }),
            update_mask: Some(FieldMask { paths }),
        };
        self.client()
            .call(question)
            .map(drop)
            .map_err(Refusal::on("label a blob in", place))
    }

    /// Labels every document below `root` that is there, so that the garbage collector finds what it lists.
    fn label_below(&self, root: &Descriptor, done: &mut BTreeSet<Digest>) -> Result<()> {
        let written = self.written();
        for step in Walk::new(&written, [root.clone()]) {
            let step = match step {
                // What a platform of an image consists of that was never pulled.
                Err(Error::NoBlob { digest, .. }) if digest != root.digest => continue,
                step => step?,
            };
            if let Some(document) = &step.document
                && done.insert(step.descriptor.digest)
            {
                self.label(&step.descriptor.digest, labels::of(document))?;
            }
        }
        Ok(())
    }

    /// Ties a referrer to what it is about, or else to the image.
    fn tie(&self, referrer: &Descriptor, image: &Descriptor) -> Result<()> {
        let written = self.written();
        let subject = match written.parsed(referrer)? {
            Some(Document::Manifest(manifest)) => manifest.subject,
            Some(Document::Index(index)) => index.subject,
            None => None,
        };
        let subject = match subject {
            Some(subject) if written.has(&subject)? => subject.digest,
            _ => image.digest,
        };
        self.label(&subject, Labels::from([labels::referrer(&referrer.digest)]))
    }

    /// The one descriptor that an image in containerd has; several platforms without an index get one.
    fn target(&self, images: Vec<&Descriptor>) -> Result<Descriptor> {
        if let [only] = images[..] {
            return Ok(only.clone());
        }
        let entries = images.into_iter().cloned().collect();
        let bytes = Index::new(entries).to_bytes();
        self.put(&bytes)?;
        Ok(Descriptor::of(media_type::OCI_INDEX, &bytes))
    }

    /// The image's entry changes, in one step.
    fn publish(&self, target: &Descriptor) -> Result<()> {
        let refused = |refusal| {
            let place = self.client().place();
            Refusal::on("write an image's entry to", place)(refusal)
        };
        let mut annotations = target.annotations.clone();
        // The tag of where the image was is not its name here.
        annotations.remove(REF_NAME);
        let image = |name: String| {
            Some(Image {
                name,
                target: Some(api::Descriptor {
                    media_type: target.media_type.clone(),
                    digest: target.digest.to_string(),
                    size: i64::try_from(target.size).unwrap_or(i64::MAX),
                    annotations: annotations.clone(),
                }),
            })
        };
        let update = |name: String| {
            self.client().call(UpdateImageRequest {
                image: image(name),
                update_mask: Some(FieldMask {
                    paths: vec!["target".to_owned()],
                }),
            })
        };
        let new = || complete(&self.reference).unwrap_or_else(|| self.reference.clone());
        // Others may make or delete the image at the same time.
        for _ in 0..10 {
            if let Some(old) = self.client().find(&self.reference)? {
                match update(old.name) {
                    Err(refusal) if refusal.is_absence() => continue,
                    answer => return answer.map(drop).map_err(refused),
                }
            }
            match self.client().call(CreateImageRequest {
                image: image(new()),
            }) {
                Err(refusal) if refusal.is_presence() => {}
                answer => return answer.map(drop).map_err(refused),
            }
        }
        Err(Error::Incomplete {
            place: self.name(),
            why: "other processes make and delete the image all the time".to_owned(),
        })
    }
}

impl Sink for ContainerdSink {
    fn name(&self) -> String {
        format!("{} in {}", self.reference, self.client().place())
    }

    fn has(&self, digest: &Digest) -> Result<bool> {
        if self.client().info(digest)?.is_none() {
            return Ok(false);
        }
        // It may have gone before the lease holds it.
        self.lease.hold(digest)?;
        Ok(self.client().info(digest)?.is_some())
    }

    fn begin_with(
        &self,
        known: Option<(&Digest, u64)>,
        hashing: Hashing,
    ) -> Result<Box<dyn BlobWriter>> {
        let unnamed = || {
            let number = self.unnamed.fetch_add(1, Ordering::Relaxed);
            format!("sociable-{}-{number}", self.lease.name())
        };
        let lease = Arc::clone(&self.lease);
        let writer = ContainerdWriter::begin(lease, known, hashing, unnamed)?;
        Ok(Box::new(writer))
    }

    /// The image gets the name that the sink was created for; the update's tag does not count.
    fn finish(self: Box<Self>, update: &IndexUpdate) -> Result<Descriptor> {
        let mut entries = update.entries();
        // The first is the image, whatever it is.
        let mut images: Vec<&Descriptor> = entries.next().into_iter().collect();
        let (referrers, siblings): (Vec<_>, Vec<_>) =
            entries.partition(|entry| !entry.artifact_type.is_empty());
        images.extend(siblings);
        let target = self.target(images)?;

        let mut done = BTreeSet::new();
        self.label_below(&target, &mut done)?;
        for referrer in referrers {
            self.label_below(referrer, &mut done)?;
            self.tie(referrer, &target)?;
        }
        self.publish(&target)?;
        Ok(target)
    }
}
