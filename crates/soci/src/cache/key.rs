//! What zTOCs are found by, and the names of their files.

use sociable_oci::{Algorithm, Digest, Hasher};

/// What the names of zTOCs' files end with.
const SUFFIX: &str = ".ztoc";

/// What a zTOC was made of, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    layer: Digest,
    options: String,
}

impl Key {
    /// A key. `options` is a text with everything but the layer that the zTOC's bytes depend on.
    #[must_use]
    pub fn new(layer: Digest, options: impl Into<String>) -> Self {
        Self {
            layer,
            options: options.into(),
        }
    }

    /// Digest of the layer as stored.
    #[must_use]
    pub fn layer(&self) -> &Digest {
        &self.layer
    }

    /// How the zTOC was made.
    #[must_use]
    pub fn options(&self) -> &str {
        &self.options
    }

    /// The name of the key's file.
    #[must_use]
    pub fn file_name(&self) -> String {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        // No two keys have the same text: a digest has no line end.
        hasher.update(b"sociable zTOC cache 1\n");
        hasher.update(self.layer.to_string().as_bytes());
        hasher.update(b"\n");
        hasher.update(self.options.as_bytes());
        hasher.finish().hex() + SUFFIX
    }
}

/// Whether a file's name may be that of a [`Key`].
pub(super) fn is_file_name(name: &str) -> bool {
    name.strip_suffix(SUFFIX)
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}
