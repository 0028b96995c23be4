//! What a build made: looked at where it is.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use sociable_oci::registry::Reference;
use sociable_oci::{Access, Digest, Transport};
use sociable_soci::{Image, Platforms, Version, found};

use super::output::Place;
use crate::commands::opened;
use crate::error::CliError;

/// What `buildx` calls the digest in its metadata.
const DIGEST: &str = "containerimage.digest";

/// All that is known of a build.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Made {
    /// The image, as far as there is one.
    pub(crate) digest: Option<Digest>,
    /// The image with its indexes, wherever it went.
    pub(crate) images: Vec<Found>,
}

/// An image in one place.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    pub(crate) place: String,
    pub(crate) digest: Option<Digest>,
    pub(crate) platforms: Vec<PlatformMade>,
}

/// The image for one platform.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PlatformMade {
    platform: String,
    manifest: Digest,
    soci_index: Option<IndexMade>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct IndexMade {
    version: Version,
    digest: Digest,
}

/// The digest in a metadata file of buildx; one that is not there has none.
pub(crate) fn digest(metadata: &Path) -> Option<Digest> {
    let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).ok()?).ok()?;
    metadata.get(DIGEST)?.as_str()?.parse().ok()
}

/// Completes a metadata file of buildx with what its exporter did not know.
pub(crate) fn complete(metadata: &Path, digest: &Digest) -> Result<(), CliError> {
    let place = metadata.display();
    let bytes = std::fs::read(metadata).map_err(CliError::io("read", metadata.display()))?;
    let mut all: serde_json::Map<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|error| CliError::failed(format!("{place} is not the JSON of buildx: {error}")))?;
    all.entry(DIGEST)
        .or_insert_with(|| digest.to_string().into());
    let text = format!("{:#}\n", Value::Object(all));
    std::fs::write(metadata, text).map_err(CliError::io("write", place))
}

/// Looks at the image in one place; standard output cannot be looked at.
pub(crate) fn look(
    place: &Place,
    digest: Option<Digest>,
    access: &Access,
) -> Result<Option<Found>, CliError> {
    let (transport, name) = match place {
        Place::Registry(reference) => {
            // What was pushed, whatever the tag says by now.
            let pushed = Reference {
                digest: digest.or(reference.digest),
                ..reference.clone()
            };
            let named = if reference.tag.is_some() {
                reference
            } else {
                &pushed
            };
            let name = format!("docker://{named}");
            (Transport::Registry(pushed), name)
        }
        Place::Directory(path) => {
            let path = path.clone();
            let transport = Transport::OciDir { path, tag: None };
            let name = transport.to_string();
            (transport, name)
        }
        Place::Archive(path) => {
            let path = path.clone();
            let transport = Transport::OciArchive { path, tag: None };
            let name = transport.to_string();
            (transport, name)
        }
        Place::Stdout => return Ok(None),
    };
    let (source, _unpacked) = opened::open(&transport, access)?;
    let image = Image::open(&*source, None)?;
    let platforms = image
        .choose(&*source, &Platforms::All)?
        .iter()
        .map(|of| {
            let index = found::indexes(&*source, &image, of)?.into_iter().next();
            Ok(PlatformMade {
                platform: of.platform.to_string(),
                manifest: of.descriptor.digest,
                soci_index: index.map(|found| IndexMade {
                    version: found.index.version,
                    digest: found.descriptor.digest,
                }),
            })
        })
        .collect::<Result<_, CliError>>()?;
    Ok(Some(Found {
        place: name,
        digest: image.target.map(|target| target.digest),
        platforms,
    }))
}

impl Made {
    /// Whether an index was found anywhere.
    pub(crate) fn has_index(&self) -> bool {
        let mut platforms = self.images.iter().flat_map(|image| &image.platforms);
        platforms.any(|platform| platform.soci_index.is_some())
    }

    /// For people.
    pub(crate) fn human(&self) -> String {
        let mut out = String::new();
        let mut before = None;
        for image in &self.images {
            if before != Some(&image.platforms) {
                for platform in &image.platforms {
                    self::platform(&mut out, platform);
                }
            }
            before = Some(&image.platforms);
            let digest = image
                .digest
                .map_or_else(String::new, |digest| digest.to_string());
            let _ = writeln!(out, "image       {digest}  {}", image.place);
        }
        if let (Some(digest), true) = (self.digest, self.images.is_empty()) {
            let _ = writeln!(out, "image       {digest}");
        }
        out
    }
}

fn platform(out: &mut String, made: &PlatformMade) {
    let _ = writeln!(out, "{}", made.platform);
    let _ = writeln!(out, "  manifest  {}", made.manifest);
    let _ = match &made.soci_index {
        Some(index) => writeln!(out, "  index {}  {}", index.version, index.digest),
        None => writeln!(out, "  no SOCI index"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_and_completed() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path();
        let (one, other) = (Digest::sha256_of(b"1"), Digest::sha256_of(b"2"));
        assert_eq!(digest(path), None);
        std::fs::write(path, r#"{"buildx.build.ref":"x"}"#).expect("write a file");
        assert_eq!(digest(path), None);
        complete(path, &one).expect("complete it");
        assert_eq!(digest(path), Some(one));
        assert!(
            std::fs::read_to_string(path)
                .expect("a file")
                .contains("buildx.build.ref")
        );
        complete(path, &other).expect("leave it");
        assert_eq!(digest(path), Some(one));
    }

    #[test]
    fn equal_images_are_shown_once() {
        let (manifest, index) = (Digest::sha256_of(b"m"), Digest::sha256_of(b"i"));
        let found = |place: &str, with: bool| Found {
            place: place.to_owned(),
            digest: Some(manifest),
            platforms: vec![PlatformMade {
                platform: "linux/amd64".to_owned(),
                manifest,
                soci_index: with.then_some(IndexMade {
                    version: Version::V2,
                    digest: index,
                }),
            }],
        };
        let mut made = Made {
            digest: Some(manifest),
            images: vec![found("a", true), found("b", true)],
        };
        let shown = made.human();
        assert_eq!(shown.matches("index v2").count(), 1, "{shown}");
        assert_eq!(shown.matches("image ").count(), 2, "{shown}");
        made.images = vec![found("a", false)];
        assert!(made.human().contains("no SOCI index"));
        assert!(!made.has_index());
        made.images.clear();
        assert_eq!(made.human(), format!("image       {manifest}\n"));
    }
}
