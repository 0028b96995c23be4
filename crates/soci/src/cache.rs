//! zTOCs made before, kept in a directory, so that a layer indexed with the same options need not be read again.
//!
//! One file for each [`Key`], a layer's digest and a text that says how it was indexed. Its name is the SHA-256 of the
//! key, and `.ztoc`:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SOCICAC` and the version of this table, 1 |
//! | 4 | length of the header, little endian, as all numbers here |
//! | 8 | length of the zTOC |
//! | 32 | SHA-256 of the zTOC |
//! | 32 | SHA-256 of all that is before, and of the header |
//! | … | the header, JSON: the key, and what the caller wants to know without decoding ([`Header`]) |
//! | … | the zTOC |
//!
//! * **A hit is whole**: [`Cache::get`] checks every byte. A file that is damaged, cut off or in the wrong place is
//!   removed and is a miss, never an error.
//! * **Many processes** may use a directory at once, without locks: a file is written under another name and renamed,
//!   and never changed afterwards. A process killed at any moment leaves at worst a temporary file, which is swept when
//!   it is a day old. Nothing is forced to the disk; a file that a power failure cut off is damaged, so see above.
//! * **Bounded**: when the files have more bytes than the limit, those not used for the longest time are removed (a hit
//!   sets a file's modification time), by one process at a time. One that is being read stays readable until it is
//!   closed. Temporary files do not count.
//! * **Never in the way**: errors of this module are for a log line, the work goes on without the cache.
//!
//! Whoever can write to the directory decides what is in an index, so it is made accessible to its owner only.
//! Other files in the directory are left alone.
//!
//! What must never be done here: deciding what makes a zTOC different (the caller puts all of that into the key),
//! looking into zTOCs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sociable_oci::{Algorithm, Digest, Hasher};

/// How many bytes a cache may have if nobody says otherwise: 2 GiB.
pub const DEFAULT_LIMIT: u64 = 2 << 30;
/// Longest header in bytes, key included.
pub const MAX_HEADER: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"SOCICAC\x01";
/// Bytes before the header.
const FIXED: usize = 8 + 4 + 8 + 32 + 32;
/// Of these, those that the checksum covers.
const CHECKED: usize = FIXED - 32;
const SUFFIX: &str = ".ztoc";
const TEMP_PREFIX: &str = ".tmp-";
const LOCK_FILE: &str = ".lock";
const STALE: Duration = Duration::from_hours(24);
/// Bytes read or written at a time.
const CHUNK: usize = 128 << 10;

/// Why the cache does not work. The cause is in the source chain and is not repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The operating system said no.
    #[error("the cache of zTOCs is unusable: cannot {action} {}", place.display())]
    Io {
        /// A verb: `create`, `write to`, …
        action: &'static str,
        /// The directory or file.
        place: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The zTOC alone is larger than the cache may be.
    #[error("the zTOC is not cached: it does not fit into the cache's limit of {limit} bytes")]
    TooLarge {
        /// How many bytes the cache may have.
        limit: u64,
    },
    /// Key and header are too long.
    #[error(
        "the zTOC is not cached: its header would have {length} bytes, the limit is {MAX_HEADER}"
    )]
    HeaderTooLong {
        /// How many bytes it would have.
        length: usize,
    },
    /// The caller could not give the zTOC's bytes.
    #[error("the zTOC is not cached: its bytes could not be produced")]
    Content(#[source] io::Error),
}

impl CacheError {
    fn io(action: &'static str, place: &Path) -> impl FnOnce(io::Error) -> Self {
        let place = place.to_owned();
        move |source| Self::Io {
            action,
            place,
            source,
        }
    }
}

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

/// What is known of a cached zTOC without decoding it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Header {
    /// Size of the layer as stored, in bytes.
    pub layer_size: u64,
    /// Digest of the uncompressed layer, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<Digest>,
    /// Whatever else the caller wants to find again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub note: BTreeMap<String, String>,
}

/// The header as written.
#[derive(Serialize, Deserialize)]
struct Stored {
    layer: Digest,
    options: String,
    #[serde(flatten)]
    header: Header,
}

