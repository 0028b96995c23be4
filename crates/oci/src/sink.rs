//! Writing an image: the seam that every transport implements.

use std::io::{self, Write};

use crate::digest::{Algorithm, Digest, Hasher, VerifyError, verify_to_io};
use crate::document::{Descriptor, Index, REF_NAME};
use crate::error::{Error, Result};
use crate::limits;
use crate::media_type;
use crate::registry::RepositoryName;
use crate::source::{Source, verified};

/// A destination for blobs, from several threads, and at the end for one image.
///
/// Nothing is visible to others before [`Sink::finish`]; dropping a sink gives the image up.
pub trait Sink: Send + Sync {
    /// The destination's name for messages, such as its path.
    fn name(&self) -> String;

    /// Whether a blob is there already, complete.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn has(&self, digest: &Digest) -> Result<bool>;

    /// Whether this very blob is there: a destination that can tell cheaply looks at the size too, so that a damaged blob
    /// is written again.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn holds(&self, descriptor: &Descriptor) -> Result<bool> {
        self.has(&descriptor.digest)
    }

    /// Starts a blob. `known` is its digest and size if the caller knows them beforehand; some destinations can then
    /// do without a temporary file. With [`Hashing::Caller`] the writer does not hash, and wants
    /// [`BlobWriter::commit_trusted`].
    ///
    /// # Errors
    /// When the destination cannot be written.
    fn begin_with(
        &self,
        known: Option<(&Digest, u64)>,
        hashing: Hashing,
    ) -> Result<Box<dyn BlobWriter + '_>>;

    /// As [`Sink::begin_with`], for a blob that `source` has, with the caller hashing: where an upload breaks, the
    /// destination can read again from there what it lost.
    ///
    /// # Errors
    /// As [`Sink::begin_with`].
    fn begin_from<'a>(
        &'a self,
        source: &'a dyn Source,
        descriptor: &Descriptor,
    ) -> Result<Box<dyn BlobWriter + 'a>> {
        let _ = source;
        self.begin_with(Some((&descriptor.digest, descriptor.size)), Hashing::Caller)
    }

    /// The repository of a registry that this is.
    fn repository(&self) -> Option<&RepositoryName> {
        None
    }

    /// Tells of a repository that had a blob once: if it still does, a registry need not be sent it.
    fn seen(&self, digest: &Digest, repository: &RepositoryName) {
        let _ = (digest, repository);
    }

    /// Whether a blob is there, or could be taken over from `source` without its bytes passing through here.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn acquire(&self, source: &dyn Source, descriptor: &Descriptor) -> Result<bool> {
        let _ = source;
        self.holds(descriptor)
    }

    /// What is at the destination already, under the name that the new image will have; `None` where that cannot be
    /// read, or is nothing.
    fn existing(&self) -> Option<Box<dyn Source + '_>> {
        None
    }

    /// [`Sink::begin_with`], hashing what is written.
    ///
    /// # Errors
    /// As [`Sink::begin_with`].
    fn begin(&self, known: Option<(&Digest, u64)>) -> Result<Box<dyn BlobWriter + '_>> {
        self.begin_with(known, Hashing::Writer)
    }

    /// Writes a whole blob, unless it is there.
    ///
    /// # Errors
    /// When it cannot be written.
    fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::sha256_of(bytes);
        if !self.has(&digest)? {
            let size = bytes.len() as u64;
            let mut writer = self.begin_with(Some((&digest, size)), Hashing::Caller)?;
            writer
                .write_all(bytes)
                .map_err(Error::io("write a blob to", self.name()))?;
            writer.commit_trusted(&digest, size)?;
        }
        Ok(digest)
    }

    /// Writes a manifest or an index of `media_type`. What it refers to has to be there; a registry insists on that.
    ///
    /// # Errors
    /// When it cannot be written.
    fn put_document(&self, media_type: &str, bytes: &[u8]) -> Result<Digest> {
        let _ = media_type;
        self.put(bytes)
    }

    /// Copies a blob, manifest or index from `source`, verified on the way, unless it is there; says whether it copied.
    ///
    /// # Errors
    /// When it cannot be read or written, or is damaged.
    fn import_from(&self, source: &dyn Source, descriptor: &Descriptor) -> Result<bool> {
        if media_type::is_document(&descriptor.media_type) {
            if self.acquire(source, descriptor)? {
                return Ok(false);
            }
            self.put_document(&descriptor.media_type, &source.document(descriptor)?)?;
            return Ok(true);
        }
        import_blob(self, source, descriptor)
    }

    /// Makes the image visible, atomically and as the last thing. The blobs that `update` names must be there. Says what
    /// its name leads to: the image, or an index made here where there are several and a name holds but one document.
    ///
    /// # Errors
    /// When that fails; the destination then is as it was before.
    fn finish(self: Box<Self>, update: &IndexUpdate) -> Result<Descriptor>;
}

