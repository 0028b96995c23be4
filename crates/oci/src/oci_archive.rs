//! `oci-archive:FILE[:TAG]`: a tar of an OCI layout, as a file.
//!
//! Reading scans the tar headers once and then has random access. Writing makes a new file beside the target and
//! renames it at the end; an existing archive is replaced as a whole, with all its tags, as skopeo does.
//! Archive and source may be the same file. A killed process leaves a file `.tmp-…` beside the target and the target as
//! it was; unlike in a layout directory nobody sweeps it, since the directory around an archive is not ours.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;

use crate::digest::Digest;
use crate::document::{Descriptor, Index};
use crate::error::{Error, Result};
use crate::oci_dir::{TEMP_PREFIX, check_layout, parse_index};
use crate::section::Section;
use crate::sink::{BlobWriter, Hashing, IndexUpdate, Sink};
use crate::source::{Source, check_range};
use crate::tar_read::{Role, TarReader};
use crate::tar_write::{Output, TarSink};

/// An archive, for reading. See the [module](self).
#[derive(Debug)]
pub struct OciArchive {
    path: PathBuf,
    file: Arc<File>,
    /// Offset and size of each blob.
    blobs: BTreeMap<Digest, (u64, u64)>,
    index: Vec<u8>,
}

impl OciArchive {
    /// Opens an archive and reads all of its tar headers.
    ///
    /// # Errors
    /// When it cannot be read, is damaged or compressed, or holds no layout.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let place = path.display().to_string();
        let refuse = |why: &str| Error::NotALayout {
            place: place.clone(),
            why: why.to_owned(),
        };
        let file = File::open(&path).map_err(Error::io("open", place.clone()))?;
        let meta = file
            .metadata()
            .map_err(Error::io("examine", place.clone()))?;
        if meta.is_dir() {
            return Err(refuse(
                "it is a directory; a layout directory is named oci:DIR",
            ));
        }
        if !meta.is_file() {
            return Err(refuse(
                "it is not a regular file; a streamed archive is named - and comes on standard input",
            ));
        }
        let file = Arc::new(file);
        let section = Section::new(&file, 0, meta.len());
        let mut tar = TarReader::new(section, place.clone());
        let mut blobs = BTreeMap::new();
        let mut index = None;
        while let Some(entry) = tar.next_entry()? {
            match entry.role {
                Role::Blob(digest) => {
                    blobs.insert(digest, (entry.offset, entry.size));
                }
                Role::Index => index = Some(tar.document()?),
                Role::Layout => check_layout(&place, &tar.document()?)?,
                Role::File | Role::Link(_) | Role::Other => {}
            }
        }
        let index = index.ok_or_else(|| {
            refuse(
                "it has no file index.json; what docker save writes is named docker-archive:FILE",
            )
        })?;
        Ok(Self {
            path,
            file,
            blobs,
            index,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn locate(&self, digest: &Digest) -> Result<(u64, u64)> {
        self.blobs
            .get(digest)
            .copied()
            .ok_or_else(|| Error::NoBlob {
                place: self.name(),
                digest: *digest,
            })
    }
}

impl Source for OciArchive {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn index(&self) -> Result<Index> {
        parse_index(&self.name(), &self.index)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let (offset, size) = self.locate(&descriptor.digest)?;
        Ok(Box::new(Section::new(&self.file, offset, size)))
    }

    fn blob_at(&self, descriptor: &Descriptor, offset: u64, len: usize) -> Result<Vec<u8>> {
        let (start, size) = self.locate(&descriptor.digest)?;
        check_range(&self.name(), descriptor, size, offset, len)?;
        let mut bytes = vec![0; len];
        self.file
            .read_exact_at(&mut bytes, start + offset)
            .map_err(Error::io("read a blob from", self.name()))?;
        Ok(bytes)
    }

    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.blobs.contains_key(&descriptor.digest))
    }
}

/// An archive, for writing. See the [module](self).
///
/// Blobs whose digest and size are known at [`Sink::begin_with`] go straight into the archive; the others go through an
/// unlinked temporary file beside it.
pub struct OciArchiveSink {
    tar: TarSink<NamedTempFile>,
    path: PathBuf,
}

impl OciArchiveSink {
    /// Starts an archive that will be at `path`.
    ///
    /// # Errors
    /// When no file can be made there.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let place = path.display().to_string();
        if fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            return Err(Error::NotALayout {
                place,
                why: "it exists and is not a regular file; a streamed archive is named -"
                    .to_owned(),
            });
        }
        let beside = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let temp = tempfile::Builder::new()
            .prefix(TEMP_PREFIX)
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(&beside)
            .map_err(Error::io("create a temporary file for", place.clone()))?;
        Ok(Self {
            tar: TarSink::new(temp, place, Some(beside))?,
            path,
        })
    }

    /// The file to be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Output for NamedTempFile {
    fn rollback(&mut self, to: u64) -> io::Result<bool> {
        self.as_file().set_len(to)?;
        self.as_file_mut().seek(SeekFrom::Start(to))?;
        Ok(true)
    }
}