/// A hit: checked, open, and readable even if it is removed meanwhile.
#[derive(Debug)]
pub struct Cached {
    header: Header,
    digest: Digest,
    size: u64,
    start: u64,
    file: File,
}

impl Cached {
    /// What was stored with the zTOC.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Digest of the zTOC.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Size of the zTOC in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The zTOC's bytes in one piece.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let size = usize::try_from(self.size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, self.start)?;
        Ok(bytes)
    }

    /// The zTOC's bytes as a stream of exactly [`Cached::size`] bytes.
    #[must_use]
    pub fn into_reader(self) -> ZtocReader {
        ZtocReader {
            file: self.file,
            position: self.start,
            remaining: self.size,
        }
    }
}

/// The bytes of a cached zTOC: [`Cached::into_reader`].
#[derive(Debug)]
pub struct ZtocReader {
    file: File,
    position: u64,
    remaining: u64,
}

impl Read for ZtocReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let length = length.min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        let n = self.file.read_at(&mut buffer[..length], self.position)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += n as u64;
        self.remaining -= n as u64;
        Ok(n)
    }
}

/// How much is, or was, in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// zTOCs.
    pub entries: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Bytes of temporary files: of zTOCs being written, or left by processes that were killed.
    pub temporary: u64,
}

/// Why a file is no hit.
enum Miss {
    /// There is none, or it cannot be opened.
    None,
    /// It is not what it should be.
    Damaged,
}

/// A directory of zTOCs. See the [module](self).
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
    limit: u64,
}