/// Copies a blob from `source`, verified on the way, unless it is there; says whether it copied.
pub(crate) fn import_blob<S: Sink + ?Sized>(
    sink: &S,
    source: &dyn Source,
    descriptor: &Descriptor,
) -> Result<bool> {
    if sink.acquire(source, descriptor)? {
        return Ok(false);
    }
    let mut reader = verified(descriptor, source.blob(descriptor)?);
    let mut writer = sink.begin_from(source, descriptor)?;
    copy(&mut reader, &mut writer, &source.name(), &sink.name())?;
    writer.commit_trusted(&descriptor.digest, descriptor.size)?;
    Ok(true)
}

/// Who computes the digest of a blob being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    /// The writer.
    Writer,
    /// The caller, who has the digest from its own pass over the bytes.
    Caller,
}

/// A blob being written. Dropping it without a commit leaves nothing behind.
pub trait BlobWriter: Write + Send {
    /// Completes the blob and says what it is. It has to have the digest that is `expected` here, and the one that was
    /// known at the beginning.
    ///
    /// # Errors
    /// When it has another digest or size, when it cannot be written, or when nobody hashed ([`Error::NotHashed`]).
    fn commit(self: Box<Self>, expected: Option<&Digest>) -> Result<(Digest, u64)>;

    /// Completes the blob under a digest that the caller computed. The size is checked in any case, the digest only
    /// if the writer hashed.
    ///
    /// # Errors
    /// When it has another size, or cannot be written.
    fn commit_trusted(self: Box<Self>, digest: &Digest, size: u64) -> Result<()>;
}

/// Copies all of `reader` to `writer`, with errors that say which side failed.
pub(crate) fn copy(
    reader: &mut dyn io::Read,
    writer: &mut dyn Write,
    from: &str,
    to: &str,
) -> Result<u64> {
    let mut buffer = vec![0; 128 << 10];
    let mut total = 0;
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("read a blob from", from)(e)),
        };
        writer
            .write_all(&buffer[..n])
            .map_err(Error::io("write a blob to", to))?;
        total += n as u64;
    }
}

/// What [`Sink::finish`] does to `index.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexUpdate {
    image: Descriptor,
    tag: Option<String>,
    also: Vec<Descriptor>,
}

impl IndexUpdate {
    /// An untagged image: it replaces all untagged entries.
    #[must_use]
    pub fn new(image: Descriptor) -> Self {
        Self {
            image,
            tag: None,
            also: Vec::new(),
        }
    }

    /// Tags the image: it replaces the entry with the same tag, and others stay.
    #[must_use]
    pub fn tagged(mut self, tag: Option<impl Into<String>>) -> Self {
        self.tag = tag.map(Into::into);
        self
    }

    /// Annotates the image's entry.
    #[must_use]
    pub fn annotated(mut self, key: &str, value: &str) -> Self {
        self.image
            .annotations
            .insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds an entry beside the image, such as an artifact that refers to it; replaces one of the same digest and tag.
    #[must_use]
    pub fn also(mut self, entry: Descriptor) -> Self {
        self.also.push(entry);
        self
    }

    /// The image.
    #[must_use]
    pub fn image(&self) -> &Descriptor {
        &self.image
    }

    /// The entries that this adds.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.image).chain(&self.also)
    }

