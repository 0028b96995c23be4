//! `docker-archive:FILE[:REFERENCE]`: what `docker save`, `podman save` and `skopeo copy … docker-archive:` write.
//!
//! | written by | in the tar |
//! |---|---|
//! | Docker before 25 | `manifest.json`, configurations, `ID/layer.tar`; a layer that is there twice is a symbolic link |
//! | podman, skopeo, buildah | `manifest.json`, configurations, `DIGEST.tar`; links `ID/layer.tar` for old readers |
//! | go-containerregistry | `manifest.json`, configurations, `DIGEST.tar.gz` |
//! | Docker 25 and later | an image layout with plain tars as layers, and `manifest.json` |
//! | … with containerd's image store, and buildx | an image layout with the layers as they were pulled, and `manifest.json` |
//!
//! Where there is an image layout, it is read as one: it knows manifests and platforms. Otherwise an image manifest is
//! made of what `manifest.json` says (see [`docker_manifest`](crate::docker_manifest)). `repositories` and the `json`
//! and `VERSION` files are for readers older than Docker 1.10, and are left alone.
//!
//! An archive is only read: without an image index it could hold no SOCI index. Its layers, where they are plain tars,
//! can be read as such; whoever makes an image to be pushed packs them first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::digest::{Algorithm, Digest, Hasher};
use crate::docker_manifest::{ArchiveImage, MANIFEST_FILE, named_digest, pick};
use crate::document::{Descriptor, Index};
use crate::error::{Error, Result};
use crate::media_type;
use crate::oci_dir::{check_layout, parse_index};
use crate::section::Section;
use crate::source::{Source, check_range};
use crate::tar_read::{Role, TarReader};

/// Annotation by which containerd and Docker name the image of an `index.json` (containerd, `core/images/annotations.go`).
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// Most links from one name to another: an archive needs one.
const MAX_LINKS: usize = 8;

/// One image of an archive. See the [module](self).
#[derive(Debug)]
pub struct DockerArchive {
    name: String,
    file: Arc<File>,
    /// Offset and size of each blob.
    blobs: BTreeMap<Digest, (u64, u64)>,
    /// The manifest, where one had to be made.
    made: BTreeMap<Digest, Vec<u8>>,
    index: Index,
}

/// What the headers of an archive say.
#[derive(Default)]
struct Listing {
    files: BTreeMap<String, (u64, u64)>,
    links: BTreeMap<String, String>,
    blobs: BTreeMap<Digest, (u64, u64)>,
    index: Option<Vec<u8>>,
    manifest: Option<Vec<u8>>,
}