impl Cache {
    /// Opens a cache of at most `limit` bytes, or makes a new one, for its owner only.
    ///
    /// A directory that may be read and not written is opened: it gives hits, and an error for each [`Cache::put`].
    ///
    /// # Errors
    /// [`CacheError::Io`], when there is no such directory and it cannot be made.
    pub fn open(dir: impl Into<PathBuf>, limit: u64) -> Result<Self, CacheError> {
        let cache = Self {
            dir: dir.into(),
            limit,
        };
        cache.create()?;
        Ok(cache)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// How many bytes it may have.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The zTOC with this key, if it is here and undamaged, which is checked by reading it. A damaged one is removed.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Cached> {
        let path = self.dir.join(key.file_name());
        match load(&path, key) {
            Ok(cached) => {
                // If that fails it is removed somewhat sooner.
                let _ = cached.file.set_modified(SystemTime::now());
                Some(cached)
            }
            Err(Miss::None) => None,
            Err(Miss::Damaged) => {
                // If another process has just replaced it by a good one, that is made once more.
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Stores a zTOC, whose bytes `write` produces, over one with the same key, and [trims](Cache::trim) the cache.
    ///
    /// # Errors
    /// [`CacheError`]; whatever it is, nothing is stored but a whole zTOC, and the caller's work can go on.
    pub fn put(
        &self,
        key: &Key,
        header: &Header,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CacheError> {
        let stored = Stored {
            layer: key.layer,
            options: key.options.clone(),
            header: header.clone(),
        };
        let header = serde_json::to_vec(&stored).map_err(|e| CacheError::Content(e.into()))?;
        let length = header.len();
        let header_length = u32::try_from(length)
            .ok()
            .filter(|_| length <= MAX_HEADER)
            .ok_or(CacheError::HeaderTooLong { length })?;
        let room = self.limit.checked_sub((FIXED + length) as u64);
        let room = room.ok_or(CacheError::TooLarge { limit: self.limit })?;

        self.create()?;
        let failed = || CacheError::io("write to", &self.dir);
        let temp = tempfile::Builder::new()
            .prefix(TEMP_PREFIX)
            .tempfile_in(&self.dir)
            .map_err(failed())?;
        let mut body = Body {
            out: BufWriter::with_capacity(CHUNK, temp),
            hasher: Hasher::new(Algorithm::Sha256),
            size: 0,
            room,
            failure: None,
        };
        // Room for what is known only at the end.
        let start = body.out.write_all(&[0; FIXED]);
        start
            .and_then(|()| body.out.write_all(&header))
            .map_err(failed())?;
        let outcome = write(&mut body).and_then(|()| body.flush());
        match (body.failure, outcome) {
            (Some(Failure::NoRoom), _) => return Err(CacheError::TooLarge { limit: self.limit }),
            (Some(Failure::Io(kind)), Ok(())) => return Err(failed()(kind.into())),
            (Some(Failure::Io(_)), Err(e)) => return Err(failed()(e)),
            (None, Err(e)) => return Err(CacheError::Content(e)),
            (None, Ok(())) => {}
        }

        let mut fixed = Vec::with_capacity(FIXED);
        fixed.extend_from_slice(&MAGIC);
        fixed.extend_from_slice(&header_length.to_le_bytes());
        fixed.extend_from_slice(&body.size.to_le_bytes());
        fixed.extend_from_slice(body.hasher.finish().as_bytes());
        fixed.extend_from_slice(checksum(&fixed, &header).as_bytes());
        let temp = body
            .out
            .into_inner()
            .map_err(|e| failed()(e.into_error()))?;
        temp.as_file().write_all_at(&fixed, 0).map_err(failed())?;
        temp.persist(self.dir.join(key.file_name()))
            .map_err(|e| failed()(e.error))?;
        self.trim()?;
        Ok(())
    }

    /// Removes what has not been used for the longest time until the rest is within the limit, and stale temporary
    /// files; says what was removed. Does nothing while another process is at it.
    ///
    /// # Errors
    /// [`CacheError::Io`], when the directory cannot be listed or a file not be removed.
    pub fn trim(&self) -> Result<Usage, CacheError> {
        // Where there are no locks (or none may be made), several may remove the same files; that does no harm.
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.dir.join(LOCK_FILE));
        if let Ok(lock) = &lock
            && let Err(TryLockError::WouldBlock) = lock.try_lock()
        {
            return Ok(Usage::default());
        }
        self.remove(self.limit)
    }

    /// Removes all zTOCs, and stale temporary files; says what was removed.
    ///
    /// # Errors
    /// As [`Cache::trim`].
    pub fn clear(&self) -> Result<Usage, CacheError> {
        self.remove(0)
    }

    /// How much there is.
    ///
    /// # Errors
    /// [`CacheError::Io`], when the directory cannot be listed.
    pub fn usage(&self) -> Result<Usage, CacheError> {
        let mut usage = Usage::default();
        for file in self.files()? {
            file.count(&mut usage);
        }
        Ok(usage)
    }

    fn create(&self) -> Result<(), CacheError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(CacheError::io("create", &self.dir))
    }

    fn remove(&self, limit: u64) -> Result<Usage, CacheError> {
        let mut files = self.files()?;
        files.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        let mut bytes: u64 = files.iter().filter(|f| !f.temporary).map(|f| f.size).sum();
        let mut removed = Usage::default();
        let mut failure = None;
        for file in &files {
            let wanted = if file.temporary {
                let age = SystemTime::now().duration_since(file.used);
                age.is_ok_and(|age| age > STALE)
            } else {
                bytes > limit
            };
            if !wanted {
                continue;
            }
            match fs::remove_file(&file.path) {
                Ok(()) => file.count(&mut removed),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => {
                    failure.get_or_insert(CacheError::io("remove", &file.path)(e));
                    continue;
                }
            }
            if !file.temporary {
                bytes = bytes.saturating_sub(file.size);
            }
        }
        failure.map_or(Ok(removed), Err)
    }

    /// The files that belong to the cache.
    fn files(&self) -> Result<Vec<Stat>, CacheError> {
        let failed = || CacheError::io("list", &self.dir);
        let listing = match fs::read_dir(&self.dir) {
            Ok(listing) => listing,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed()(e)),
        };
        let mut files = Vec::new();
        for file in listing {
            let file = file.map_err(failed())?;
            let name = file.file_name();
            let Some(name) = name.to_str() else { continue };
            let temporary = name.starts_with(TEMP_PREFIX);
            let is_entry = name.strip_suffix(SUFFIX).is_some_and(|digits| {
                digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())
            });
            if !temporary && !is_entry {
                continue;
            }
            // It may just have been removed.
            let Ok(metadata) = file.metadata() else {
                continue;
            };
            if metadata.is_file() {
                files.push(Stat {
                    path: file.path(),
                    size: metadata.len(),
                    used: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                    temporary,
                });
            }
        }
        Ok(files)
    }
}

