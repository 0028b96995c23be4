//! Descriptors, indexes, manifests and image configurations.
//!
//! Fields, their order and their omission are those of the OCI image-spec's own Go types
//! (`specs-go/v1`, v1.1.1), so that reading and writing a document gives what Go's `Unmarshal` and `Marshal` would:
//! unknown fields are dropped, `null` counts as absent, maps come out sorted. [`Config`] is the exception: nothing here
//! needs its digest to survive, so it keeps the fields it does not know.
//!
//! Differences to Go, all on the strict side: a descriptor needs a valid digest and a size that is not negative,
//! key names match exactly, a key may not come twice, and a missing list is written as `[]` where Go writes `null`.

use std::collections::BTreeMap;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::json;
use crate::limits::{self, LimitError};
use crate::media_type;
use crate::platform::Platform;

/// The annotation of an `index.json` entry that holds its tag (image-spec, `annotations.md`).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Annotations: Go's `map[string]string`.
pub type Annotations = BTreeMap<String, String>;

/// Why bytes are not the document they should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Not JSON, or JSON of another shape.
    #[error("not a valid {what}: {source}")]
    Json {
        /// The kind of document.
        what: &'static str,
        /// Line, column and cause.
        source: serde_json::Error,
    },
    /// A document that could be read as two different kinds (CVE-2021-41190).
    #[error(
        "not a valid {what}: it has the field {field:?}, which belongs to another kind of document"
    )]
    Ambiguous {
        /// The kind of document.
        what: &'static str,
        /// The field that does not belong.
        field: &'static str,
    },
    /// Only schema version 2 exists in this world.
    #[error("not a valid {what}: schemaVersion is {version}, expected 2")]
    SchemaVersion {
        /// The kind of document.
        what: &'static str,
        /// What it says.
        version: i64,
    },
    /// Too large.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// Points at a blob (image-spec, `descriptor.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// The media type of the blob.
    #[serde(rename = "mediaType", default, deserialize_with = "null_default")]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Where else it may be had.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: Annotations,
    /// The blob itself, embedded; base64 in JSON.
    #[serde(default, with = "base64_bytes", skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<u8>,
    /// What the image behind this entry runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of an artifact.
    #[serde(
        rename = "artifactType",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub artifact_type: String,
}

impl Descriptor {
    /// A descriptor with the three required fields.
    #[must_use]
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: Annotations::new(),
            data: Vec::new(),
            platform: None,
            artifact_type: String::new(),
        }
    }

    /// Describes `content` (SHA-256).
    #[must_use]
    pub fn of(media_type: impl Into<String>, content: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256_of(content), content.len() as u64)
    }

    /// The tag, when this is a tagged entry of an `index.json`.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }
}

/// An image index, or a Docker manifest list (image-spec, `image-index.md`). Also what `index.json` is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Always 2.
    #[serde(rename = "schemaVersion", default, deserialize_with = "null_default")]
    pub schema_version: i64,
    /// [`media_type::OCI_INDEX`], or empty, or Docker's.
    #[serde(
        rename = "mediaType",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub media_type: String,
    /// The type of an artifact.
    #[serde(
        rename = "artifactType",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub artifact_type: String,
    /// The entries.
    #[serde(default, deserialize_with = "null_default")]
    pub manifests: Vec<Descriptor>,
    /// What this index is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<Descriptor>>,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: Annotations,
}

impl Index {
    /// An OCI index with these entries.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.to_owned(),
            artifact_type: String::new(),
            manifests,
            subject: None,
            annotations: Annotations::new(),
        }
    }

    /// Reads an index, within the limits of [`crate::limits`].
    ///
    /// # Errors
    /// When it is none, or is too large, or could pass for a manifest as well.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        const WHAT: &str = "image index";
        let index: Self = parse(WHAT, bytes, |p| {
            [
                (p.config.is_some(), "config"),
                (p.layers.is_some(), "layers"),
                (p.fs_layers.is_some(), "fsLayers"),
            ]
        })?;
        limits::check(
            "entries of an image index",
            index.manifests.len() as u64,
            limits::MAX_INDEX_ENTRIES as u64,
        )?;
        check_version(WHAT, index.schema_version)?;
        Ok(index)
    }

    /// The bytes that Go would write.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        go_bytes(self)
    }
}

/// An image manifest of OCI or Docker schema 2 (image-spec, `manifest.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always 2.
    #[serde(rename = "schemaVersion", default, deserialize_with = "null_default")]
    pub schema_version: i64,
    /// [`media_type::OCI_MANIFEST`], or empty, or Docker's.
    #[serde(
        rename = "mediaType",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub media_type: String,
    /// The type of an artifact.
    #[serde(
        rename = "artifactType",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub artifact_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "null_default")]
    pub layers: Vec<Descriptor>,
    /// What this manifest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<Descriptor>>,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: Annotations,
}

