//! SOCI indexes as documents.
//!
//! A SOCI index is an OCI image manifest. Its config is the two bytes `{}` under a media type that says which version it
//! is ([`INDEX_V1`], [`INDEX_V2`]); its layers are first the zTOCs in the order of the image's layers (layers that are not
//! indexed are left out), then the prefetch artifacts; an annotation names the tool that built it.
//!
//! * **v1** has a `subject`, the image manifest, and is found through the registry's referrers.
//! * **v2** has none: the image manifest is annotated with the index's digest ([`INDEX_DIGEST`](crate::names::INDEX_DIGEST)).
//!
//! The snapshotter decodes the document, encodes it again and stores that under the original digest, so it must be spelled
//! exactly as Go's `encoding/json` does; any other spelling makes it fall back to pulling the whole image.

use sociable_oci::{Annotations, Descriptor, Digest, Manifest, media_type};

use crate::error::{Error, Result};
use crate::names::{BUILD_TOOL, INDEX_V1, INDEX_V2, LAYER_DIGEST, PREFETCH, ZTOC};

/// The config of every SOCI index.
pub const CONFIG: &[u8] = b"{}";

/// Which generation of SOCI index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Version {
    /// Points at its image.
    #[serde(rename = "v1")]
    V1,
    /// Its image points at it.
    #[serde(rename = "v2")]
    V2,
}

impl Version {
    /// The artifact type.
    #[must_use]
    pub fn artifact_type(self) -> &'static str {
        match self {
            Self::V1 => INDEX_V1,
            Self::V2 => INDEX_V2,
        }
    }

    /// The version of which this is the artifact type.
    #[must_use]
    pub fn of(artifact_type: &str) -> Option<Self> {
        [Self::V1, Self::V2]
            .into_iter()
            .find(|v| v.artifact_type() == artifact_type)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

/// A SOCI index.
#[derive(Debug, Clone)]
pub struct SociIndex {
    /// Its generation.
    pub version: Version,
    /// The zTOCs, in the order of the image's layers.
    pub ztocs: Vec<Descriptor>,
    /// The prefetch artifacts.
    pub prefetch: Vec<Descriptor>,
    /// Annotations.
    pub annotations: Annotations,
    /// v1: the image manifest.
    pub subject: Option<Descriptor>,
}

impl SociIndex {
    /// A new one. For v1, `image` becomes its subject.
    #[must_use]
    pub fn new(
        version: Version,
        tool: &str,
        image: &Descriptor,
        ztocs: Vec<Descriptor>,
        prefetch: Vec<Descriptor>,
    ) -> Self {
        let subject = (version == Version::V1)
            .then(|| Descriptor::new(&image.media_type, image.digest, image.size));
        Self {
            version,
            ztocs,
            prefetch,
            annotations: [(BUILD_TOOL.to_owned(), tool.to_owned())].into(),
            subject,
        }
    }

    /// Its bytes, and the descriptor under which an image index lists it (without a platform).
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Descriptor) {
        let config = Descriptor::of(self.version.artifact_type(), CONFIG);
        let layers = [&self.ztocs[..], &self.prefetch].concat();
        let mut manifest = Manifest::new(config, layers);
        manifest.subject = self.subject.clone().map(Box::new);
        manifest.annotations.clone_from(&self.annotations);
        let bytes = manifest.to_bytes();
        let mut descriptor = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
        self.version
            .artifact_type()
            .clone_into(&mut descriptor.artifact_type);
        (bytes, descriptor)
    }

    /// Reads one. Its spelling is not looked at.
    ///
    /// # Errors
    /// [`Error::BadIndex`].
    pub fn decode(digest: Digest, bytes: &[u8]) -> Result<Self> {
        let manifest = Manifest::parse(bytes).map_err(|e| Error::BadIndex {
            digest,
            why: e.to_string(),
        })?;
        Self::from_manifest(digest, &manifest)
    }

    /// Whether a manifest is a SOCI index.
    #[must_use]
    pub fn is_one(manifest: &Manifest) -> bool {
        Version::of(&manifest.config.media_type).is_some()
    }

    /// The index that a manifest is.
    ///
    /// # Errors
    /// [`Error::BadIndex`].
    pub fn from_manifest(digest: Digest, manifest: &Manifest) -> Result<Self> {
        let bad = |why: String| Error::BadIndex { digest, why };
        let version = Version::of(&manifest.config.media_type).ok_or_else(|| {
            bad(format!(
                "its config is of the media type {:?}",
                manifest.config.media_type
            ))
        })?;
        let mut index = Self {
            version,
            ztocs: Vec::new(),
            prefetch: Vec::new(),
            annotations: manifest.annotations.clone(),
            subject: manifest.subject.as_deref().cloned(),
        };
        if version == Version::V1 && index.subject.is_none() {
            return Err(bad("it has no subject".to_owned()));
        }
        for blob in &manifest.layers {
            match blob.media_type.as_str() {
                ZTOC => index.ztocs.push(blob.clone()),
                PREFETCH => index.prefetch.push(blob.clone()),
                other => return Err(bad(format!("it lists a blob of the media type {other:?}"))),
            }
            layer_of(blob).map_err(bad)?;
        }
        Ok(index)
    }

    /// The zTOC of a layer.
    #[must_use]
    pub fn ztoc_of(&self, layer: &Digest) -> Option<&Descriptor> {
        self.ztocs
            .iter()
            .find(|z| layer_of(z).as_ref() == Ok(layer))
    }
}

/// The layer to which a zTOC or prefetch artifact belongs.
///
/// # Errors
/// What is wrong with its annotation.
pub fn layer_of(blob: &Descriptor) -> Result<Digest, String> {
    let layer = blob
        .annotations
        .get(LAYER_DIGEST)
        .ok_or_else(|| format!("{} has no annotation {LAYER_DIGEST}", blob.digest))?;
    layer
        .parse()
        .map_err(|e| format!("annotation {LAYER_DIGEST} of {}: {e}", blob.digest))
}
