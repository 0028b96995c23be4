//! How much there is, and what goes when it is too much.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::key::is_file_name;
use super::{Cache, CacheError, TEMP_PREFIX};

/// When a temporary file is not being written any more.
const STALE: Duration = Duration::from_hours(24);

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

impl Cache {
    /// Removes what has not been used for the longest time until the rest is within `limit`, and stale temporary files.
    pub(super) fn remove(&self, limit: u64) -> Result<Usage, CacheError> {
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
    pub(super) fn files(&self) -> Result<Vec<Stat>, CacheError> {
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
            if !temporary && !is_file_name(name) {
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
pub(super) struct Stat {
    path: PathBuf,
    size: u64,
    used: SystemTime,
    temporary: bool,
}

impl Stat {
    /// Adds it to `usage`.
    pub(super) fn count(&self, usage: &mut Usage) {
        if self.temporary {
            usage.temporary += self.size;
        } else {
            usage.entries += 1;
            usage.bytes += self.size;
        }
    }
}