impl Manifest {
    /// An OCI manifest.
    #[must_use]
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST.to_owned(),
            artifact_type: String::new(),
            config,
            layers,
            subject: None,
            annotations: Annotations::new(),
        }
    }

    /// Reads a manifest, within the limits of [`crate::limits`].
    ///
    /// # Errors
    /// When it is none, or is too large, or could pass for an index as well.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        const WHAT: &str = "image manifest";
        let manifest: Self = parse(WHAT, bytes, |p| {
            [
                (p.manifests.is_some(), "manifests"),
                (p.fs_layers.is_some(), "fsLayers"),
                (false, ""),
            ]
        })?;
        limits::check(
            "layers of an image manifest",
            manifest.layers.len() as u64,
            limits::MAX_LAYERS as u64,
        )?;
        check_version(WHAT, manifest.schema_version)?;
        Ok(manifest)
    }

    /// The bytes that Go would write.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        go_bytes(self)
    }
}

/// An image configuration (image-spec, `config.md`): what is needed here, and everything else as it was.
///
/// Written with the known fields in Go's order and the unknown ones after them, sorted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub author: String,
    /// CPU architecture.
    #[serde(default, deserialize_with = "null_default")]
    pub architecture: String,
    /// Operating system.
    #[serde(default, deserialize_with = "null_default")]
    pub os: String,
    /// Operating system version.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// Operating system features.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// CPU variant.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub variant: String,
    /// How to run it.
    #[serde(default, deserialize_with = "null_default")]
    pub config: RunConfig,
    /// The uncompressed layers.
    #[serde(default, deserialize_with = "null_default")]
    pub rootfs: RootFs,
    /// How each layer came to be.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// The `config` object of a [`Config`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// User.
    #[serde(
        rename = "User",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// Environment, `NAME=value`.
    #[serde(
        rename = "Env",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// Entry point.
    #[serde(
        rename = "Entrypoint",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub entrypoint: Vec<String>,
    /// Arguments.
    #[serde(
        rename = "Cmd",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cmd: Vec<String>,
    /// Working directory.
    #[serde(
        rename = "WorkingDir",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Labels.
    #[serde(
        rename = "Labels",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: Annotations,
    /// Everything else.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// The `rootfs` object of a [`Config`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default, deserialize_with = "null_default")]
    pub kind: String,
    /// Digests of the uncompressed layers, lowest first.
    #[serde(default, deserialize_with = "null_default")]
    pub diff_ids: Vec<Digest>,
}

/// One entry of a [`Config`]'s history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub created_by: String,
    /// By whom.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub author: String,
    /// A remark.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub comment: String,
    /// Whether this step made no layer.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub empty_layer: bool,
    /// Everything else.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

impl Config {
    /// Reads an image configuration.
    ///
    /// # Errors
    /// When it is none, or is larger than [`limits::MAX_DOCUMENT`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        const WHAT: &str = "image configuration";
        limits::check(
            "bytes of a document",
            bytes.len() as u64,
            limits::MAX_DOCUMENT,
        )?;
        json::from_slice(bytes).map_err(|source| DocumentError::Json { what: WHAT, source })
    }

    /// The configuration as JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        go_bytes(self)
    }

    /// What the image runs on.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
        }
    }
}

/// An index or a manifest, told apart by the media type of the descriptor that points at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// An index.
    Index(Index),
    /// A manifest.
    Manifest(Box<Manifest>),
}

impl Document {
    /// Reads a document of `media_type`; `None` when that is neither an index nor a manifest.
    ///
    /// # Errors
    /// As [`Index::parse`] and [`Manifest::parse`].
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Option<Self>, DocumentError> {
        if media_type::is_index(media_type) {
            Index::parse(bytes).map(|index| Some(Self::Index(index)))
        } else if media_type::is_manifest(media_type) {
            Manifest::parse(bytes).map(|manifest| Some(Self::Manifest(Box::new(manifest))))
        } else {
            Ok(None)
        }
    }
}

/// The fields by which one kind of document could be taken for another.
#[derive(Deserialize)]
struct Probe {
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<IgnoredAny>,
}