impl DockerArchive {
    /// Opens an archive and reads all of its tar headers. `reference` says which image is meant: see [`pick`].
    ///
    /// # Errors
    /// When it cannot be read, is damaged or compressed, is none of Docker's, or does not hold this image.
    pub fn open(path: impl AsRef<Path>, reference: Option<&str>) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let file = File::open(&path).map_err(Error::io("open", name.clone()))?;
        let meta = file
            .metadata()
            .map_err(Error::io("examine", name.clone()))?;
        if !meta.is_file() {
            return Err(Error::NotADockerArchive {
                place: name,
                why: "it is not a regular file; an archive on standard input is named -".to_owned(),
            });
        }
        Self::new(file, name, reference)
    }

    /// As [`DockerArchive::open`], of a stream that is kept in an unlinked temporary file.
    ///
    /// # Errors
    /// As there, and when there is no room.
    pub fn spool(mut stream: impl Read, name: &str, reference: Option<&str>) -> Result<Self> {
        let mut file =
            tempfile::tempfile().map_err(Error::io("create a temporary file for", name))?;
        crate::sink::copy(&mut stream, &mut file, name, "a temporary file")?;
        file.flush()
            .map_err(Error::io("write to a temporary file for", name))?;
        Self::new(file, name.to_owned(), reference)
    }

    fn new(file: File, name: String, reference: Option<&str>) -> Result<Self> {
        let file = Arc::new(file);
        let listing = Listing::read(&file, &name)?;
        let mut this = Self {
            name,
            file,
            blobs: listing.blobs,
            made: BTreeMap::new(),
            index: Index::new(Vec::new()),
        };
        match (listing.index, listing.manifest) {
            (Some(index), _) => {
                let index = parse_index(&this.name, &index)?;
                this.index = Index::new(vec![choose(&this.name, &index, reference)?]);
            }
            (None, Some(manifest)) => {
                let images = ArchiveImage::parse(&this.name, &manifest)?;
                let image = ArchiveImage::choose(&this.name, &images, reference)?;
                let descriptor = this.make_manifest(image, &listing.files, &listing.links)?;
                this.index = Index::new(vec![descriptor]);
            }
            (None, None) => {
                return Err(Error::NotADockerArchive {
                    place: this.name,
                    why: format!("it has neither a file {MANIFEST_FILE} nor an image layout"),
                });
            }
        }
        Ok(this)
    }

    fn make_manifest(
        &mut self,
        image: &ArchiveImage,
        files: &BTreeMap<String, (u64, u64)>,
        links: &BTreeMap<String, String>,
    ) -> Result<Descriptor> {
        let place = self.name.clone();
        let find = |name: &str| find(&place, name, files, links);
        let (offset, size) = find(&image.config)?;
        crate::limits::check("bytes of a document", size, crate::limits::MAX_DOCUMENT).map_err(
            |source| Error::Limit {
                place: place.clone(),
                source,
            },
        )?;
        let mut config = vec![0; usize::try_from(size).unwrap_or(0)];
        self.file
            .read_exact_at(&mut config, offset)
            .map_err(Error::io("read", place.clone()))?;
        let file = Arc::clone(&self.file);
        let blobs = &mut self.blobs;
        let manifest = image.manifest(&place, &config, |name, diff_id| {
            let (offset, size) = find(name)?;
            let mut head = [0; 2];
            let gzip = size > 2
                && file
                    .read_exact_at(&mut head, offset)
                    .map(|()| head == [0x1f, 0x8b])
                    .map_err(Error::io("read", place.clone()))?;
            let layer = if gzip {
                let digest = match named_digest(name) {
                    Some(digest) => digest,
                    None => hash(Section::new(&file, offset, size))
                        .map_err(Error::io("read", place.clone()))?,
                };
                Descriptor::new(media_type::OCI_LAYER_GZIP, digest, size)
            } else {
                Descriptor::new(media_type::OCI_LAYER, diff_id, size)
            };
            blobs.insert(layer.digest, (offset, size));
            Ok(layer)
        })?;
        blobs.insert(manifest.config.digest, (offset, size));
        let bytes = manifest.to_bytes();
        let descriptor = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
        self.made.insert(descriptor.digest, bytes);
        Ok(descriptor)
    }

    fn no_blob(&self, digest: &Digest) -> Error {
        Error::NoBlob {
            place: self.name.clone(),
            digest: *digest,
        }
    }
}

impl Listing {
    fn read(file: &Arc<File>, place: &str) -> Result<Self> {
        let size = file.metadata().map_err(Error::io("examine", place))?.len();
        let mut tar = TarReader::new(Section::new(file, 0, size), place.to_owned());
        let mut this = Self::default();
        while let Some(entry) = tar.next_entry()? {
            match entry.role {
                Role::Blob(digest) => {
                    this.blobs.insert(digest, (entry.offset, entry.size));
                }
                Role::Index => this.index = Some(tar.document()?),
                Role::Layout => check_layout(place, &tar.document()?)?,
                Role::File => {
                    if entry.name == MANIFEST_FILE {
                        this.manifest = Some(tar.document()?);
                    }
                    this.files.insert(entry.name, (entry.offset, entry.size));
                }
                Role::Link(target) => {
                    this.links.insert(entry.name, target);
                }
                Role::Other => {}
            }
        }
        Ok(this)
    }
}

/// Follows links to a file.
fn find(
    place: &str,
    name: &str,
    files: &BTreeMap<String, (u64, u64)>,
    links: &BTreeMap<String, String>,
) -> Result<(u64, u64)> {
    let mut at = name;
    for _ in 0..MAX_LINKS {
        if let Some(found) = files.get(at) {
            return Ok(*found);
        }
        let Some(target) = links.get(at) else { break };
        at = target;
    }
    Err(Error::NotADockerArchive {
        place: place.to_owned(),
        why: format!("{MANIFEST_FILE} lists {name}, which is not there"),
    })
}

