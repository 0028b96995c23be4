//! `manifest.json`: what a Docker archive holds.
//!
//! The format is that of `docker save` (moby, `image/spec/spec.md` of Docker 1.10 and later, "Combined Image JSON +
//! Filesystem Changeset Format"): a list of images, each with the name of its configuration file, its tags, and the
//! names of its layers, lowest first. Layers are plain tars, and the configuration's `diff_ids` are their digests;
//! some other tools write gzip layers, named `DIGEST.tar.gz` after the compressed bytes (go-containerregistry,
//! `pkg/v1/tarball`). There is no image manifest: [`ArchiveImage::manifest`] makes one.

use serde::Deserialize;

use crate::digest::Digest;
use crate::document::{Config, Descriptor, Manifest, null_default};
use crate::error::{Error, Result};
use crate::limits;
use crate::media_type;

/// Name of the file.
pub const MANIFEST_FILE: &str = "manifest.json";

/// One image of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ArchiveImage {
    /// Name of its configuration file.
    pub config: String,
    /// Its tags, such as `app:latest`.
    #[serde(default, deserialize_with = "null_default")]
    pub repo_tags: Vec<String>,
    /// Names of its layers, lowest first.
    #[serde(default, deserialize_with = "null_default")]
    pub layers: Vec<String>,
}

impl ArchiveImage {
    /// The images that a `manifest.json` lists.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn parse(place: &str, bytes: &[u8]) -> Result<Vec<Self>> {
        let images: Vec<Self> =
            serde_json::from_slice(bytes).map_err(|error| Error::NotADockerArchive {
                place: place.to_owned(),
                why: format!("its {MANIFEST_FILE} is not valid: {error}"),
            })?;
        for image in &images {
            limits::check(
                "layers of an image",
                image.layers.len() as u64,
                limits::MAX_LAYERS as u64,
            )
            .map_err(|source| Error::Limit {
                place: place.to_owned(),
                source,
            })?;
        }
        Ok(images)
    }

    /// The image that `reference` means, or the only one: see [`pick`].
    ///
    /// # Errors
    /// As [`pick`].
    pub fn choose<'a>(
        place: &str,
        images: &'a [Self],
        reference: Option<&str>,
    ) -> Result<&'a Self> {
        let names: Vec<_> = images.iter().map(|image| image.repo_tags.clone()).collect();
        Ok(&images[pick(place, &names, reference)?])
    }

    /// Makes the image manifest that an archive lacks. `layer` gives the descriptor of a layer from its name and its
    /// diff ID.
    ///
    /// # Errors
    /// When `config` is no configuration of this image, and what `layer` fails with.
    pub fn manifest(
        &self,
        place: &str,
        config: &[u8],
        mut layer: impl FnMut(&str, Digest) -> Result<Descriptor>,
    ) -> Result<Manifest> {
        let parsed = Config::parse(config).map_err(|source| Error::Document {
            document: self.config.clone(),
            place: place.to_owned(),
            source,
        })?;
        let diff_ids = parsed.rootfs.diff_ids;
        if diff_ids.len() != self.layers.len() {
            return Err(Error::NotADockerArchive {
                place: place.to_owned(),
                why: format!(
                    "{} describes {} layers, but {MANIFEST_FILE} lists {}",
                    self.config,
                    diff_ids.len(),
                    self.layers.len()
                ),
            });
        }
        let layers = self
            .layers
            .iter()
            .zip(diff_ids)
            .map(|(name, diff_id)| layer(name, diff_id))
            .collect::<Result<_>>()?;
        let config = Descriptor::of(media_type::OCI_CONFIG, config);
        Ok(Manifest::new(config, layers))
    }
}

/// The digest by which go-containerregistry names a gzip layer: that of the compressed bytes.
#[must_use]
pub fn named_digest(name: &str) -> Option<Digest> {
    let file = name.rsplit('/').next()?;
    let hex = file.strip_suffix(".tar.gz")?;
    format!("sha256:{hex}").parse().ok()
}