fn parse<T: serde::de::DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
    foreign: impl Fn(&Probe) -> [(bool, &'static str); 3],
) -> Result<T, DocumentError> {
    limits::check(
        "bytes of a document",
        bytes.len() as u64,
        limits::MAX_DOCUMENT,
    )?;
    let invalid = |source| DocumentError::Json { what, source };
    let probe: Probe = json::from_slice(bytes).map_err(invalid)?;
    if let Some((_, field)) = foreign(&probe).into_iter().find(|(found, _)| *found) {
        return Err(DocumentError::Ambiguous { what, field });
    }
    json::from_slice(bytes).map_err(invalid)
}

fn check_version(what: &'static str, version: i64) -> Result<(), DocumentError> {
    // Absent (0) is what Go programs let pass, so it is let pass here.
    if version == 2 || version == 0 {
        Ok(())
    } else {
        Err(DocumentError::SchemaVersion { what, version })
    }
}

pub(crate) fn go_bytes<T: Serialize>(document: &T) -> Vec<u8> {
    json::to_vec(document)
        .expect("documents have string keys only, and writing to memory does not fail")
}

/// Go leaves a field alone when its value is `null`.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = i64::deserialize(deserializer)?;
    u64::try_from(size).map_err(|_| D::Error::custom(format!("size {size} is negative")))
}

mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    // Go's StdEncoding: padding required, stray trailing bits and line breaks ignored.
    const GO: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&GO.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let Some(mut text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(Vec::new());
        };
        text.retain(|c| c != '\n' && c != '\r');
        GO.decode(text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn index_round_trip(text: &str) -> String {
        String::from_utf8(Index::parse(text.as_bytes()).unwrap().to_bytes()).unwrap()
    }

    /// Written by the reference implementation for this project's test vectors.
    const GOLDEN_INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:ad5d36cf1a89fcd1eff5fd530df0f234654ae9ff376f18b62333196394937599","size":626,"annotations":{"a":"2","com.amazon.soci.index-digest":"sha256:02322909d73b0ae01309bf471b7c551d6ea95ca5ba1249f5c84213ac23f317b7","k":"\u003cb\u003e\u0026\u2028\"\\é\u0007","z":"1"},"platform":{"architecture":"amd64","os":"linux"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:02322909d73b0ae01309bf471b7c551d6ea95ca5ba1249f5c84213ac23f317b7","size":709,"annotations":{"com.amazon.soci.image-manifest-digest":"sha256:ad5d36cf1a89fcd1eff5fd530df0f234654ae9ff376f18b62333196394937599"},"platform":{"architecture":"amd64","os":"linux"},"artifactType":"application/vnd.amazon.soci.index.v2+json"}]}"#;
    const GOLDEN_MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:81f92eca090d83be1002808968e55372db29aee8f6962c5f40435b999969f4c8","size":191},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:9801e4baba1c08eee19783257753db74f70fd40b5d90cf3f9e27cc01092e52ac","size":450600,"annotations":{"l":"\u003c\u0026\u003e"}}],"annotations":{"a":"2","com.amazon.soci.index-digest":"sha256:02322909d73b0ae01309bf471b7c551d6ea95ca5ba1249f5c84213ac23f317b7","k":"\u003cb\u003e\u0026\u2028\"\\é\u0007","z":"1"}}"#;

    #[test]
    fn golden_documents_survive() {
        assert_eq!(index_round_trip(GOLDEN_INDEX), GOLDEN_INDEX);
        let manifest = Manifest::parse(GOLDEN_MANIFEST.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(manifest.to_bytes()).unwrap(),
            GOLDEN_MANIFEST
        );
        assert_eq!(
            Digest::sha256_of(&manifest.to_bytes()).to_string(),
            "sha256:ad5d36cf1a89fcd1eff5fd530df0f234654ae9ff376f18b62333196394937599"
        );
    }

    #[test]
    fn every_field_in_gos_order() {
        // Every field set, in a jumbled order with spaces, unknown fields and nulls.
        let jumbled = format!(
            r#"{{ "annotations": {{"z":"1","a":"2"}}, "unknown": [1, {{}}], "subject": {{"size": 2, "digest": "{D}", "mediaType": "s"}},
            "manifests": [{{"artifactType": "t", "platform": {{"variant":"v8","os.features":["f"],"os.version":"1","os":"o","architecture":"a","x":1}},
            "data": "e30=", "annotations": {{"b":"1"}}, "urls": ["u"], "size": 2, "digest": "{D}", "mediaType": "m"}}],
            "artifactType": "at", "mediaType": "mt", "schemaVersion": 2 }}"#
        );
        let d = D;
        assert_eq!(
            index_round_trip(&jumbled),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"mt","artifactType":"at","manifests":[{{"mediaType":"m","digest":"{d}","size":2,"urls":["u"],"annotations":{{"b":"1"}},"data":"e30=","platform":{{"architecture":"a","os":"o","os.version":"1","os.features":["f"],"variant":"v8"}},"artifactType":"t"}}],"subject":{{"mediaType":"s","digest":"{d}","size":2}},"annotations":{{"a":"2","z":"1"}}}}"#
            )
        );
    }

    #[test]
    fn null_and_empty_are_absent() {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":null,"annotations":null,"subject":null,"manifests":[{{"mediaType":"m","digest":"{D}","size":2,"urls":[],"data":null,"annotations":{{}},"platform":null,"artifactType":""}}]}}"#
        );
        assert_eq!(
            index_round_trip(&text),
            format!(
                r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"m","digest":"{D}","size":2}}]}}"#
            )
        );
        assert_eq!(
            index_round_trip(r#"{"schemaVersion":2,"manifests":null}"#),
            r#"{"schemaVersion":2,"manifests":[]}"#
        );
    }

    #[test]
    fn documents_of_two_kinds_are_refused() {
        let both = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"m","digest":"{D}","size":2}},"layers":[],"manifests":[]}}"#
        );
        assert!(
            Index::parse(both.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("config")
        );
        assert!(
            Manifest::parse(both.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("manifests")
        );
        assert!(Index::parse(br#"{"schemaVersion":1,"manifests":[]}"#).is_err());
    }

    #[test]
    fn bad_descriptors_are_refused() {
        for entry in [
            r#"{"mediaType":"m","digest":"sha256:00","size":2}"#.to_owned(),
            format!(r#"{{"mediaType":"m","digest":"{D}","size":-1}}"#),
            format!(r#"{{"mediaType":"m","digest":"{D}"}}"#),
            format!(r#"{{"mediaType":"m","digest":"{D}","size":18446744073709551615}}"#),
            format!(r#"{{"mediaType":"m","digest":"{D}","size":2,"data":"e30"}}"#),
        ] {
            let text = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
            assert!(Index::parse(text.as_bytes()).is_err(), "{entry}");
        }
    }

    #[test]
    fn limits_hold() {
        let entry = format!(r#"{{"mediaType":"m","digest":"{D}","size":2}}"#);
        let many = vec![entry.as_str(); limits::MAX_INDEX_ENTRIES + 1].join(",");
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{many}]}}"#);
        assert!(matches!(
            Index::parse(text.as_bytes()),
            Err(DocumentError::Limit(_))
        ));
        let many = vec![entry.as_str(); limits::MAX_LAYERS + 1].join(",");
        let text = format!(r#"{{"schemaVersion":2,"config":{entry},"layers":[{many}]}}"#);
        assert!(matches!(
            Manifest::parse(text.as_bytes()),
            Err(DocumentError::Limit(_))
        ));
        let large = vec![b' '; usize::try_from(limits::MAX_DOCUMENT).unwrap() + 1];
        assert!(matches!(
            Config::parse(&large),
            Err(DocumentError::Limit(_))
        ));
    }

    #[test]
    fn config_keeps_what_it_does_not_know() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=<1>"],"Healthcheck":{"Test":["x"]}},"rootfs":{"type":"layers","diff_ids":["sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"]},"history":[{"created_by":"RUN","empty_layer":true}],"container":"c","moby.buildkit.buildinfo.v1":"x"}"#;
        let config = Config::parse(text.as_bytes()).unwrap();
        assert_eq!(config.platform().to_string(), "linux/amd64");
        assert_eq!(config.rootfs.diff_ids.len(), 1);
        let expected = text.replace('<', "\\u003c").replace('>', "\\u003e");
        assert_eq!(String::from_utf8(config.to_bytes()).unwrap(), expected);
    }

    /// Every index and manifest of the shared vectors, where they are present.
    #[test]
    fn vectors_survive() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/vectors/images/expected.json"
        );
        let Ok(bytes) = std::fs::read(path) else {
            return;
        };
        let cases: Vec<serde_json::Value> = serde_json::from_slice(&bytes).unwrap();
        let mut seen = 0;
        for case in &cases {
            let documents = case["documents"]
                .as_object()
                .into_iter()
                .flat_map(|d| d.values());
            for text in documents
                .chain([&case["index_json"]])
                .filter_map(|v| v.as_str())
            {
                let written = if text.contains(r#""manifests":"#) {
                    Index::parse(text.as_bytes()).unwrap().to_bytes()
                } else if text.contains(r#""layers":["#) {
                    Manifest::parse(text.as_bytes()).unwrap().to_bytes()
                } else {
                    continue;
                };
                assert_eq!(
                    String::from_utf8(written).unwrap(),
                    text,
                    "{}",
                    case["name"]
                );
                seen += 1;
            }
        }
        assert!(seen > 50, "only {seen} documents found");
    }
}