    /// The new `index.json`, given the old one.
    ///
    /// # Errors
    /// When it would have too many entries.
    pub fn apply(&self, old: Option<Index>) -> Result<Index, limits::LimitError> {
        let mut image = self.image.clone();
        match &self.tag {
            Some(tag) => image.annotations.insert(REF_NAME.to_owned(), tag.clone()),
            None => image.annotations.remove(REF_NAME),
        };
        let mut index = old.unwrap_or_else(|| Index::new(Vec::new()));
        index.schema_version = 2;
        media_type::OCI_INDEX.clone_into(&mut index.media_type);
        let replaced = |entry: &Descriptor| {
            entry.tag() == self.tag.as_deref()
                || self
                    .also
                    .iter()
                    .any(|a| a.digest == entry.digest && a.tag() == entry.tag())
        };
        let at = index
            .manifests
            .iter()
            .position(replaced)
            .unwrap_or(index.manifests.len());
        index.manifests.retain(|entry| !replaced(entry));
        index.manifests.splice(
            at..at,
            std::iter::once(image).chain(self.also.iter().cloned()),
        );
        limits::check(
            "entries of index.json",
            index.manifests.len() as u64,
            limits::MAX_INDEX_ENTRIES as u64,
        )?;
        Ok(index)
    }
}

/// Counts, hashes and checks what a [`BlobWriter`] is given; every writer of this crate has one.
#[derive(Debug)]
pub(crate) struct Meter {
    hasher: Option<Hasher>,
    known: Option<(Digest, u64)>,
    written: u64,
}

impl Meter {
    pub(crate) fn new(known: Option<(&Digest, u64)>, hashing: Hashing) -> Self {
        let known = known.map(|(digest, size)| (*digest, size));
        let algorithm = known.map_or(Algorithm::Sha256, |(digest, _)| digest.algorithm());
        Self {
            hasher: (hashing == Hashing::Writer).then(|| Hasher::new(algorithm)),
            known,
            written: 0,
        }
    }

    /// Before writing: refuses what goes beyond the known size.
    pub(crate) fn admit(&self, len: usize) -> io::Result<()> {
        match self.known {
            Some((digest, size)) if self.written + len as u64 > size => {
                Err(verify_to_io(VerifyError::TooLong {
                    digest,
                    expected: size,
                    at_least: self.written + len as u64,
                }))
            }
            _ => Ok(()),
        }
    }

    /// After writing.
    pub(crate) fn wrote(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }

