//! `oci:DIR[:TAG]`: an OCI image layout as a directory (image-spec, `image-layout.md`).
//!
//! A blob is written to a `.tmp-…` file beside its place and renamed to its digest; `index.json` is replaced by a
//! rename as the last step. So a process killed at any moment leaves the layout as it was, or complete, and at worst
//! unreferenced blobs and temporary files; the next writer sweeps temporary files that are older than a day.
//! Against a power failure that is not enough, since nothing is forced to the disk: ask for
//! [`OciDirSink::durable`] where the layout is not merely on its way elsewhere.
//!
//! Two writers may work on one layout at once: blobs do not collide, and `index.json` is read, changed and replaced
//! under a lock on the file `oci-layout`, which is created once and never replaced.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::digest::Digest;
use crate::document::{Descriptor, DocumentError, Index};
use crate::error::{Error, Result};
use crate::limits;
use crate::sink::{BlobWriter, Hashing, IndexUpdate, Meter, Sink};
use crate::source::{Source, check_range};

/// Name of the file that says that a directory is a layout.
pub const LAYOUT_FILE: &str = "oci-layout";
/// Name of the file that lists the images.
pub const INDEX_FILE: &str = "index.json";
/// Name of the directory with the blobs.
pub const BLOBS_DIR: &str = "blobs";
/// Content of [`LAYOUT_FILE`].
pub const LAYOUT_CONTENT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

pub(crate) const TEMP_PREFIX: &str = ".tmp-";
const STALE: Duration = Duration::from_hours(24);

/// Checks the content of an `oci-layout` file: any version 1.x.
pub(crate) fn check_layout(place: &str, bytes: &[u8]) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Layout {
        #[serde(rename = "imageLayoutVersion")]
        version: String,
    }
    let refuse = |why: String| Error::NotALayout {
        place: place.to_owned(),
        why,
    };
    let layout: Layout = serde_json::from_slice(bytes)
        .map_err(|e| refuse(format!("its file {LAYOUT_FILE} is not valid: {e}")))?;
    if layout.version != "1" && !layout.version.starts_with("1.") {
        return Err(refuse(format!(
            "its file {LAYOUT_FILE} says imageLayoutVersion {:?}, and only 1.x is known",
            layout.version
        )));
    }
    Ok(())
}

/// A layout directory, for reading. See the [module](self).
#[derive(Debug, Clone)]
pub struct OciDir {
    root: PathBuf,
}

impl OciDir {
    /// Opens a layout. A missing `oci-layout` file is forgiven when there is an `index.json`.
    ///
    /// # Errors
    /// When there is no layout, or one of a version other than 1.x.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let dir = Self { root: root.into() };
        let refuse = |why: &str| Error::NotALayout {
            place: dir.name(),
            why: why.to_owned(),
        };
        match fs::metadata(&dir.root) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => {
                return Err(refuse(
                    "it is a file; an archive of a layout is named oci-archive:FILE",
                ));
            }
            Err(e) => return Err(Error::io("open", dir.name())(e)),
        }
        if let Some(bytes) = read_small(&dir.root.join(LAYOUT_FILE))? {
            check_layout(&dir.name(), &bytes)?;
        }
        if !dir.root.join(INDEX_FILE).is_file() {
            return Err(refuse("it has no file index.json"));
        }
        Ok(dir)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    fn open_blob(&self, descriptor: &Descriptor) -> Result<(File, u64)> {
        let path = blob_path(&self.root, &descriptor.digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoBlob {
                    place: self.name(),
                    digest: descriptor.digest,
                });
            }
            Err(e) => return Err(Error::io("open", path.display().to_string())(e)),
        };
        let size = file
            .metadata()
            .map_err(Error::io("examine", path.display().to_string()))?
            .len();
        Ok((file, size))
    }
}

pub(crate) fn blob_path(root: &Path, digest: &Digest) -> PathBuf {
    root.join(BLOBS_DIR)
        .join(digest.algorithm().name())
        .join(digest.hex())
}

fn has_blob(root: &Path, digest: &Digest) -> Result<bool> {
    let path = blob_path(root, digest);
    match fs::metadata(&path) {
        Ok(meta) => Ok(meta.is_file()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("examine", path.display().to_string())(e)),
    }
}