impl Sink for OciArchiveSink {
    fn name(&self) -> String {
        self.tar.place().to_owned()
    }

    fn has(&self, digest: &Digest) -> Result<bool> {
        Ok(self.tar.has(digest))
    }

    fn begin_with(
        &self,
        known: Option<(&Digest, u64)>,
        hashing: Hashing,
    ) -> Result<Box<dyn BlobWriter + '_>> {
        self.tar.begin(known, hashing)
    }

    fn finish(self: Box<Self>, update: &IndexUpdate) -> Result<Descriptor> {
        let temp = self.tar.finish(update)?;
        temp.persist(&self.path)
            .map_err(|e| Error::io("create", self.name())(e.error))?;
        Ok(update.image().clone())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::error::chain;
    use crate::media_type;

    fn write_image(path: &Path, blobs: &[&[u8]]) -> Vec<Descriptor> {
        let sink = OciArchiveSink::create(path).unwrap();
        let descriptors: Vec<_> = blobs
            .iter()
            .map(|b| Descriptor::of(media_type::OCI_MANIFEST, b))
            .collect();
        for blob in blobs {
            sink.put(blob).unwrap();
        }
        Box::new(sink)
            .finish(&IndexUpdate::new(descriptors[0].clone()).tagged(Some("v1")))
            .unwrap();
        descriptors
    }

    #[test]
    fn round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let big = vec![7; 100_000];
        let blobs: [&[u8]; 4] = [b"hello", b"", &[1; 512], &big];
        let descriptors = write_image(&path, &blobs);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let source = OciArchive::open(&path).unwrap();
        assert_eq!(source.index().unwrap().manifests[0].tag(), Some("v1"));
        for (blob, descriptor) in blobs.iter().zip(&descriptors) {
            assert_eq!(source.document(descriptor).unwrap(), *blob);
        }
        assert_eq!(source.blob_at(&descriptors[0], 1, 3).unwrap(), b"ell");
        assert!(matches!(
            source.blob_at(&descriptors[0], 1, 5),
            Err(Error::OutOfRange { .. })
        ));
        let missing = Descriptor::of("", b"missing");
        assert!(matches!(
            source.document(&missing),
            Err(Error::NoBlob { .. })
        ));
        // An independent reader agrees.
        let names: Vec<String> = tar::Archive::new(File::open(&path).unwrap())
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names[..3], ["oci-layout", "blobs/", "blobs/sha256/"]);
        assert_eq!(names[7], "index.json");
        assert_eq!(fs::metadata(&path).unwrap().len() % 512, 0);
    }

    #[test]
    fn an_existing_archive_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let old = write_image(&path, &[b"old"]);
        let source = OciArchive::open(&path).unwrap();
        let new = write_image(&path, &[b"new"]);
        assert_eq!(
            source.document(&old[0]).unwrap(),
            b"old",
            "the open source still reads the old file"
        );
        let source = OciArchive::open(&path).unwrap();
        assert!(source.has(&new[0]).unwrap() && !source.has(&old[0]).unwrap());
    }

    #[test]
    fn writers_in_any_order_and_dropped_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let sink = OciArchiveSink::create(&path).unwrap();
        let d = |b: &[u8]| Descriptor::of(media_type::OCI_MANIFEST, b);
        let (a, b, c) = (d(b"aaa"), d(b"bb"), d(b"c"));
        // Begun and dropped: taken back.
        let mut dropped = sink.begin(Some((&c.digest, c.size))).unwrap();
        dropped.write_all(b"c").unwrap();
        drop(dropped);
        assert!(!sink.has(&c.digest).unwrap());
        // The first streams, the others wait.
        let mut first = sink.begin(Some((&a.digest, a.size))).unwrap();
        let mut second = sink.begin(Some((&b.digest, b.size))).unwrap();
        let mut third = sink.begin(None).unwrap();
        let mut twin = sink.begin(Some((&a.digest, a.size))).unwrap();
        third.write_all(b"c").unwrap();
        first.write_all(b"a").unwrap();
        second.write_all(b"bb").unwrap();
        twin.write_all(b"aaa").unwrap();
        twin.commit(None).unwrap();
        third.commit_trusted(&c.digest, 1).unwrap();
        second.commit(None).unwrap();
        first.write_all(b"aa").unwrap();
        first.commit(Some(&a.digest)).unwrap();
        // A wrong blob is taken back, too.
        let mut wrong = sink.begin(Some((&d(b"x").digest, 1))).unwrap();
        wrong.write_all(b"y").unwrap();
        assert!(wrong.commit(None).is_err());
        Box::new(sink).finish(&IndexUpdate::new(a.clone())).unwrap();
        let source = OciArchive::open(&path).unwrap();
        assert_eq!(source.document(&a).unwrap(), b"aaa");
        assert_eq!(source.document(&b).unwrap(), b"bb");
        assert_eq!(source.document(&c).unwrap(), b"c");
        assert_eq!(source.blobs.len(), 3);
        let entries = tar::Archive::new(File::open(&path).unwrap())
            .entries()
            .unwrap()
            .count();
        assert_eq!(entries, 3 + 3 + 1, "nothing twice");
    }

    #[test]
    fn many_threads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let sink = OciArchiveSink::create(&path).unwrap();
        std::thread::scope(|scope| {
            for i in 0..8u8 {
                let sink = &sink;
                scope.spawn(move || {
                    for j in 0..16u8 {
                        sink.put(&vec![j; usize::from(i) * 100]).unwrap();
                    }
                });
            }
        });
        let image = Descriptor::of(media_type::OCI_MANIFEST, &[3; 700]);
        Box::new(sink).finish(&IndexUpdate::new(image)).unwrap();
        let source = OciArchive::open(&path).unwrap();
        assert_eq!(source.blobs.len(), 7 * 16 + 1);
        for (digest, (_, size)) in &source.blobs {
            source
                .document(&Descriptor::new("", *digest, *size))
                .unwrap();
        }
    }

    #[test]
    fn nothing_appears_without_finish() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let sink = OciArchiveSink::create(&path).unwrap();
        sink.put(b"x").unwrap();
        drop(sink);
        let sink = OciArchiveSink::create(&path).unwrap();
        let missing = Descriptor::of("", b"missing");
        assert!(matches!(
            Box::new(sink).finish(&IndexUpdate::new(missing)),
            Err(Error::NoBlob { .. })
        ));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn sha512_names_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let sink = OciArchiveSink::create(&path).unwrap();
        let mut hasher = crate::digest::Hasher::new(crate::digest::Algorithm::Sha512);
        hasher.update(b"hello");
        let image = Descriptor::new(media_type::OCI_MANIFEST, hasher.finish(), 5);
        let mut writer = sink.begin(Some((&image.digest, 5))).unwrap();
        writer.write_all(b"hello").unwrap();
        writer.commit(None).unwrap();
        Box::new(sink)
            .finish(&IndexUpdate::new(image.clone()))
            .unwrap();
        assert_eq!(
            OciArchive::open(&path).unwrap().document(&image).unwrap(),
            b"hello"
        );
    }

    #[test]
    fn damaged_archives_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let image = write_image(&path, &[&[5; 2000]]).remove(0);
        let good = fs::read(&path).unwrap();
        let open = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            OciArchive::open(&path)
        };
        // Every truncation at a block or in the middle of one.
        for len in (0..good.len() - 512).step_by(256) {
            let error = open(&good[..len]).unwrap_err();
            assert!(matches!(error, Error::Archive { .. }), "{len}: {error:?}");
        }
        let mut flipped = good.clone();
        flipped[1024] ^= 1;
        assert!(chain(&open(&flipped).unwrap_err()).contains("damaged at byte 1024: the checksum"));
        let at = good.windows(64).position(|w| w == [5; 64]).unwrap();
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        let source = open(&flipped).unwrap();
        assert!(matches!(source.document(&image), Err(Error::Verify { .. })));
        assert!(
            chain(&open(&[&[0x1f, 0x8b][..], &[0; 600]].concat()).unwrap_err()).contains("gzip")
        );
        assert!(chain(&open(&[0; 1024]).unwrap_err()).contains("no file index.json"));
        assert!(chain(&OciArchive::open(dir.path()).unwrap_err()).contains("oci:DIR"));
    }

    /// As GNU tar, bsdtar and Go may write it: `./` in front, names and sizes in PAX records.
    #[test]
    fn other_dialects_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let image = Descriptor::of(media_type::OCI_MANIFEST, b"hello");
        let index = Index::new(vec![image.clone()]).to_bytes();
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        let name = format!("./blobs/sha256/{}", image.digest.hex());
        for (name, content) in [(name.as_str(), &b"hello"[..]), ("./index.json", &index)] {
            let size = content.len().to_string();
            builder
                .append_pax_extensions([
                    ("path", name.as_bytes()),
                    ("size", size.as_bytes()),
                    ("mtime", b"1.5"),
                ])
                .unwrap();
            let mut header = tar::Header::new_ustar();
            header.set_path("short").unwrap();
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content).unwrap();
        }
        builder.finish().unwrap();
        let source = OciArchive::open(&path).unwrap();
        assert_eq!(source.index().unwrap().manifests[0], image);
        assert_eq!(source.document(&image).unwrap(), b"hello");
    }

    #[test]
    fn links_and_giants_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let name = format!("blobs/sha256/{}", Digest::sha256_of(b"x").hex());
        let open = |kind, size| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_path(&name).unwrap();
            header.set_size(size);
            header.set_cksum();
            fs::write(&path, [header.as_bytes(), &[0; 1024][..]].concat()).unwrap();
            chain(&OciArchive::open(&path).unwrap_err())
        };
        assert!(open(tar::EntryType::Symlink, 0).contains("not a regular file"));
        assert!(open(tar::EntryType::Regular, 1 << 40).contains("truncated"));
        assert!(open(tar::EntryType::Regular, u64::MAX).contains("claims"));
        assert!(open(tar::EntryType::XHeader, 2 << 20).contains("too large"));
    }
}
