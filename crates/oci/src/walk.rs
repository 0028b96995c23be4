//! Visits the manifests below a descriptor, within limits.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::document::{Descriptor, Document};
use crate::error::{Error, Result};
use crate::limits;
use crate::source::Source;

/// One visited document.
#[derive(Debug, Clone)]
pub struct Step {
    /// What points at it.
    pub descriptor: Descriptor,
    /// How many indexes are above it.
    pub depth: usize,
    /// What it is; `None` when its media type is neither an index nor a manifest, and it was not read.
    pub document: Option<Document>,
}

/// A depth-first walk in the order of the indexes; each digest is visited once.
///
/// A document that cannot be read is reported and skipped: the walk goes on, the caller may stop.
pub struct Walk<'a> {
    source: &'a dyn Source,
    stack: Vec<(Descriptor, usize)>,
    seen: BTreeSet<Digest>,
}

impl<'a> Walk<'a> {
    /// Starts at `roots`.
    pub fn new(source: &'a dyn Source, roots: impl IntoIterator<Item = Descriptor>) -> Self {
        let mut stack: Vec<_> = roots.into_iter().map(|d| (d, 0)).collect();
        stack.reverse();
        Self {
            source,
            stack,
            seen: BTreeSet::new(),
        }
    }

    fn step(&mut self, descriptor: Descriptor, depth: usize) -> Result<Step> {
        let too_large = |what, actual: usize, limit: usize| {
            limits::check(what, actual as u64, limit as u64).map_err(|source| Error::Limit {
                place: self.source.name(),
                source,
            })
        };
        too_large(
            "documents of an image",
            self.seen.len(),
            limits::MAX_DOCUMENTS,
        )
        .and_then(|()| too_large("depth of indexes within indexes", depth, limits::MAX_DEPTH))
        .inspect_err(|_| self.stack.clear())?;
        let document = self.source.parsed(&descriptor)?;
        if let Some(Document::Index(index)) = &document {
            self.stack
                .extend(index.manifests.iter().rev().map(|d| (d.clone(), depth + 1)));
        }
        Ok(Step {
            descriptor,
            depth,
            document,
        })
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (descriptor, depth) = self.stack.pop()?;
            if self.seen.insert(descriptor.digest) {
                return Some(self.step(descriptor, depth));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Index, Manifest};
    use crate::media_type;
    use crate::oci_dir::{OciDir, OciDirSink};
    use crate::sink::{IndexUpdate, Sink as _};

    fn nested(depth: usize) -> (tempfile::TempDir, OciDir, Descriptor) {
        let dir = tempfile::tempdir().unwrap();
        let sink = OciDirSink::create(dir.path()).unwrap();
        let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
        let bytes = Manifest::new(config, vec![]).to_bytes();
        sink.put(&bytes).unwrap();
        let mut top = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
        for _ in 0..depth {
            let bytes = Index::new(vec![top.clone(), top]).to_bytes();
            sink.put(&bytes).unwrap();
            top = Descriptor::of(media_type::OCI_INDEX, &bytes);
        }
        Box::new(sink)
            .finish(&IndexUpdate::new(top.clone()))
            .unwrap();
        let source = OciDir::open(dir.path()).unwrap();
        (dir, source, top)
    }

    #[test]
    fn each_document_once() {
        let (_dir, source, top) = nested(3);
        let steps: Vec<Step> = Walk::new(&source, [top]).collect::<Result<_>>().unwrap();
        assert_eq!(
            steps.iter().map(|s| s.depth).collect::<Vec<_>>(),
            [0, 1, 2, 3]
        );
        assert!(matches!(steps[3].document, Some(Document::Manifest(_))));
    }

    #[test]
    fn depth_is_limited() {
        let (_dir, source, top) = nested(limits::MAX_DEPTH);
        assert!(Walk::new(&source, [top]).all(|s| s.is_ok()));
        let (_dir, source, top) = nested(limits::MAX_DEPTH + 1);
        let error = Walk::new(&source, [top]).find_map(Result::err).unwrap();
        assert!(crate::error::chain(&error).contains("depth"), "{error}");
    }

    #[test]
    fn a_missing_document_is_reported_and_skipped() {
        let (_dir, source, top) = nested(1);
        let missing = Descriptor::of(media_type::OCI_MANIFEST, b"missing");
        let results: Vec<_> = Walk::new(&source, [missing, top]).collect();
        assert!(matches!(results[0], Err(Error::NoBlob { .. })));
        assert_eq!(results.len(), 3);
    }
}