/// A file of the cache.
struct Stat {
    path: PathBuf,
    size: u64,
    used: SystemTime,
    temporary: bool,
}

impl Stat {
    fn count(&self, usage: &mut Usage) {
        if self.temporary {
            usage.temporary += self.size;
        } else {
            usage.entries += 1;
            usage.bytes += self.size;
        }
    }
}

/// Why a body could not be written.
#[derive(Clone, Copy)]
enum Failure {
    NoRoom,
    Io(io::ErrorKind),
}

/// The zTOC on its way to a file.
struct Body<W: Write> {
    out: BufWriter<W>,
    hasher: Hasher,
    size: u64,
    room: u64,
    failure: Option<Failure>,
}

impl<W: Write> Write for Body<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.size.saturating_add(bytes.len() as u64);
        if size > self.room {
            self.failure = Some(Failure::NoRoom);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if let Err(e) = self.out.write_all(bytes) {
            self.failure.get_or_insert(Failure::Io(e.kind()));
            return Err(e);
        }
        self.hasher.update(bytes);
        self.size = size;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.out.flush();
        if let Err(e) = &outcome {
            self.failure.get_or_insert(Failure::Io(e.kind()));
        }
        outcome
    }
}

/// The digest of the fixed part, as far as it goes, and of the header.
fn checksum(fixed: &[u8], header: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(fixed);
    hasher.update(header);
    hasher.finish()
}

/// Opens a file and checks all of it.
fn load(path: &Path, key: &Key) -> Result<Cached, Miss> {
    // Opening a pipe would wait.
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let file = is_file
        .then(|| File::open(path).ok())
        .flatten()
        .ok_or(Miss::None)?;
    check(file, key).ok_or(Miss::Damaged)
}

/// Reads a number or digest off the front.
fn take<'b, const N: usize>(bytes: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(taken)
}