/// Which of several images `reference` means, given their names: one by any of its names, however much of it is
/// spelled out (`app` is `docker.io/library/app:latest`); by its place as `@0`, `@1`, … (as skopeo has it); without a
/// reference the only one.
///
/// # Errors
/// [`Error::WhichImage`], which lists the names.
pub fn pick(place: &str, images: &[Vec<String>], reference: Option<&str>) -> Result<usize> {
    let found = match reference {
        None => (images.len() == 1).then_some(0),
        Some(reference) => {
            if let Some(number) = reference.strip_prefix('@') {
                let number = number.parse().ok();
                number.filter(|&number: &usize| number < images.len())
            } else {
                let wanted = spelled_out(reference);
                let named = |names: &Vec<String>| names.iter().any(|n| spelled_out(n) == wanted);
                images.iter().position(named)
            }
        }
    };
    if images.is_empty() {
        return Err(Error::NotADockerArchive {
            place: place.to_owned(),
            why: "it holds no image".to_owned(),
        });
    }
    found.ok_or_else(|| Error::WhichImage {
        place: place.to_owned(),
        wanted: reference.map(str::to_owned),
        images: images
            .iter()
            .enumerate()
            .flat_map(|(number, names)| match &names[..] {
                [] => vec![format!("@{number} (without a name)")],
                names => names.to_vec(),
            })
            .collect(),
    })
}

/// A reference with everything that Docker lets one leave out (distribution/reference, `normalize.go`).
#[must_use]
pub fn spelled_out(reference: &str) -> String {
    let (domain, path) = match reference.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => ("docker.io", reference),
    };
    let domain = if domain == "index.docker.io" {
        "docker.io"
    } else {
        domain
    };
    let library = if domain == "docker.io" && !path.contains('/') {
        "library/"
    } else {
        ""
    };
    let last = path.rsplit('/').next().unwrap_or(path);
    let tag = if last.contains([':', '@']) {
        ""
    } else {
        ":latest"
    };
    format!("{domain}/{library}{path}{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_spelled_out() {
        for (short, long) in [
            ("app", "docker.io/library/app:latest"),
            ("app:1", "docker.io/library/app:1"),
            ("team/app", "docker.io/team/app:latest"),
            ("docker.io/app:1", "docker.io/library/app:1"),
            (
                "index.docker.io/library/app",
                "docker.io/library/app:latest",
            ),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("example.com/a/b:c", "example.com/a/b:c"),
            ("app@sha256:00", "docker.io/library/app@sha256:00"),
        ] {
            assert_eq!(spelled_out(short), long);
            assert_eq!(spelled_out(long), long);
        }
    }

    #[test]
    fn one_of_several() {
        let tags = |tags: &[&str]| tags.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let images = [
            tags(&["docker.io/library/a:latest", "b:1"]),
            tags(&[]),
            tags(&["c:2"]),
        ];
        let pick = |reference| pick("x.tar", &images, reference);
        assert_eq!(pick(Some("a")).unwrap(), 0);
        assert_eq!(pick(Some("docker.io/library/b:1")).unwrap(), 0);
        assert_eq!(pick(Some("c:2")).unwrap(), 2);
        assert_eq!(pick(Some("@1")).unwrap(), 1);
        for wrong in [None, Some("b"), Some("c"), Some("@3"), Some("@x")] {
            let error = pick(wrong).unwrap_err().to_string();
            assert!(
                error.ends_with("holds docker.io/library/a:latest, b:1, @1 (without a name), c:2"),
                "{error}"
            );
        }
        assert_eq!(super::pick("x", &images[2..], None).unwrap(), 0);
        assert!(super::pick("x", &[], None).is_err());
    }

    #[test]
    fn a_manifest_is_made() {
        let digest = Digest::sha256_of(b"layer");
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#
        );
        let bytes =
            br#"[{"Config":"c.json","RepoTags":null,"Layers":["l/layer.tar"],"Parent":"x"}]"#;
        let images = ArchiveImage::parse("x", bytes).unwrap();
        let image = ArchiveImage::choose("x", &images, None).unwrap();
        let manifest = image
            .manifest("x", config.as_bytes(), |name, diff_id| {
                assert_eq!(name, "l/layer.tar");
                Ok(Descriptor::new(media_type::OCI_LAYER, diff_id, 5))
            })
            .unwrap();
        assert_eq!(manifest.layers[0].digest, digest);
        assert_eq!(manifest.config.digest, Digest::sha256_of(config.as_bytes()));
        let none = |_: &str, _| unreachable!();
        let error = image.manifest("x", b"{}", none).unwrap_err().to_string();
        assert!(error.contains("describes 0 layers"), "{error}");
        assert!(ArchiveImage::parse("x", b"{}").is_err());
    }

    #[test]
    fn digests_in_names() {
        let digest = Digest::sha256_of(b"x");
        assert_eq!(
            named_digest(&format!("a/{}.tar.gz", digest.hex())),
            Some(digest)
        );
        assert_eq!(named_digest(&format!("{}.tar", digest.hex())), None);
        assert_eq!(named_digest("layer.tar.gz"), None);
    }
}
