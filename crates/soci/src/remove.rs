//! `rm --index`: SOCI indexes go, the image stays.
//!
//! What is removed are manifests. zTOCs are blobs, which a registry collects when nothing refers to them any more.

use serde::Serialize;
use sociable_oci::registry::{Registries, Removed, RepositoryName};
use sociable_oci::{Digest, Source};

use crate::error::Result;
use crate::found;
use crate::image::{Image, Platforms};
use crate::soci_index::Version;

/// A SOCI index that was removed.
#[derive(Debug, Clone, Serialize)]
pub struct RemovedIndex {
    /// Of which platform's image.
    pub platform: String,
    /// Its generation. The image goes on naming one of v2, and nodes then fetch the image whole.
    pub version: Version,
    /// The index.
    pub digest: Digest,
    /// Whether it was still there.
    pub was_there: bool,
}

/// Removes the SOCI indexes of an image in a registry.
///
/// # Errors
/// When the image cannot be read, or the registry refuses to delete.
pub fn remove_indexes(
    registries: &Registries,
    repository: &RepositoryName,
    source: &dyn Source,
    image: &Image,
    platforms: &Platforms,
) -> Result<Vec<RemovedIndex>> {
    let mut removed = Vec::new();
    for of in image.choose(source, platforms)? {
        for found in found::indexes(source, image, &of)? {
            let version = found.index.version;
            let subject = (version == Version::V1).then_some(&of.descriptor.digest);
            let outcome = registries.remove(repository, &found.descriptor.digest, subject)?;
            removed.push(RemovedIndex {
                platform: of.platform.to_string(),
                version,
                digest: found.descriptor.digest,
                was_there: outcome == Removed::Gone,
            });
        }
    }
    Ok(removed)
}
