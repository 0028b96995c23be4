//! Reading an image: the seam that every transport implements.

use std::io::{self, Read};
use std::sync::Arc;

use crate::digest::{Digest, VerifyingReader};
use crate::document::{Descriptor, Document, Index};
use crate::error::{Error, Result};
use crate::limits;
use crate::media_type;
use crate::registry::RepositoryName;

/// An image, or several, that can be read in any order and from several threads.
///
/// A transport over a network is synchronous at this seam too: it keeps its runtime to itself and blocks.
/// A transport without an `index.json` (a registry) answers [`Source::index`] with an index of its own making.
pub trait Source: Send + Sync {
    /// The image's name for messages, such as its path.
    fn name(&self) -> String;

    /// The parsed `index.json`, fresh on every call.
    ///
    /// # Errors
    /// When it is missing or not valid.
    fn index(&self) -> Result<Index>;

    /// The bytes of a blob, **not verified**: pass them through [`verified`] or a [`crate::digest::Verifier`].
    ///
    /// # Errors
    /// When there is no such blob.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>>;

    /// A part of a blob, **not verified** (a part cannot be).
    ///
    /// # Errors
    /// When there is no such blob, or the range reaches beyond its end.
    fn blob_at(&self, descriptor: &Descriptor, offset: u64, len: usize) -> Result<Vec<u8>>;

    /// The bytes of a blob from `offset` on, **not verified**: for going on where an earlier reader stopped.
    ///
    /// # Errors
    /// When there is no such blob, or it cannot be read that far.
    fn blob_from(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send>> {
        let mut blob = self.blob(descriptor)?;
        let skipped = io::copy(&mut blob.by_ref().take(offset), &mut io::sink())
            .map_err(Error::io("read a blob from", self.name()))?;
        check_range(&self.name(), descriptor, skipped, offset, 0)?;
        Ok(blob)
    }

    /// Whether there is such a blob.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn has(&self, descriptor: &Descriptor) -> Result<bool>;

    /// What may refer to `subject` (a manifest of this source) with its `subject` field: a layout lists that in
    /// `index.json`, a registry tells. The answer may hold other things too, and nothing of it was read.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let _ = subject;
        Ok(self.index()?.manifests)
    }

    /// A manifest or an index that is known by its digest alone; `None` where it is not there, or not listed where only what
    /// is listed can be found.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn manifest(&self, digest: &Digest) -> Result<Option<Descriptor>> {
        let index = self.index()?;
        Ok(index.manifests.into_iter().find(|d| d.digest == *digest))
    }

    /// The repository that this reads from, if it is one of a registry: another repository of the same registry can
    /// take blobs over without moving them.
    fn repository(&self) -> Option<&RepositoryName> {
        None
    }

    /// A whole small blob, verified; at most [`limits::MAX_DOCUMENT`] bytes.
    ///
    /// # Errors
    /// When there is no such blob, or it is too large, or damaged.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.document_within(descriptor, limits::MAX_DOCUMENT)
    }

    /// As [`Source::document`], with a limit of one's own.
    ///
    /// # Errors
    /// As [`Source::document`].
    fn document_within(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        let name = self.name();
        limits::check("bytes of a document", descriptor.size, limit).map_err(|source| {
            Error::Limit {
                place: name.clone(),
                source,
            }
        })?;
        let mut bytes =
            Vec::with_capacity(usize::try_from(descriptor.size.min(1 << 20)).unwrap_or(0));
        verified(descriptor, self.blob(descriptor)?)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read a document from", name))?;
        Ok(bytes)
    }

    /// Reads and parses the index or manifest that `descriptor` points at; `None` when its media type is neither.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    fn parsed(&self, descriptor: &Descriptor) -> Result<Option<Document>> {
        if !media_type::is_index(&descriptor.media_type)
            && !media_type::is_manifest(&descriptor.media_type)
        {
            return Ok(None);
        }
        let bytes = self.document(descriptor)?;
        Document::parse(&descriptor.media_type, &bytes).map_err(|source| Error::Document {
            document: descriptor.digest.to_string(),
            place: self.name(),
            source,
        })
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: Source + ?Sized> Source for $pointer {
            fn name(&self) -> String {
                (**self).name()
            }
            fn index(&self) -> Result<Index> {
                (**self).index()
            }
            fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
                (**self).blob(descriptor)
            }
            fn blob_at(&self, descriptor: &Descriptor, offset: u64, len: usize) -> Result<Vec<u8>> {
                (**self).blob_at(descriptor, offset, len)
            }
            fn blob_from(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send>> {
                (**self).blob_from(descriptor, offset)
            }
            fn has(&self, descriptor: &Descriptor) -> Result<bool> {
                (**self).has(descriptor)
            }
            fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
                (**self).referrers(subject)
            }
            fn manifest(&self, digest: &Digest) -> Result<Option<Descriptor>> {
                (**self).manifest(digest)
            }
            fn repository(&self) -> Option<&RepositoryName> {
                (**self).repository()
            }
            fn document_within(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
                (**self).document_within(descriptor, limit)
            }
        }
    )*};
}
forward!(&T, Box<T>, Arc<T>);