fn check(mut file: File, key: &Key) -> Option<Cached> {
    let mut fixed = [0; FIXED];
    file.read_exact(&mut fixed).ok()?;
    let mut rest = &fixed[..];
    if *take(&mut rest)? != MAGIC {
        return None;
    }
    let length = usize::try_from(u32::from_le_bytes(*take(&mut rest)?)).ok()?;
    let size = u64::from_le_bytes(*take(&mut rest)?);
    let digest = Digest::from_sha256(*take(&mut rest)?);
    let sum = Digest::from_sha256(*take(&mut rest)?);
    if length > MAX_HEADER {
        return None;
    }
    let start = (FIXED + length) as u64;
    if start.checked_add(size) != Some(file.metadata().ok()?.len()) {
        return None;
    }
    let mut header = vec![0; length];
    file.read_exact(&mut header).ok()?;
    if checksum(&fixed[..CHECKED], &header) != sum {
        return None;
    }
    let stored: Stored = serde_json::from_slice(&header).ok()?;
    if stored.layer != key.layer || stored.options != key.options {
        return None;
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut chunk = vec![0; CHUNK];
    let mut remaining = size;
    while remaining > 0 {
        let part = usize::try_from(remaining).unwrap_or(CHUNK).min(CHUNK);
        file.read_exact(&mut chunk[..part]).ok()?;
        hasher.update(&chunk[..part]);
        remaining -= part as u64;
    }
    (hasher.finish() == digest).then_some(Cached {
        header: stored.header,
        digest,
        size,
        start,
        file,
    })
}

/// Where the cache is: `$SOCIABLE_CACHE_DIR`, else `$XDG_CACHE_HOME/sociable`, else `~/.cache/sociable`. `None` when
/// none of these is set: then there is no cache.
#[must_use]
pub fn default_dir() -> Option<PathBuf> {
    dir_from(|name| std::env::var_os(name))
}

/// [`default_dir`] in an environment given as a function. Empty variables are as good as none, and so are relative paths
/// in the two that are not ours (XDG Base Directory Specification).
#[must_use]
pub fn dir_from(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let absolute = |name| path(name).filter(|path| path.is_absolute());
    path("SOCIABLE_CACHE_DIR")
        .or_else(|| Some(absolute("XDG_CACHE_HOME")?.join("sociable")))
        .or_else(|| Some(absolute("HOME")?.join(".cache/sociable")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;

    use super::*;

    fn key(n: u64) -> Key {
        Key::new(
            Digest::sha256_of(&n.to_le_bytes()),
            "span-size=4194304;tool=test",
        )
    }

    fn header() -> Header {
        Header {
            layer_size: 12_345,
            diff_id: Some(Digest::sha256_of(b"tar")),
            note: BTreeMap::from([("xattrs".to_owned(), "no".to_owned())]),
        }
    }

    fn put(cache: &Cache, key: &Key, bytes: &[u8]) -> Result<(), CacheError> {
        cache.put(key, &header(), |out| out.write_all(bytes))
    }

    fn got(cache: &Cache, key: &Key) -> Option<Vec<u8>> {
        cache.get(key).map(|cached| cached.read().unwrap())
    }

    fn new() -> (tempfile::TempDir, Cache) {
        let temp = tempfile::tempdir().unwrap();
        let cache = Cache::open(temp.path().join("a/cache"), DEFAULT_LIMIT).unwrap();
        (temp, cache)
    }

    fn age(path: &Path, seconds: u64) {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        File::open(path).unwrap().set_modified(time).unwrap();
    }

    fn whole_error(error: &dyn std::error::Error) -> String {
        let errors = std::iter::successors(Some(error), |error| error.source());
        let texts: Vec<String> = errors.map(ToString::to_string).collect();
        texts.join(": ")
    }

    #[test]
    fn what_was_put_is_got() {
        let (_temp, cache) = new();
        let bytes: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        assert!(cache.get(&key(1)).is_none());
        cache
            .put(&key(1), &header(), |out| {
                for part in bytes.chunks(777) {
                    out.write_all(part)?;
                }
                Ok(())
            })
            .unwrap();
        let cached = cache.get(&key(1)).unwrap();
        assert_eq!(cached.header(), &header());
        assert_eq!(cached.digest(), &Digest::sha256_of(&bytes));
        assert_eq!(cached.size(), bytes.len() as u64);
        assert!(cached.read().unwrap() == bytes);
        let mut streamed = Vec::new();
        cached.into_reader().read_to_end(&mut streamed).unwrap();
        assert!(streamed == bytes);
        let usage = cache.usage().unwrap();
        assert_eq!((usage.entries, usage.temporary), (1, 0));
        assert!(usage.bytes > bytes.len() as u64);
        put(&cache, &key(2), b"").unwrap();
        assert_eq!(got(&cache, &key(2)).unwrap(), b"");
        put(&cache, &key(1), b"new").unwrap();
        assert_eq!(got(&cache, &key(1)).unwrap(), b"new");
    }

    #[test]
    fn only_the_owner_gets_in() {
        let (_temp, cache) = new();
        put(&cache, &key(1), b"ztoc").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(cache.dir()), 0o700);
        assert_eq!(mode(&cache.dir().join(key(1).file_name())), 0o600);
    }

    #[test]
    fn another_layer_or_other_options_are_a_miss() {
        let (_temp, cache) = new();
        let layer = *key(1).layer();
        put(&cache, &key(1), b"ztoc").unwrap();
        assert!(cache.get(&key(2)).is_none());
        assert!(cache.get(&Key::new(layer, "")).is_none());
        assert!(got(&cache, &key(1)).is_some());
        // A file in another's place is not believed.
        let other = Key::new(layer, "other");
        let path = cache.dir().join(other.file_name());
        fs::copy(cache.dir().join(key(1).file_name()), &path).unwrap();
        assert!(cache.get(&other).is_none());
        assert!(!path.exists());
    }

    #[test]
    fn damage_anywhere_is_a_miss_and_is_removed() {
        let (_temp, cache) = new();
        let path = cache.dir().join(key(1).file_name());
        put(&cache, &key(1), b"the bytes of a zTOC").unwrap();
        let good = fs::read(&path).unwrap();
        let mut bad: Vec<Vec<u8>> = Vec::new();
        for at in 0..good.len() {
            bad.push(good[..at].to_vec());
            for flip in [0x01, 0x80] {
                let mut bytes = good.clone();
                bytes[at] ^= flip;
                bad.push(bytes);
            }
        }
        bad.push([&good[..], b"x"].concat());
        bad.push(vec![0; good.len()]);
        bad.push([&good[..8], &[0xff; 200]].concat());
        for (number, bytes) in bad.iter().enumerate() {
            fs::write(&path, bytes).unwrap();
            assert!(cache.get(&key(1)).is_none(), "{number}");
            assert!(!path.exists(), "{number}");
        }
        fs::write(&path, &good).unwrap();
        assert_eq!(got(&cache, &key(1)).unwrap(), b"the bytes of a zTOC");
    }

    #[test]
    fn what_is_no_file_is_a_miss() {
        let (temp, cache) = new();
        let path = cache.dir().join(key(1).file_name());
        fs::create_dir(&path).unwrap();
        assert!(cache.get(&key(1)).is_none());
        assert!(put(&cache, &key(1), b"ztoc").is_err());
        fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink(temp.path().join("nowhere"), &path).unwrap();
        assert!(cache.get(&key(1)).is_none());
        put(&cache, &key(1), b"ztoc").unwrap();
        assert_eq!(got(&cache, &key(1)).unwrap(), b"ztoc");
        assert_eq!(cache.usage().unwrap().temporary, 0);
    }

    #[test]
    fn the_least_recently_used_is_removed_first() {
        let (_temp, cache) = new();
        let path = |n| cache.dir().join(key(n).file_name());
        for n in 1..=4 {
            put(&cache, &key(n), &[0; 1000]).unwrap();
            age(&path(n), 1000 - n);
        }
        let each = cache.usage().unwrap().bytes / 4;
        assert!(cache.get(&key(1)).is_some(), "used: the newest now");
        let foreign = cache.dir().join("notes.txt");
        fs::write(&foreign, [0; 9999]).unwrap();
        let small = Cache::open(cache.dir(), each * 4).unwrap();
        assert_eq!(small.trim().unwrap(), Usage::default(), "all fit");
        let small = Cache::open(cache.dir(), each * 3 + 1).unwrap();
        let removed = small.trim().unwrap();
        assert_eq!((removed.entries, removed.bytes), (1, each));
        assert!(!path(2).exists() && path(1).exists());
        put(&small, &key(5), &[0; 1000]).unwrap();
        assert!(!path(3).exists() && path(1).exists() && path(5).exists());
        assert!(small.usage().unwrap().bytes <= small.limit());
        assert_eq!(small.clear().unwrap().entries, 3);
        assert_eq!(small.usage().unwrap(), Usage::default());
        assert!(foreign.exists(), "not ours");
    }

    #[test]
    fn one_trims_at_a_time() {
        let (_temp, cache) = new();
        put(&cache, &key(1), b"ztoc").unwrap();
        let none = Cache::open(cache.dir(), 0).unwrap();
        let lock = File::open(cache.dir().join(LOCK_FILE)).unwrap();
        lock.lock().unwrap();
        assert_eq!(none.trim().unwrap(), Usage::default());
        assert!(cache.get(&key(1)).is_some());
        drop(lock);
        assert_eq!(none.trim().unwrap().entries, 1);
    }

    #[test]
    fn what_is_removed_can_be_read_to_its_end() {
        let (_temp, cache) = new();
        put(&cache, &key(1), &vec![7; 500_000]).unwrap();
        let mut reader = cache.get(&key(1)).unwrap().into_reader();
        let mut bytes = vec![0; 1000];
        reader.read_exact(&mut bytes).unwrap();
        cache.clear().unwrap();
        assert!(cache.get(&key(1)).is_none());
        reader.read_to_end(&mut bytes).unwrap();
        assert!(bytes[1000..] == vec![7; 499_000]);
    }

    #[test]
    fn a_file_cut_off_while_it_is_read_is_an_error() {
        let (_temp, cache) = new();
        put(&cache, &key(1), &[7; 5000]).unwrap();
        let cached = cache.get(&key(1)).unwrap();
        let path = cache.dir().join(key(1).file_name());
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(1000).unwrap();
        assert!(cached.read().is_err());
        let error = cached.into_reader().read_to_end(&mut Vec::new());
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_does_not_fit_is_not_stored() {
        let (_temp, cache) = new();
        let small = Cache::open(cache.dir(), 2000).unwrap();
        put(&small, &key(1), &[0; 100]).unwrap();
        let error = put(&small, &key(2), &[0; 2000]).unwrap_err();
        assert!(matches!(error, CacheError::TooLarge { limit: 2000 }));
        assert_eq!(small.usage().unwrap().entries, 1, "the others stay");
        let none = Cache::open(cache.dir(), 0).unwrap();
        assert!(matches!(
            put(&none, &key(1), b""),
            Err(CacheError::TooLarge { limit: 0 })
        ));
        assert!(none.get(&key(1)).is_some(), "what is there stays");
        let long = Key::new(*key(1).layer(), "x".repeat(MAX_HEADER));
        assert!(matches!(
            put(&cache, &long, b""),
            Err(CacheError::HeaderTooLong { .. })
        ));
        assert_eq!(cache.usage().unwrap().temporary, 0);
    }

    #[test]
    fn what_the_caller_cannot_produce_is_not_stored() {
        let (_temp, cache) = new();
        let error = cache
            .put(&key(1), &header(), |out| {
                out.write_all(b"half")?;
                Err(io::Error::other("layer ends early"))
            })
            .unwrap_err();
        assert_eq!(
            whole_error(&error),
            "the zTOC is not cached: its bytes could not be produced: layer ends early"
        );
        assert!(cache.get(&key(1)).is_none());
        assert_eq!(cache.usage().unwrap(), Usage::default());
    }

    #[test]
    fn a_full_disk_is_said() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self
                    .0
                    .checked_sub(bytes.len())
                    .ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut body = Body {
            out: BufWriter::with_capacity(4, Full(10)),
            hasher: Hasher::new(Algorithm::Sha256),
            size: 0,
            room: 100,
            failure: None,
        };
        body.write_all(b"12345678").unwrap();
        let outcome = body
            .write_all(b"90")
            .and_then(|()| body.write_all(b"12345"));
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::StorageFull);
        let Some(Failure::Io(kind)) = body.failure else {
            panic!("taken for an error of the caller");
        };
        assert_eq!(kind, io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_place_that_cannot_be_used_is_said() {
        let (temp, cache) = new();
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        for dir in [file.clone(), file.join("below")] {
            let error = whole_error(&Cache::open(&dir, 1000).unwrap_err());
            let start = format!(
                "the cache of zTOCs is unusable: cannot create {}: ",
                dir.display()
            );
            assert!(error.starts_with(&start), "{error}");
        }
        // Gone, and made again.
        fs::remove_dir_all(cache.dir()).unwrap();
        assert!(cache.get(&key(1)).is_none());
        assert_eq!(cache.usage().unwrap(), Usage::default());
        assert_eq!(cache.trim().unwrap(), Usage::default());
        put(&cache, &key(1), b"ztoc").unwrap();
        assert!(cache.get(&key(1)).is_some());
        // Gone, with something else in its place.
        fs::remove_dir_all(cache.dir()).unwrap();
        fs::write(cache.dir(), "").unwrap();
        assert!(cache.get(&key(1)).is_none());
        assert!(matches!(
            put(&cache, &key(1), b"ztoc"),
            Err(CacheError::Io { .. })
        ));
        assert!(cache.usage().is_err() && cache.trim().is_err() && cache.clear().is_err());
    }

    #[test]
    fn a_read_only_directory_gives_hits() {
        let (_temp, cache) = new();
        put(&cache, &key(1), b"ztoc").unwrap();
        fs::set_permissions(cache.dir(), fs::Permissions::from_mode(0o500)).unwrap();
        let cache = Cache::open(cache.dir(), DEFAULT_LIMIT).unwrap();
        assert!(cache.get(&key(1)).is_some());
        // To root everything is writable.
        if let Err(e) = put(&cache, &key(2), b"ztoc") {
            let error = whole_error(&e);
            assert!(error.contains("cannot write to"), "{error}");
            assert!(cache.get(&key(2)).is_none());
        }
        fs::set_permissions(cache.dir(), fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn stale_temporary_files_are_swept() {
        let (_temp, cache) = new();
        let (old, young) = (cache.dir().join(".tmp-old"), cache.dir().join(".tmp-young"));
        fs::write(&old, [0; 10]).unwrap();
        fs::write(&young, [0; 20]).unwrap();
        age(&old, 25 * 3600);
        age(&young, 23 * 3600);
        assert_eq!(cache.usage().unwrap().temporary, 30);
        put(&cache, &key(1), b"ztoc").unwrap();
        assert!(!old.exists() && young.exists());
        assert!(cache.get(&key(1)).is_some());
        age(&young, 25 * 3600);
        let removed = cache.clear().unwrap();
        assert_eq!((removed.entries, removed.temporary), (1, 20));
    }

    #[test]
    fn two_threads_put_the_same() {
        let (_temp, cache) = new();
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            for byte in [1u8, 2] {
                let (cache, barrier) = (&cache, &barrier);
                scope.spawn(move || {
                    for _ in 0..50 {
                        cache
                            .put(&key(1), &header(), |out| {
                                out.write_all(&vec![byte; 300_000])?;
                                barrier.wait();
                                out.write_all(&vec![byte; 300_000])
                            })
                            .unwrap();
                        let bytes = got(cache, &key(1)).unwrap();
                        assert_eq!(bytes.len(), 600_000);
                        assert!(bytes.iter().all(|b| *b == bytes[0]));
                    }
                });
            }
        });
        let usage = cache.usage().unwrap();
        assert_eq!((usage.entries, usage.temporary), (1, 0));
    }

    #[test]
    fn many_threads_in_a_small_cache_see_nothing_but_whole_ztocs() {
        let (_temp, cache) = new();
        let cache = Cache::open(cache.dir(), 30_000).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let cache = &cache;
                scope.spawn(move || {
                    for round in 0..200u64 {
                        let n = (thread * 7 + round * 3) % 11;
                        let bytes = vec![u8::try_from(n).unwrap(); 5000];
                        match got(cache, &key(n)) {
                            Some(found) => assert!(found == bytes),
                            None => put(cache, &key(n), &bytes).unwrap(),
                        }
                        if round % 50 == 49 {
                            cache.clear().unwrap();
                        }
                    }
                });
            }
        });
        cache.trim().unwrap();
        let usage = cache.usage().unwrap();
        assert!(usage.bytes <= 30_000 && usage.temporary == 0, "{usage:?}");
    }

    #[test]
    fn where_it_is() {
        let dir = |set: &[(&str, &str)]| {
            dir_from(|name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.into())
            })
        };
        let (ours, xdg, home) = (
            ("SOCIABLE_CACHE_DIR", "relative/c"),
            ("XDG_CACHE_HOME", "/x"),
            ("HOME", "/home/u"),
        );
        assert_eq!(dir(&[ours, xdg, home]), Some("relative/c".into()));
        assert_eq!(dir(&[xdg, home]), Some("/x/sociable".into()));
        assert_eq!(dir(&[home]), Some("/home/u/.cache/sociable".into()));
        assert_eq!(
            dir(&[("XDG_CACHE_HOME", "x"), ("SOCIABLE_CACHE_DIR", ""), home]),
            Some("/home/u/.cache/sociable".into())
        );
        assert_eq!(dir(&[("HOME", "")]), None);
        assert_eq!(dir(&[]), None);
    }
}
