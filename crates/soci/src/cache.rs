//! zTOCs made before, kept in a directory, so that a layer indexed with the same options need not be read again.
//!
//! One file for each [`Key`], a layer's digest and a text that says how it was indexed. Its name is the SHA-256 of the
//! key, and `.ztoc`; its bytes are described in `cache/format.rs`.
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
//!
//! | to change | file |
//! |---|---|
//! | what can be done with a cache | `cache.rs` |
//! | what a zTOC is found by | `cache/key.rs` |
//! | what a file looks like, how it is checked | `cache/format.rs` |
//! | how a hit is read | `cache/cached.rs` |
//! | how a file comes into the directory | `cache/store.rs` |
//! | which files belong to the cache, which go | `cache/evict.rs` |
//! | where the directory is | `cache/location.rs` |
//! | what is said when it does not work | `cache/error.rs` |

mod cached;
mod error;
mod evict;
mod format;
mod key;
mod location;
mod store;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use cached::{Cached, ZtocReader};
pub use error::CacheError;
pub use evict::Usage;
pub use format::{Header, MAX_HEADER};
pub use key::Key;
pub use location::{default_dir, dir_from};

/// How many bytes a cache may have if nobody says otherwise: 2 GiB.
pub const DEFAULT_LIMIT: u64 = 2 << 30;

/// How the names of temporary files begin.
const TEMP_PREFIX: &str = ".tmp-";
/// Locked by the process that trims.
const LOCK_FILE: &str = ".lock";
/// Bytes read or written at a time.
const CHUNK: usize = 128 << 10;

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
        // Opening a pipe would wait.
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            return None;
        }
        let file = File::open(&path).ok()?;
        let cached = format::check(file, key);
        let _ = match &cached {
            // If that fails it is removed somewhat sooner.
            Some(cached) => cached.file.set_modified(SystemTime::now()),
            // If another process has just replaced it by a good one, that is made once more.
            None => fs::remove_file(&path),
        };
        cached
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
        self.store(key, header, write)?;
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

    /// Makes the directory if it is not there.
    fn create(&self) -> Result<(), CacheError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(CacheError::io("create", &self.dir))
    }
}