/// Makes a blob's reader fail unless size and digest are those of `descriptor`.
pub fn verified<R: Read>(descriptor: &Descriptor, reader: R) -> VerifyingReader<R> {
    VerifyingReader::new(reader, descriptor.digest, descriptor.size)
}

/// Checks that a range lies inside a blob.
pub(crate) fn check_range(
    place: &str,
    descriptor: &Descriptor,
    size: u64,
    offset: u64,
    len: usize,
) -> Result<()> {
    let end = offset.saturating_add(len as u64);
    if end > size {
        return Err(Error::OutOfRange {
            place: place.to_owned(),
            digest: descriptor.digest,
            size,
            offset,
            end,
        });
    }
    Ok(())
}

/// What [`select`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// One entry: a manifest, or an index with an image for several platforms.
    One(Box<Descriptor>),
    /// `index.json` itself is the image index: it lists untagged manifests and nothing else.
    Flat(Index),
}

/// Why no image could be picked from an `index.json`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// There is nothing in it.
    #[error("index.json lists no image")]
    Empty,
    /// No such tag.
    #[error("index.json has no tag {tag:?}; it has {}", list(tags))]
    NoSuchTag {
        /// The tag asked for.
        tag: String,
        /// The tags that exist.
        tags: Vec<String>,
    },
    /// The tag stands at several entries with different digests.
    #[error("index.json has the tag {tag:?} {count} times, for different images")]
    Ambiguous {
        /// The tag asked for.
        tag: String,
        /// How often.
        count: usize,
    },
    /// Several images, and no tag to tell which.
    #[error(
        "index.json lists {count} images: name one by its tag; it has {}",
        list(tags)
    )]
    TagNeeded {
        /// How many entries there are.
        count: usize,
        /// The tags that exist.
        tags: Vec<String>,
    },
}

fn list(tags: &[String]) -> String {
    if tags.is_empty() {
        "no tags".to_owned()
    } else {
        format!("the tags {}", tags.join(", "))
    }
}