    /// At the end: what the blob is. `trusted` is the caller's word for it.
    pub(crate) fn finish(
        self,
        place: &str,
        expected: Option<&Digest>,
        trusted: Option<(&Digest, u64)>,
    ) -> Result<(Digest, u64)> {
        let damaged = |source| Error::Verify {
            place: place.to_owned(),
            source,
        };
        let size = self.written;
        // A digest of the other algorithm than the one computed can be neither confirmed nor refuted.
        let digest = match (self.hasher, trusted) {
            (Some(hasher), _) => hasher.finish(),
            (None, Some((digest, _))) => *digest,
            (None, None) => {
                return Err(Error::NotHashed {
                    place: place.to_owned(),
                });
            }
        };
        let known_size = self.known.map(|(_, size)| size);
        for expected_size in known_size.into_iter().chain(trusted.map(|(_, size)| size)) {
            if size < expected_size {
                return Err(damaged(VerifyError::TooShort {
                    digest,
                    expected: expected_size,
                    actual: size,
                }));
            }
            if size > expected_size {
                return Err(damaged(VerifyError::TooLong {
                    digest,
                    expected: expected_size,
                    at_least: size,
                }));
            }
        }
        let promises = self
            .known
            .map(|(d, _)| d)
            .into_iter()
            .chain(expected.copied())
            .chain(trusted.map(|(d, _)| *d));
        for promise in promises {
            if promise != digest {
                return Err(damaged(VerifyError::Digest {
                    expected: Box::new(promise),
                    actual: Box::new(digest),
                    size,
                }));
            }
        }
        Ok((digest, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(content: &str, tag: Option<&str>) -> Descriptor {
        let mut d = Descriptor::of(media_type::OCI_MANIFEST, content.as_bytes());
        d.annotations
            .extend(tag.map(|t| (REF_NAME.to_owned(), t.to_owned())));
        d
    }

    #[test]
    fn a_single_untagged_image() {
        let digest = Digest::sha256_of(b"x");
        let index = IndexUpdate::new(Descriptor::new(media_type::OCI_INDEX, digest, 1))
            .apply(None)
            .unwrap();
        assert_eq!(
            String::from_utf8(index.to_bytes()).unwrap(),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{digest}","size":1}}]}}"#
            )
        );
    }

    #[test]
    fn the_same_tag_is_replaced_in_place_and_others_stay() {
        let old = Index::new(vec![
            entry("a", Some("a")),
            entry("b", Some("b")),
            entry("c", None),
        ]);
        let new = IndexUpdate::new(entry("n", Some("ignored")))
            .tagged(Some("a"))
            .apply(Some(old.clone()))
            .unwrap();
        assert_eq!(
            new.manifests,
            [
                entry("n", Some("a")),
                entry("b", Some("b")),
                entry("c", None)
            ]
        );
        let new = IndexUpdate::new(entry("n", None))
            .tagged(Some("z"))
            .apply(Some(old.clone()))
            .unwrap();
        assert_eq!(new.manifests.len(), 4);
        assert_eq!(new.manifests[3], entry("n", Some("z")));
        let new = IndexUpdate::new(entry("n", None)).apply(Some(old)).unwrap();
        assert_eq!(
            new.manifests,
            [
                entry("a", Some("a")),
                entry("b", Some("b")),
                entry("n", None)
            ]
        );
    }

    #[test]
    fn a_flat_index_gives_way_and_companions_come_along() {
        let old = Index::new(vec![entry("a", None), entry("b", None)]);
        let update = IndexUpdate::new(entry("n", None)).also(entry("s", None));
        let new = update.apply(Some(old)).unwrap();
        assert_eq!(new.manifests, [entry("n", None), entry("s", None)]);
        assert_eq!(update.apply(Some(new.clone())).unwrap(), new);
    }

    #[test]
    fn meter() {
        let hello = Digest::sha256_of(b"hello");
        let fed = |known: Option<(&Digest, u64)>, hashing| {
            let mut m = Meter::new(known, hashing);
            m.admit(5).unwrap();
            m.wrote(b"hello");
            m
        };
        assert_eq!(
            fed(None, Hashing::Writer).finish("x", None, None).unwrap(),
            (hello, 5)
        );
        assert!(
            fed(None, Hashing::Writer)
                .finish("x", Some(&Digest::sha256_of(b"")), None)
                .is_err()
        );
        assert!(matches!(
            fed(None, Hashing::Caller).finish("x", None, None),
            Err(Error::NotHashed { .. })
        ));
        assert!(
            fed(None, Hashing::Caller)
                .finish("x", None, Some((&hello, 5)))
                .is_ok()
        );
        assert!(
            fed(None, Hashing::Caller)
                .finish("x", None, Some((&hello, 6)))
                .is_err()
        );
        assert!(
            fed(None, Hashing::Writer)
                .finish("x", None, Some((&Digest::sha256_of(b""), 5)))
                .is_err()
        );
        assert!(
            fed(Some((&hello, 6)), Hashing::Writer)
                .finish("x", None, None)
                .is_err()
        );
        let m = fed(Some((&hello, 5)), Hashing::Writer);
        assert!(m.admit(1).is_err());
        assert!(m.finish("x", None, None).is_ok());
    }
}
