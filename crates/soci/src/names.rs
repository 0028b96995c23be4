//! The names SOCI uses: media types, annotations, defaults (soci-snapshotter v0.16, `soci/soci_index.go` and
//! `soci/prefetch.go`).

/// Config media type, and artifact type, of a v1 SOCI index: it points at its image with `subject`.
pub const INDEX_V1: &str = "application/vnd.amazon.soci.index.v1+json";
/// Config media type, and artifact type, of a v2 SOCI index: its image points at it with an annotation.
pub const INDEX_V2: &str = "application/vnd.amazon.soci.index.v2+json";
/// Media type of a zTOC.
pub const ZTOC: &str = sociable_ztoc::format::MEDIA_TYPE;
/// Media type of a prefetch artifact.
pub const PREFETCH: &str = "application/vnd.amazon.soci.prefetch.v1+json";

/// On a SOCI index: the policies that decided about it, a JSON list. Only where there are any. The snapshotter does not look at
/// it.
pub const POLICIES: &str = "dev.sociable.policies";

/// On a zTOC's descriptor, and on a prefetch artifact's: digest of the layer it belongs to.
pub const LAYER_DIGEST: &str = "com.amazon.soci.image-layer-digest";
/// On a zTOC's descriptor: media type of the layer.
pub const LAYER_MEDIA_TYPE: &str = "com.amazon.soci.image-layer-mediaType";
/// On a zTOC's descriptor: the span size asked for, in uncompressed bytes.
pub const SPAN_SIZE: &str = "com.amazon.soci.span-size";
/// On a zTOC's descriptor: `true` where the layer has no extended attributes and no opaque directory, so that the
/// snapshotter need not look for them.
pub const DISABLE_XATTRS: &str = "com.amazon.soci.disable-xattrs";
/// On a SOCI index: who built it.
pub const BUILD_TOOL: &str = "com.amazon.soci.build-tool-identifier";
/// On an image manifest: digest of its v2 SOCI index.
pub const INDEX_DIGEST: &str = "com.amazon.soci.index-digest";
/// On a v2 SOCI index's entry in an image index: digest of its image manifest.
pub const MANIFEST_DIGEST: &str = "com.amazon.soci.image-manifest-digest";

/// Layers below this many (compressed) bytes are left out, unless told otherwise: 10 MiB.
pub const DEFAULT_MIN_LAYER_SIZE: u64 = 10 << 20;
/// The span size unless told otherwise, in uncompressed bytes: 4 MiB.
pub const DEFAULT_SPAN_SIZE: u64 = sociable_policy::SizeSpans::DEFAULT_SPAN_SIZE;
/// Who built it, unless told otherwise.
pub const DEFAULT_BUILD_TOOL: &str = concat!("sociable ", env!("CARGO_PKG_VERSION"));
/// An entry with this name makes its directory opaque (image-spec, `layer.md`).
pub const OPAQUE_WHITEOUT: &str = ".wh..wh..opq";