/// Picks the image that a user means from an `index.json`.
///
/// Artifacts that stand beside images (what refers to one is listed here, too) do not count, unless there is nothing else.
///
/// With a tag: the entry whose `org.opencontainers.image.ref.name` is that tag.
/// Without: the only entry (several names of one digest are one image: `buildx build -t a -t b` writes that), or, when
/// there are several and all are untagged manifests, the whole index.
///
/// # Errors
/// When nothing or more than one image fits; the error lists the tags that exist.
pub fn select(index: &Index, tag: Option<&str>) -> Result<Selection, SelectError> {
    let tags = || {
        let mut tags: Vec<String> = index
            .manifests
            .iter()
            .filter_map(|d| d.tag().map(str::to_owned))
            .collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    };
    let same = |entries: &[&Descriptor]| {
        entries
            .windows(2)
            .all(|pair| pair[0].digest == pair[1].digest)
    };
    let mut candidates: Vec<&Descriptor> = index
        .manifests
        .iter()
        .filter(|entry| tag.is_none() || entry.tag() == tag)
        .collect();
    if candidates.iter().any(|entry| !is_artifact(entry)) {
        candidates.retain(|entry| !is_artifact(entry));
    }
    match (candidates.first(), tag) {
        (None, None) => Err(SelectError::Empty),
        (None, Some(tag)) => Err(SelectError::NoSuchTag {
            tag: tag.to_owned(),
            tags: tags(),
        }),
        (Some(&first), _) if same(&candidates) => Ok(Selection::One(Box::new(first.clone()))),
        (Some(_), Some(tag)) => Err(SelectError::Ambiguous {
            tag: tag.to_owned(),
            count: candidates.len(),
        }),
        (Some(_), None) => {
            if candidates
                .iter()
                .all(|entry| entry.tag().is_none() && media_type::is_manifest(&entry.media_type))
            {
                Ok(Selection::Flat(index.clone()))
            } else {
                Err(SelectError::TagNeeded {
                    count: candidates.len(),
                    tags: tags(),
                })
            }
        }
    }
}

fn is_artifact(entry: &Descriptor) -> bool {
    !entry.artifact_type.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::REF_NAME;

    fn entry(content: &str, tag: Option<&str>) -> Descriptor {
        let mut d = Descriptor::of(media_type::OCI_MANIFEST, content.as_bytes());
        d.annotations
            .extend(tag.map(|t| (REF_NAME.to_owned(), t.to_owned())));
        d
    }

    #[test]
    fn selection() {
        let (a, b, plain) = (
            entry("a", Some("a")),
            entry("b", Some("b")),
            entry("c", None),
        );
        let one = |d: &Descriptor| Ok(Selection::One(Box::new(d.clone())));
        let index = Index::new(vec![a.clone(), b.clone()]);
        assert_eq!(select(&index, Some("b")), one(&b));
        let error = select(&index, None).unwrap_err().to_string();
        assert!(error.ends_with("it has the tags a, b"), "{error}");
        assert!(
            select(&index, Some("x"))
                .unwrap_err()
                .to_string()
                .contains("the tags a, b")
        );
        assert_eq!(select(&Index::new(vec![a.clone()]), None), one(&a));
        assert_eq!(select(&Index::new(vec![]), None), Err(SelectError::Empty));
        let flat = Index::new(vec![plain.clone(), entry("d", None)]);
        assert_eq!(select(&flat, None), Ok(Selection::Flat(flat.clone())));
        assert!(select(&Index::new(vec![a.clone(), plain.clone()]), None).is_err());
        let mut nested = flat;
        nested.manifests[0].media_type = media_type::OCI_INDEX.to_owned();
        assert!(
            select(&nested, None)
                .unwrap_err()
                .to_string()
                .contains("no tags")
        );
        // An artifact beside an image.
        let mut artifact = entry("e", None);
        "application/vnd.example".clone_into(&mut artifact.artifact_type);
        let mut image = a.clone();
        media_type::OCI_INDEX.clone_into(&mut image.media_type);
        let beside = Index::new(vec![image.clone(), artifact.clone()]);
        assert_eq!(select(&beside, None), one(&image));
        assert_eq!(
            select(&Index::new(vec![artifact.clone()]), None),
            one(&artifact)
        );
        // Two names of one image.
        let aliases = Index::new(vec![entry("a", Some("x")), entry("a", Some("y"))]);
        assert_eq!(select(&aliases, None), one(&aliases.manifests[0]));
        let twice = Index::new(vec![entry("a", Some("x")), entry("b", Some("x"))]);
        assert!(matches!(
            select(&twice, Some("x")),
            Err(SelectError::Ambiguous { count: 2, .. })
        ));
    }
}
