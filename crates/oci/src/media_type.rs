//! Media types, and the questions asked about them.
//!
//! The predicates answer as containerd v2's `core/images` package does, since its snapshotters are what will read the
//! result.

/// OCI image index (image-spec, `image-index.md`).
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image manifest (image-spec, `manifest.md`).
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image configuration (image-spec, `config.md`).
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// An uncompressed layer (image-spec, `layer.md`).
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A gzip layer.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A zstd layer.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// An uncompressed layer that must not be pushed (deprecated by the specification, still around).
pub const OCI_LAYER_NONDISTRIBUTABLE: &str =
    "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// The empty JSON object `{}` (image-spec, `manifest.md`, "Guidance for an Empty Descriptor").
pub const OCI_EMPTY_JSON: &str = "application/vnd.oci.empty.v1+json";

/// Docker's manifest list.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// A Docker layer that claims no compression, and may have one.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// A Docker gzip layer, as containerd spells it.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// A Docker zstd layer.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
/// A Docker foreign layer.
pub const DOCKER_LAYER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
/// A Docker foreign gzip layer.
pub const DOCKER_LAYER_FOREIGN_GZIP: &str =
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// A native EROFS layer.
pub const EROFS_LAYER: &str = "application/vnd.erofs.layer.v1";

/// `IsIndexType`: an OCI index or a Docker manifest list.
#[must_use]
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_MANIFEST_LIST)
}

/// `IsManifestType`: an OCI or Docker schema 2 manifest; schema 1 is not supported.
#[must_use]
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// A manifest or an index: what a registry keeps apart from blobs, and reads.
#[must_use]
pub fn is_document(media_type: &str) -> bool {
    is_index(media_type) || is_manifest(media_type)
}

/// `IsConfigType`: an OCI or Docker image configuration.
#[must_use]
pub fn is_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

/// `IsDockerType`: any of Docker's own types.
#[must_use]
pub fn is_docker(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.")
}

/// `IsLayerType`: a filesystem layer, whatever its compression or encryption.
#[must_use]
pub fn is_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.")
        || matches!(
            base(media_type),
            DOCKER_LAYER
                | DOCKER_LAYER_GZIP
                | DOCKER_LAYER_ZSTD
                | DOCKER_LAYER_FOREIGN
                | DOCKER_LAYER_FOREIGN_GZIP
                | EROFS_LAYER
        )
}

/// What OCI calls a layer of this media type, as BuildKit's exporter renames layers. Docker's bare type stays: its bytes may be
/// compressed.
#[must_use]
pub fn layer_as_oci(media_type: &str) -> &str {
    match media_type {
        DOCKER_LAYER_GZIP => OCI_LAYER_GZIP,
        DOCKER_LAYER_ZSTD => OCI_LAYER_ZSTD,
        DOCKER_LAYER_FOREIGN => OCI_LAYER_NONDISTRIBUTABLE,
        DOCKER_LAYER_FOREIGN_GZIP => "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        other => other,
    }
}

/// `IsNonDistributable`: a layer whose bytes live elsewhere and may be absent from a layout.
#[must_use]
pub fn is_nondistributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

/// What a layer's media type says about its compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// A plain tar (or wrapped in something that is no compression, such as encryption).
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// Docker's bare type: containerd looks at the first bytes to find out.
    Unknown,
}

/// `DiffCompression`: the compression that a layer's media type states; `None` when the type is no tar layer.
///
/// As in containerd, the suffixes are sorted and the last one counts: `+gzip+encrypted` is gzip, `+zstd+gzip` is zstd.
#[must_use]
pub fn layer_compression(media_type: &str) -> Option<Compression> {
    let mut suffixes: Vec<&str> = media_type
        .split_once('+')
        .map(|(_, rest)| rest.split('+').collect())
        .unwrap_or_default();
    suffixes.sort_unstable();
    let plain_or = |compression| {
        if suffixes.is_empty() {
            compression
        } else {
            Compression::None
        }
    };
    Some(match base(media_type) {
        DOCKER_LAYER | DOCKER_LAYER_FOREIGN => plain_or(Compression::Unknown),
        DOCKER_LAYER_GZIP | DOCKER_LAYER_FOREIGN_GZIP => plain_or(Compression::Gzip),
        DOCKER_LAYER_ZSTD => plain_or(Compression::Zstd),
        OCI_LAYER | OCI_LAYER_NONDISTRIBUTABLE => match suffixes.last() {
            Some(&"gzip") => Compression::Gzip,
            Some(&"zstd") => Compression::Zstd,
            _ => Compression::None,
        },
        _ => return None,
    })
}

fn base(media_type: &str) -> &str {
    media_type
        .split_once('+')
        .map_or(media_type, |(base, _)| base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_as_containerd_says() {
        for (media_type, expected) in [
            (OCI_LAYER, Some(Compression::None)),
            (OCI_LAYER_GZIP, Some(Compression::Gzip)),
            (OCI_LAYER_ZSTD, Some(Compression::Zstd)),
            (OCI_LAYER_NONDISTRIBUTABLE, Some(Compression::None)),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                Some(Compression::Gzip),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                Some(Compression::Gzip),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+encrypted",
                Some(Compression::None),
            ),
            (DOCKER_LAYER, Some(Compression::Unknown)),
            (DOCKER_LAYER_GZIP, Some(Compression::Gzip)),
            (DOCKER_LAYER_ZSTD, Some(Compression::Zstd)),
            (DOCKER_LAYER_FOREIGN, Some(Compression::Unknown)),
            (DOCKER_LAYER_FOREIGN_GZIP, Some(Compression::Gzip)),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted",
                Some(Compression::None),
            ),
            (EROFS_LAYER, None),
            (OCI_CONFIG, None),
            ("", None),
        ] {
            assert_eq!(layer_compression(media_type), expected, "{media_type}");
        }
    }

    #[test]
    fn predicates() {
        assert!(is_index(OCI_INDEX) && is_index(DOCKER_MANIFEST_LIST) && !is_index(OCI_MANIFEST));
        assert!(is_manifest(OCI_MANIFEST) && is_manifest(DOCKER_MANIFEST));
        assert!(is_layer(OCI_LAYER_GZIP) && is_layer(EROFS_LAYER) && !is_layer(OCI_CONFIG));
        assert!(is_layer(
            "application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted"
        ));
        assert!(is_nondistributable(DOCKER_LAYER_FOREIGN_GZIP));
        assert!(!is_nondistributable(OCI_LAYER));
        assert!(is_config(DOCKER_CONFIG) && is_docker(DOCKER_CONFIG) && !is_docker(OCI_CONFIG));
    }
}
