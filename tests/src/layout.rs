//! OCI layouts, read and written by hand.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::sha256;

/// Media types that tests write.
pub mod media {
    /// An image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An image config.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// Docker's name of the same.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// A gzip layer.
    pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A plain layer.
    pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
}

/// A layout directory.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The directory.
    pub dir: PathBuf,
}

/// A layer and its zTOC, as a SOCI index ties them.
#[derive(Clone, Debug)]
pub struct Indexed {
    /// The layer's digest.
    pub layer: String,
    /// The zTOC's digest.
    pub ztoc: String,
    /// What the zTOC's descriptor says the span size was.
    pub span_size: String,
}

impl Layout {
    /// A layout that exists.
    pub fn open(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// A new, empty one.
    pub fn create(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        fs::create_dir_all(dir.join("blobs/sha256")).expect("create a layout");
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
            .expect("create a layout");
        Self { dir }
    }

    /// A copy that shares blobs with the original through hard links where it can.
    #[must_use]
    pub fn copy(&self, to: impl Into<PathBuf>) -> Self {
        let new = Self::create(to);
        for blob in fs::read_dir(self.dir.join("blobs/sha256")).expect("list blobs") {
            let blob = blob.expect("list blobs");
            let to = new.dir.join("blobs/sha256").join(blob.file_name());
            fs::hard_link(blob.path(), &to)
                .or_else(|_| fs::copy(blob.path(), &to).map(drop))
                .expect("copy a blob");
        }
        fs::copy(self.dir.join("index.json"), new.dir.join("index.json")).expect("copy index.json");
        new
    }

    /// This layout as an argument of `sociable`.
    pub fn arg(&self) -> String {
        format!("oci:{}", self.dir.display())
    }

    /// The bytes of index.json, if there is one.
    pub fn index_json(&self) -> Option<Vec<u8>> {
        fs::read(self.dir.join("index.json")).ok()
    }

    /// Where a blob is.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.dir
            .join("blobs/sha256")
            .join(digest.strip_prefix("sha256:").unwrap_or(digest))
    }

    /// A blob, if it is there and its bytes are what its name says.
    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        let bytes = fs::read(self.blob_path(digest)).ok()?;
        let found = sha256(&bytes);
        assert!(
            digest.ends_with(&found[7..]),
            "blob {digest} has the bytes of {found}"
        );
        Some(bytes)
    }

    /// A JSON document.
    pub fn json(&self, digest: &str) -> Value {
        let bytes = self
            .blob(digest)
            .unwrap_or_else(|| panic!("no blob {digest}"));
        serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("blob {digest}: {e}"))
    }

    /// Stores a blob: its descriptor.
    pub fn add(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        fs::write(self.blob_path(&digest), bytes).expect("write a blob");
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Stores a manifest of these layers and a config to match: its descriptor.
    pub fn add_manifest(&self, layers: &[Value]) -> Value {
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let config = self.add(media::CONFIG, config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": media::MANIFEST, "config": config, "layers": layers});
        let mut descriptor = self.add(media::MANIFEST, manifest.to_string().as_bytes());
        descriptor["platform"] = json!({"architecture": "amd64", "os": "linux"});
        descriptor
    }

    /// Writes index.json with these manifests.
    pub fn set_index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": manifests});
        fs::write(self.dir.join("index.json"), index.to_string()).expect("write index.json");
    }

    /// Every layer with a zTOC, from every SOCI index that can be reached from index.json.
    pub fn indexed(&self) -> Vec<Indexed> {
        let mut found = Vec::new();
        let index = self.index_json().expect("index.json");
        self.walk(
            &serde_json::from_slice(&index).expect("index.json"),
            &mut found,
        );
        found
    }

    fn walk(&self, document: &Value, found: &mut Vec<Indexed>) {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let config = document["config"]["mediaType"].as_str().unwrap_or_default();
        if config.starts_with("application/vnd.amazon.soci.index.") {
            for ztoc in document["layers"].as_array().expect("layers") {
                let notes = &ztoc["annotations"];
                if ztoc["mediaType"] == "application/octet-stream" {
                    found.push(Indexed {
                        layer: text(&notes["com.amazon.soci.image-layer-digest"]),
                        ztoc: text(&ztoc["digest"]),
                        span_size: text(&notes["com.amazon.soci.span-size"]),
                    });
                }
            }
        }
        for child in document["manifests"].as_array().into_iter().flatten() {
            self.walk(
                &self.json(child["digest"].as_str().expect("a digest")),
                found,
            );
        }
    }
}

/// A layout with one image of these layers.
pub fn image(dir: &Path, layers: &[(&str, &[u8])]) -> Layout {
    let layout = Layout::create(dir);
    let layers: Vec<_> = layers
        .iter()
        .map(|(media_type, bytes)| layout.add(media_type, bytes))
        .collect();
    layout.set_index(&[layout.add_manifest(&layers)]);
    layout
}