fn hash(mut section: impl Read) -> io::Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 1 << 17];
    loop {
        match section.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The entry of an `index.json` that is meant. One image with several names is listed once for each.
fn choose(place: &str, index: &Index, reference: Option<&str>) -> Result<Descriptor> {
    let mut images: Vec<(Descriptor, Vec<String>)> = Vec::new();
    for entry in &index.manifests {
        if !entry.artifact_type.is_empty() {
            continue;
        }
        let name = entry.annotations.get(IMAGE_NAME).map(String::as_str);
        let name = name.or_else(|| entry.tag()).map(str::to_owned);
        match images.iter_mut().find(|(d, _)| d.digest == entry.digest) {
            Some((_, names)) => names.extend(name),
            None => images.push((entry.clone(), name.into_iter().collect())),
        }
    }
    let names: Vec<_> = images.iter().map(|(_, names)| names.clone()).collect();
    Ok(images.swap_remove(pick(place, &names, reference)?).0)
}

impl Source for DockerArchive {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn index(&self) -> Result<Index> {
        Ok(self.index.clone())
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        if let Some(bytes) = self.made.get(&descriptor.digest) {
            return Ok(Box::new(io::Cursor::new(bytes.clone())));
        }
        let (offset, size) = *self
            .blobs
            .get(&descriptor.digest)
            .ok_or_else(|| self.no_blob(&descriptor.digest))?;
        Ok(Box::new(Section::new(&self.file, offset, size)))
    }

    fn blob_at(&self, descriptor: &Descriptor, offset: u64, len: usize) -> Result<Vec<u8>> {
        let made = self.made.get(&descriptor.digest);
        let (start, size) = match made {
            Some(bytes) => (0, bytes.len() as u64),
            None => *self
                .blobs
                .get(&descriptor.digest)
                .ok_or_else(|| self.no_blob(&descriptor.digest))?,
        };
        check_range(&self.name, descriptor, size, offset, len)?;
        if let Some(bytes) = made {
            let start = usize::try_from(offset).unwrap_or(0);
            return Ok(bytes[start..start + len].to_vec());
        }
        let mut bytes = vec![0; len];
        self.file
            .read_exact_at(&mut bytes, start + offset)
            .map_err(Error::io("read a blob from", self.name.clone()))?;
        Ok(bytes)
    }

    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.made.contains_key(&descriptor.digest)
            || self.blobs.contains_key(&descriptor.digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;
    use crate::source::verified;

    enum Item<'a> {
        File(&'a str, &'a [u8]),
        Link(&'a str, &'a str),
    }
    use Item::{File as F, Link as L};

    fn tar(items: &[Item<'_>]) -> tempfile::NamedTempFile {
        let mut builder = tar::Builder::new(tempfile::NamedTempFile::new().unwrap());
        for item in items {
            let mut header = tar::Header::new_ustar();
            match item {
                F(name, content) => {
                    header.set_size(content.len() as u64);
                    builder.append_data(&mut header, name, *content).unwrap();
                }
                L(name, target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    builder.append_link(&mut header, name, target).unwrap();
                }
            }
        }
        builder.into_inner().unwrap()
    }

    fn config(layers: &[&[u8]]) -> String {
        let ids: Vec<_> = layers
            .iter()
            .map(|layer| format!("\"{}\"", Digest::sha256_of(layer)))
            .collect();
        format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            ids.join(",")
        )
    }

    fn layers(source: &DockerArchive) -> Vec<(String, Vec<u8>)> {
        let entry = &source.index().unwrap().manifests[0];
        let Some(crate::Document::Manifest(manifest)) = source.parsed(entry).unwrap() else {
            panic!("a manifest")
        };
        source.document(&manifest.config).unwrap();
        let read = |layer: &Descriptor| {
            let mut bytes = Vec::new();
            verified(layer, source.blob(layer).unwrap())
                .read_to_end(&mut bytes)
                .unwrap();
            assert_eq!(source.blob_at(layer, 1, 2).unwrap(), bytes[1..3]);
            (layer.media_type.clone(), bytes)
        };
        manifest.layers.iter().map(read).collect()
    }

    #[test]
    fn an_old_docker_and_its_links() {
        let config = config(&[b"one", b"two", b"one"]);
        let manifest = br#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["x/layer.tar","y/layer.tar","z/layer.tar"]}]"#;
        let file = tar(&[
            F("x/VERSION", b"1.0"),
            F("x/layer.tar", b"one"),
            F("y/layer.tar", b"two"),
            L("z/layer.tar", "../x/layer.tar"),
            F("c.json", config.as_bytes()),
            F("manifest.json", manifest),
            F("repositories", b"{}"),
        ]);
        for reference in [None, Some("a:1"), Some("docker.io/library/a:1"), Some("@0")] {
            let source = DockerArchive::open(file.path(), reference).unwrap();
            let plain = media_type::OCI_LAYER.to_owned();
            assert_eq!(
                layers(&source),
                [b"one", b"two", b"one"].map(|b| (plain.clone(), b.to_vec()))
            );
        }
        let error = DockerArchive::open(file.path(), Some("b")).unwrap_err();
        assert!(chain(&error).ends_with("has no image \"b\"; it holds a:1"));
    }

    #[test]
    fn layers_may_be_gzip_under_any_name() {
        let blob = [&[0x1f, 0x8b][..], b"gzip"].concat();
        let config = config(&[b"a", b"b"]);
        let named = format!("{}.tar.gz", Digest::sha256_of(&blob).hex());
        let other = [&blob[..], b"!"].concat();
        let manifest = format!(r#"[{{"Config":"sha256:c","Layers":["{named}","b/layer.tar"]}}]"#);
        let file = tar(&[
            F("manifest.json", manifest.as_bytes()),
            F("sha256:c", config.as_bytes()),
            F(&named, &blob),
            F("b/layer.tar", &other),
        ]);
        let source = DockerArchive::open(file.path(), None).unwrap();
        let gzip = media_type::OCI_LAYER_GZIP.to_owned();
        assert_eq!(layers(&source), [(gzip.clone(), blob), (gzip, other)]);
    }

    #[test]
    fn a_layout_is_read_as_one() {
        let config = config(&[b"one"]);
        let config = Descriptor::of(media_type::OCI_CONFIG, config.as_bytes());
        let layer = Descriptor::of(media_type::OCI_LAYER, b"one");
        let manifest = crate::Manifest::new(config.clone(), vec![layer.clone()]).to_bytes();
        let entry = |name: &str, bytes: &[u8]| {
            let mut entry = Descriptor::of(media_type::OCI_MANIFEST, bytes);
            entry
                .annotations
                .insert(IMAGE_NAME.to_owned(), name.to_owned());
            entry
        };
        let first = entry("docker.io/library/app:latest", &manifest);
        let index = Index::new(vec![
            first.clone(),
            entry("docker.io/library/app:1", &manifest),
            entry("example.com/other:1", b"other"),
        ]);
        let blob = |d: &Descriptor| format!("blobs/sha256/{}", d.digest.hex());
        let file = tar(&[
            F(&blob(&first), &manifest),
            F(&blob(&layer), b"one"),
            F("index.json", &index.to_bytes()),
            F("manifest.json", b"[]"),
            F("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ]);
        for reference in ["app", "app:1", "docker.io/app", "@0"] {
            let source = DockerArchive::open(file.path(), Some(reference)).unwrap();
            assert_eq!(source.index().unwrap(), Index::new(vec![first.clone()]));
            assert!(source.has(&layer).unwrap());
        }
        let error = DockerArchive::open(file.path(), None).unwrap_err();
        assert!(chain(&error).ends_with(
            "it holds docker.io/library/app:latest, docker.io/library/app:1, example.com/other:1"
        ));
    }

    #[test]
    fn wrong_archives_are_refused() {
        let good = config(&[b"one"]);
        let manifest = br#"[{"Config":"c","Layers":["l"]}]"#;
        for (items, words) in [
            (vec![F("x", b"y")], "neither a file manifest.json"),
            (vec![F("manifest.json", b"[")], "is not valid"),
            (vec![F("manifest.json", b"[]")], "holds no image"),
            (
                vec![F(&"x/".repeat(600), b"")],
                "neither a file manifest.json",
            ),
            (
                vec![F("manifest.json", manifest)],
                "lists c, which is not there",
            ),
            (
                vec![F("manifest.json", manifest), F("c", good.as_bytes())],
                "lists l, which is not there",
            ),
            (
                vec![
                    F("manifest.json", manifest),
                    F("c", good.as_bytes()),
                    L("l", "m"),
                    L("m", "l"),
                ],
                "lists l, which is not there",
            ),
            (
                vec![F("manifest.json", manifest), F("c", b"{}"), F("l", b"one")],
                "describes 0 layers, but manifest.json lists 1",
            ),
        ] {
            let file = tar(&items);
            let error = chain(&DockerArchive::open(file.path(), None).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[0x1f; 600]).unwrap();
        file.write_all(b"x").unwrap();
        assert!(DockerArchive::open(file.path(), None).is_err());
        let gzip = [&[0x1f, 0x8b, 8][..], &[0; 600]].concat();
        let error = DockerArchive::spool(&gzip[..], "x", None).unwrap_err();
        assert!(chain(&error).contains("gzip -d"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        assert!(DockerArchive::open(dir.path(), None).is_err());
    }

    #[test]
    fn a_layer_that_is_not_its_diff_id_is_damaged() {
        let config = config(&[b"one"]);
        let file = tar(&[
            F("manifest.json", br#"[{"Config":"c","Layers":["l"]}]"#),
            F("c", config.as_bytes()),
            F("l", b"two"),
        ]);
        let source = DockerArchive::open(file.path(), None).unwrap();
        let entry = &source.index().unwrap().manifests[0];
        let Some(crate::Document::Manifest(manifest)) = source.parsed(entry).unwrap() else {
            panic!("a manifest")
        };
        assert!(matches!(
            source.document(&manifest.layers[0]),
            Err(Error::Verify { .. })
        ));
    }
}
