//! The SOCI indexes of an image that exists.
//!
//! * **v2**: the image manifest's annotation names it; the image index, or `index.json`, lists it.
//! * **v1**: `index.json` (or the image index) lists a manifest of the artifact type, whose subject is the image manifest.

use sociable_oci::{Descriptor, Digest, Source, media_type};
use sociable_ztoc::Ztoc;

use crate::error::{Error, Result};
use crate::image::{Image, Kind, PlatformImage};
use crate::names::INDEX_DIGEST;
use crate::soci_index::{SociIndex, Version};

/// A SOCI index as it was found.
#[derive(Debug, Clone)]
pub struct FoundIndex {
    /// What leads to it.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they say.
    pub index: SociIndex,
}

/// All SOCI indexes of one platform's image: v2 first.
///
/// # Errors
/// When one that is listed cannot be read, or is none.
pub fn indexes(source: &dyn Source, image: &Image, of: &PlatformImage) -> Result<Vec<FoundIndex>> {
    let entries = entries(source, image, of)?;
    let mut found = Vec::new();
    if let Some(digest) = annotated(of)? {
        // The annotation alone leads to it; that it is listed is for those who copy and collect garbage.
        let listed = entries.iter().find(|entry| entry.digest == digest).cloned();
        let entry = match listed {
            None => source.manifest(&digest)?,
            listed => listed,
        };
        if let Some(entry) = entry {
            found.push(read(source, &entry)?);
        }
    }
    for entry in &entries {
        if !may_be_v1(entry) || found.iter().any(|f| f.descriptor.digest == entry.digest) {
            continue;
        }
        if !source.has(entry)? {
            continue;
        }
        let index = read(source, entry)?;
        let subject = index.index.subject.as_ref().map(|s| s.digest);
        if index.index.version == Version::V1 && subject == Some(of.descriptor.digest) {
            found.push(index);
        }
    }
    Ok(found)
}

/// The v2 index that an image manifest names.
///
/// # Errors
/// [`Error::BadIndex`] when that is no digest.
pub fn annotated(of: &PlatformImage) -> Result<Option<Digest>> {
    let Some(text) = of.manifest.annotations.get(INDEX_DIGEST) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|e| Error::BadIndex {
        digest: of.descriptor.digest,
        why: format!("the image's annotation {INDEX_DIGEST} is wrong: {e}"),
    })
}

/// Everything that is listed beside the image or with it.
fn entries(source: &dyn Source, image: &Image, of: &PlatformImage) -> Result<Vec<Descriptor>> {
    let mut entries = source.referrers(&of.descriptor.digest)?;
    if let Kind::Multi(index) = &image.kind {
        entries.extend(index.manifests.iter().cloned());
    }
    Ok(entries)
}

fn may_be_v1(entry: &Descriptor) -> bool {
    media_type::is_manifest(&entry.media_type)
        && Version::of(&entry.artifact_type) == Some(Version::V1)
}

fn read(source: &dyn Source, entry: &Descriptor) -> Result<FoundIndex> {
    let bytes = source.document(entry)?;
    let index = SociIndex::decode(entry.digest, &bytes)?;
    Ok(FoundIndex {
        descriptor: entry.clone(),
        bytes,
        index,
    })
}

/// Reads a zTOC and checks it against its descriptor, and against its own rules.
///
/// # Errors
/// When it cannot be read, is damaged, or breaks a rule.
pub fn ztoc(source: &dyn Source, descriptor: &Descriptor, layer: &Digest) -> Result<Ztoc> {
    let bytes = source.document_within(descriptor, sociable_ztoc::format::MAX_SIZE)?;
    Ztoc::decode(&bytes).map_err(|error| Error::BadZtoc {
        digest: descriptor.digest,
        layer: Box::new(*layer),
        source: Box::new(error),
    })
}