/// A whole small file; `None` when there is none.
fn read_small(path: &Path) -> Result<Option<Vec<u8>>> {
    let place = path.display().to_string();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("open", place)(e)),
    };
    let mut bytes = Vec::new();
    file.take(limits::MAX_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", place.clone()))?;
    limits::check(
        "bytes of a document",
        bytes.len() as u64,
        limits::MAX_DOCUMENT,
    )
    .map_err(|source| Error::Limit { place, source })?;
    Ok(Some(bytes))
}

pub(crate) fn parse_index(place: &str, bytes: &[u8]) -> Result<Index> {
    Index::parse(bytes).map_err(|source: DocumentError| Error::Document {
        document: INDEX_FILE.to_owned(),
        place: place.to_owned(),
        source,
    })
}

impl Source for OciDir {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn index(&self) -> Result<Index> {
        let bytes = read_small(&self.root.join(INDEX_FILE))?.ok_or_else(|| Error::NotALayout {
            place: self.name(),
            why: "it has no file index.json".to_owned(),
        })?;
        parse_index(&self.name(), &bytes)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.open_blob(descriptor)?.0))
    }

    fn blob_at(&self, descriptor: &Descriptor, offset: u64, len: usize) -> Result<Vec<u8>> {
        let (file, size) = self.open_blob(descriptor)?;
        check_range(&self.name(), descriptor, size, offset, len)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset)
            .map_err(Error::io("read a blob from", self.name()))?;
        Ok(bytes)
    }

    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        has_blob(&self.root, &descriptor.digest)
    }
}

/// A layout directory, for writing. See the [module](self).
#[derive(Debug)]
pub struct OciDirSink {
    root: PathBuf,
    durable: bool,
}

impl OciDirSink {
    /// Opens a layout for writing, or makes a new one. Source and destination may be the same directory.
    ///
    /// # Errors
    /// When the directory holds something that is not a layout, or cannot be written.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self> {
        let sink = Self {
            root: root.into(),
            durable: false,
        };
        if let Some(bytes) = read_small(&sink.root.join(LAYOUT_FILE))? {
            check_layout(&sink.name(), &bytes)?;
        } else if !sink.root.join(INDEX_FILE).exists() {
            sink.refuse_foreign_files()?;
        }
        let blobs = sink.root.join(BLOBS_DIR).join("sha256");
        fs::create_dir_all(&blobs).map_err(Error::io("create", blobs.display().to_string()))?;
        sweep(&sink.root);
        sweep(&blobs);
        Ok(sink)
    }

    /// Forces every blob and the index to the disk before they get their names.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A directory full of other things is not turned into a layout by mistake.
    fn refuse_foreign_files(&self) -> Result<()> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("list", self.name())(e)),
        };
        for entry in entries {
            let name = entry.map_err(Error::io("list", self.name()))?.file_name();
            // The last two: another writer may just have made them.
            let ours = [BLOBS_DIR, LAYOUT_FILE, INDEX_FILE]
                .iter()
                .any(|known| name == *known);
            if !ours && !name.as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes()) {
                return Err(Error::NotALayout {
                    place: self.name(),
                    why: format!(
                        "it holds {}; give a new or an empty directory",
                        name.display()
                    ),
                });
            }
        }
        Ok(())
    }

    fn temp_in(&self, dir: &Path) -> Result<NamedTempFile> {
        // 0666 less the umask, as other files of a layout have.
        tempfile::Builder::new()
            .prefix(TEMP_PREFIX)
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(dir)
            .map_err(Error::io(
                "create a temporary file in",
                self.root.display().to_string(),
            ))
    }

    /// Opens `oci-layout`, made if need be, and locks it until the file is closed.
    fn lock(&self) -> Result<File> {
        let path = self.root.join(LAYOUT_FILE);
        let place = path.display().to_string();
        if !path.exists() {
            let mut temp = self.temp_in(&self.root)?;
            temp.write_all(LAYOUT_CONTENT.as_bytes())
                .map_err(Error::io("write", place.clone()))?;
            if let Err(e) = temp.persist_noclobber(&path)
                && e.error.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(Error::io("create", place)(e.error));
            }
        }
        // Network file systems lock only what is open for writing; a read-only file is locked as well as it can be.
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .or_else(|_| File::open(&path))
            .map_err(Error::io("open", place.clone()))?;
        file.lock().map_err(Error::io("lock", place))?;
        Ok(file)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        if self.durable {
            File::open(dir)
                .and_then(|d| d.sync_all())
                .map_err(Error::io("force to disk", dir.display().to_string()))?;
        }
        Ok(())
    }
}

/// Removes what writers that were killed left behind. Never fails: it is only tidying.
fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let stale = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(TEMP_PREFIX.as_bytes())
            && entry.metadata().and_then(|m| m.modified()).is_ok_and(|t| {
                SystemTime::now()
                    .duration_since(t)
                    .is_ok_and(|age| age > STALE)
            });
        if stale {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Sink for OciDirSink {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn has(&self, digest: &Digest) -> Result<bool> {
        has_blob(&self.root, digest)
    }

    fn holds(&self, descriptor: &Descriptor) -> Result<bool> {
        let path = blob_path(&self.root, &descriptor.digest);
        match fs::metadata(&path) {
            Ok(meta) => Ok(meta.is_file() && meta.len() == descriptor.size),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("examine", path.display().to_string())(e)),
        }
    }

    fn begin_with(
        &self,
        known: Option<(&Digest, u64)>,
        hashing: Hashing,
    ) -> Result<Box<dyn BlobWriter + '_>> {
        Ok(Box::new(DirWriter {
            temp: self.temp_in(&self.root.join(BLOBS_DIR).join("sha256"))?,
            meter: Meter::new(known, hashing),
            root: self.root.clone(),
            durable: self.durable,
        }))
    }

    fn finish(self: Box<Self>, update: &IndexUpdate) -> Result<Descriptor> {
        for entry in update.entries() {
            if !self.has(&entry.digest)? {
                return Err(Error::NoBlob {
                    place: self.name(),
                    digest: entry.digest,
                });
            }
        }
        let lock = self.lock()?;
        let path = self.root.join(INDEX_FILE);
        let place = path.display().to_string();
        let old = read_small(&path)?
            .map(|bytes| parse_index(&self.name(), &bytes))
            .transpose()?;
        let new = update.apply(old).map_err(|source| Error::Limit {
            place: self.name(),
            source,
        })?;
        let mut temp = self.temp_in(&self.root)?;
        temp.write_all(&new.to_bytes())
            .map_err(Error::io("write", place.clone()))?;
        if self.durable {
            self.sync_dir(&self.root.join(BLOBS_DIR).join("sha256"))?;
            temp.as_file()
                .sync_all()
                .map_err(Error::io("force to disk", place.clone()))?;
        }
        temp.persist(&path)
            .map_err(|e| Error::io("replace", place)(e.error))?;
        self.sync_dir(&self.root)?;
        drop(lock);
        Ok(update.image().clone())
    }
}

struct DirWriter {
    temp: NamedTempFile,
    meter: Meter,
    root: PathBuf,
    durable: bool,
}

impl DirWriter {
    fn complete(
        self,
        expected: Option<&Digest>,
        trusted: Option<(&Digest, u64)>,
    ) -> Result<(Digest, u64)> {
        let (digest, size) =
            self.meter
                .finish(&self.root.display().to_string(), expected, trusted)?;
        let path = blob_path(&self.root, &digest);
        let place = path.display().to_string();
        if self.durable {
            self.temp
                .as_file()
                .sync_all()
                .map_err(Error::io("force to disk", place.clone()))?;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .map_err(Error::io("create", parent.display().to_string()))?;
        }
        // Over an existing blob too: the same bytes, or a damaged file healed.
        self.temp
            .persist(&path)
            .map_err(|e| Error::io("create", place)(e.error))?;
        Ok((digest, size))
    }
}

impl Write for DirWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.meter.admit(bytes.len())?;
        let n = self.temp.as_file_mut().write(bytes)?;
        self.meter.wrote(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for DirWriter {
    fn commit(self: Box<Self>, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        self.complete(expected, None)
    }

    fn commit_trusted(self: Box<Self>, digest: &Digest, size: u64) -> Result<()> {
        self.complete(None, Some((digest, size))).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;
    use crate::media_type;
    use crate::source::{Selection, select};

    fn files(dir: &Path) -> Vec<String> {
        let mut names = Vec::new();
        let mut dirs = vec![dir.to_owned()];
        while let Some(next) = dirs.pop() {
            for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(entry.path());
                } else {
                    names.push(
                        entry
                            .path()
                            .strip_prefix(dir)
                            .unwrap()
                            .display()
                            .to_string(),
                    );
                }
            }
        }
        names.sort();
        names
    }

    fn write_image(dir: &Path, content: &[u8], tag: Option<&str>) -> Descriptor {
        let sink = OciDirSink::create(dir).unwrap();
        let digest = sink.put(content).unwrap();
        let image = Descriptor::new(media_type::OCI_MANIFEST, digest, content.len() as u64);
        Box::new(sink)
            .finish(&IndexUpdate::new(image.clone()).tagged(tag))
            .unwrap();
        image
    }

    #[test]
    fn round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("new/layout");
        let image = write_image(&root, b"hello", None);
        assert_eq!(
            fs::read_to_string(root.join(LAYOUT_FILE)).unwrap(),
            LAYOUT_CONTENT
        );
        let source = OciDir::open(&root).unwrap();
        assert_eq!(
            select(&source.index().unwrap(), None).unwrap(),
            Selection::One(Box::new(image.clone()))
        );
        assert_eq!(source.document(&image).unwrap(), b"hello");
        assert_eq!(source.blob_at(&image, 1, 3).unwrap(), b"ell");
        assert!(source.has(&image).unwrap() && !source.has(&Descriptor::of("", b"")).unwrap());
        assert!(matches!(
            source.blob_at(&image, 3, 3),
            Err(Error::OutOfRange { .. })
        ));
        assert!(matches!(
            source.blob_at(&image, u64::MAX, 3),
            Err(Error::OutOfRange { .. })
        ));
        assert_eq!(
            files(&root),
            [
                format!("blobs/sha256/{}", image.digest.hex()),
                INDEX_FILE.into(),
                LAYOUT_FILE.into()
            ]
        );
        let mode = fs::metadata(blob_path(&root, &image.digest))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o444, 0o444, "{mode:o}");
    }

    #[test]
    fn tags_are_kept_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        write_image(dir.path(), b"one", Some("a"));
        let two = write_image(dir.path(), b"two", Some("b"));
        let three = write_image(dir.path(), b"three", Some("a"));
        let index = OciDir::open(dir.path()).unwrap().index().unwrap();
        let tags: Vec<_> = index
            .manifests
            .iter()
            .map(|d| (d.tag().unwrap(), d.digest))
            .collect();
        assert_eq!(tags, [("a", three.digest), ("b", two.digest)]);
    }

    #[test]
    fn damaged_blobs_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let image = write_image(dir.path(), b"hello", None);
        let source = OciDir::open(dir.path()).unwrap();
        for (content, word) in [
            (&b"hallo"[..], "expected sha256:"),
            (b"hell", "ends after 4"),
            (b"hello!", "at least 6"),
        ] {
            fs::write(blob_path(dir.path(), &image.digest), content).unwrap();
            let error = source.document(&image).unwrap_err();
            assert!(matches!(error, Error::Verify { .. }), "{error:?}");
            assert!(chain(&error).contains(word), "{}", chain(&error));
        }
        let other = tempfile::tempdir().unwrap();
        let sink = OciDirSink::create(other.path()).unwrap();
        assert!(sink.import_from(&source, &image).is_err());
        assert_eq!(files(other.path()), [] as [&str; 0]);
        // From itself it cannot be had again; written again it is healed.
        let same = OciDirSink::create(dir.path()).unwrap();
        let error = same.import_from(&source, &image).unwrap_err();
        assert!(matches!(error, Error::Verify { .. }), "{error:?}");
        let sink = OciDirSink::create(dir.path()).unwrap();
        let mut writer = sink.begin(None).unwrap();
        writer.write_all(b"hello").unwrap();
        writer.commit(Some(&image.digest)).unwrap();
        assert_eq!(source.document(&image).unwrap(), b"hello");
    }

    #[test]
    fn import_copies_once() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let image = write_image(from.path(), b"hello", None);
        let source = OciDir::open(from.path()).unwrap();
        let sink = OciDirSink::create(to.path()).unwrap();
        assert!(sink.import_from(&source, &image).unwrap());
        assert!(!sink.import_from(&source, &image).unwrap());
        // A blob of another size is not the one, whatever its name.
        fs::write(blob_path(to.path(), &image.digest), b"hell").unwrap();
        assert!(sink.import_from(&source, &image).unwrap());
    }

    #[test]
    fn nothing_is_left_of_what_was_not_committed() {
        let dir = tempfile::tempdir().unwrap();
        let sink = OciDirSink::create(dir.path()).unwrap();
        let hello = Digest::sha256_of(b"hello");
        let mut writer = sink.begin(None).unwrap();
        writer.write_all(b"hello").unwrap();
        drop(writer);
        let mut writer = sink.begin(None).unwrap();
        writer.write_all(b"hallo").unwrap();
        assert!(writer.commit(Some(&hello)).is_err());
        let mut writer = sink.begin(Some((&hello, 5))).unwrap();
        let error = Error::io("write", "x")(writer.write_all(b"hello!").unwrap_err());
        assert!(matches!(error, Error::Verify { .. }));
        drop(writer);
        let missing = Descriptor::new(media_type::OCI_MANIFEST, hello, 5);
        assert!(matches!(
            Box::new(sink).finish(&IndexUpdate::new(missing)),
            Err(Error::NoBlob { .. })
        ));
        assert_eq!(files(dir.path()), [] as [&str; 0]);
        assert!(OciDir::open(dir.path()).is_err());
    }

    #[test]
    fn sha512_blobs_have_their_directory() {
        let dir = tempfile::tempdir().unwrap();
        let sink = OciDirSink::create(dir.path()).unwrap();
        let mut hasher = crate::digest::Hasher::new(crate::digest::Algorithm::Sha512);
        hasher.update(b"hello");
        let digest = hasher.finish();
        let mut writer = sink.begin(Some((&digest, 5))).unwrap();
        writer.write_all(b"hello").unwrap();
        writer.commit(Some(&digest)).unwrap();
        assert_eq!(
            files(dir.path()),
            [format!("blobs/sha512/{}", digest.hex())]
        );
    }

    #[test]
    fn concurrent_writers_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for i in 0..16 {
                let path = dir.path().join("layout");
                scope.spawn(move || {
                    write_image(
                        &path,
                        format!("image {i}").as_bytes(),
                        Some(&format!("t{i}")),
                    );
                });
            }
        });
        let index = OciDir::open(dir.path().join("layout"))
            .unwrap()
            .index()
            .unwrap();
        assert_eq!(index.manifests.len(), 16);
        assert_eq!(files(dir.path()).len(), 18);
    }

    #[test]
    fn stale_temporary_files_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        write_image(dir.path(), b"x", None);
        let (old, young) = (
            dir.path().join("blobs/sha256/.tmp-old"),
            dir.path().join("blobs/sha256/.tmp-young"),
        );
        fs::write(&young, "").unwrap();
        File::create(&old)
            .unwrap()
            .set_modified(SystemTime::now() - STALE * 2)
            .unwrap();
        OciDirSink::create(dir.path()).unwrap();
        assert!(young.exists() && !old.exists());
    }

    #[test]
    fn what_is_no_layout_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(chain(&OciDir::open(dir.path()).unwrap_err()).contains("no file index.json"));
        assert!(
            chain(&OciDir::open(dir.path().join("none")).unwrap_err()).contains("No such file")
        );
        fs::write(dir.path().join("precious"), "").unwrap();
        let error = chain(&OciDirSink::create(dir.path()).unwrap_err());
        assert!(error.contains("it holds precious"), "{error}");
        assert!(
            chain(&OciDir::open(dir.path().join("precious")).unwrap_err())
                .contains("oci-archive:FILE")
        );
        fs::write(
            dir.path().join(INDEX_FILE),
            r#"{"schemaVersion":2,"manifests":[]}"#,
        )
        .unwrap();
        OciDir::open(dir.path()).expect("a missing oci-layout is forgiven");
        fs::write(
            dir.path().join(LAYOUT_FILE),
            r#"{"imageLayoutVersion":"2.0.0"}"#,
        )
        .unwrap();
        assert!(chain(&OciDir::open(dir.path()).unwrap_err()).contains("2.0.0"));
        fs::write(dir.path().join(LAYOUT_FILE), "nonsense").unwrap();
        assert!(chain(&OciDir::open(dir.path()).unwrap_err()).contains("not valid"));
    }

    #[test]
    fn a_damaged_index_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        write_image(dir.path(), b"x", Some("a"));
        fs::write(dir.path().join(INDEX_FILE), "{").unwrap();
        let sink = OciDirSink::create(dir.path()).unwrap().durable(true);
        let digest = sink.put(b"y").unwrap();
        let image = Descriptor::new(media_type::OCI_MANIFEST, digest, 1);
        assert!(Box::new(sink).finish(&IndexUpdate::new(image)).is_err());
        assert_eq!(fs::read(dir.path().join(INDEX_FILE)).unwrap(), b"{");
    }
}
