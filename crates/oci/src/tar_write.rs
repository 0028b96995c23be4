//! Writes an OCI archive to anything. Shared by archive and stream.
//!
//! One blob at a time can stream straight into the tar, since a tar header needs the size beforehand; it has to be known,
//! and the tar has to be free. Every other blob waits in an unlinked temporary file until the tar is free again.
//! So writers never wait for each other, in whatever order they are opened and committed.
//!
//! Headers are as reproducible as they can be: mode 0644, no owner, no time. Only the order of the blobs
//! is that of their completion.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::oci_dir::{BLOBS_DIR, INDEX_FILE, LAYOUT_CONTENT, LAYOUT_FILE};
use crate::sink::{BlobWriter, Hashing, IndexUpdate, Meter};
use crate::tar_read::{BLOCK, BLOCK_U64};

/// Where a tar goes.
pub(crate) trait Output: Write + Send {
    /// Takes back everything from byte `to` on; `false` when that is impossible.
    fn rollback(&mut self, to: u64) -> io::Result<bool>;
}

struct TarWriter<W> {
    output: W,
    position: u64,
}

impl<W: Output> TarWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn header(&mut self, name: &str, size: u64, kind: tar::EntryType) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        // The GNU form takes any size (base 256), and Go's and everyone's readers know it.
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        if header.set_path(name).is_err() {
            // Only blobs with SHA-512 digests have names of more than 100 bytes.
            let mut long = name.as_bytes().to_vec();
            long.push(0);
            self.header(
                "././@LongLink",
                long.len() as u64,
                tar::EntryType::GNULongName,
            )?;
            self.write(&long)?;
            self.pad()?;
            header.set_path("long").map_err(io::Error::other)?;
        }
        header.set_cksum();
        self.write(header.as_bytes())
    }

    fn pad(&mut self) -> io::Result<()> {
        let gap = self.position.next_multiple_of(BLOCK_U64) - self.position;
        self.write(&[0; BLOCK][..usize::try_from(gap).unwrap_or(0)])
    }

    fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.header(name, content.len() as u64, tar::EntryType::Regular)?;
        self.write(content)?;
        self.pad()
    }

    fn spooled(&mut self, digest: &Digest, size: u64, spool: &mut File) -> io::Result<()> {
        self.header(&blob_name(digest), size, tar::EntryType::Regular)?;
        spool.seek(SeekFrom::Start(0))?;
        let copied = io::copy(&mut spool.take(size), &mut self.output)?;
        self.position += copied;
        if copied != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pad()
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("{BLOBS_DIR}/{}/{}", digest.algorithm(), digest.hex())
}

struct State<W> {
    /// Absent while a blob streams into it.
    tar: Option<TarWriter<W>>,
    /// Complete blobs: in the tar, or with their spool file waiting for it.
    blobs: BTreeMap<Digest, u64>,
    waiting: Vec<(Digest, u64, File)>,
    /// Why no image can come of this any more.
    broken: Option<String>,
    /// Directories that have their entry.
    directories: Vec<&'static str>,
}

impl<W: Output> State<W> {
    fn enter_directory(
        tar: &mut TarWriter<W>,
        made: &mut Vec<&'static str>,
        digest: &Digest,
    ) -> io::Result<()> {
        let algorithm = digest.algorithm().name();
        if !made.contains(&algorithm) {
            tar.header(
                &format!("{BLOBS_DIR}/{algorithm}/"),
                0,
                tar::EntryType::Directory,
            )?;
            made.push(algorithm);
        }
        Ok(())
    }

    /// The tar is free again: what waits goes in.
    fn give_back(&mut self, mut tar: TarWriter<W>) -> io::Result<()> {
        let mut result = Ok(());
        for (digest, size, mut spool) in std::mem::take(&mut self.waiting) {
            result = result
                .and_then(|()| Self::enter_directory(&mut tar, &mut self.directories, &digest))
                .and_then(|()| tar.spooled(&digest, size, &mut spool));
        }
        self.tar = Some(tar);
        if let Err(e) = &result {
            self.broken = Some(format!("an earlier write failed: {e}"));
        }
        result
    }
}

/// The part of an archive or stream sink that both have.
pub(crate) struct TarSink<W> {
    state: Arc<Mutex<State<W>>>,
    place: String,
    spool_dir: Option<PathBuf>,
}

fn locked<W>(state: &Mutex<State<W>>) -> MutexGuard<'_, State<W>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<W: Output + 'static> TarSink<W> {
    /// Starts an archive. Temporary files go to `spool_dir`, or where the system has them.
    pub(crate) fn new(output: W, place: String, spool_dir: Option<PathBuf>) -> Result<Self> {
        let mut tar = TarWriter {
            output,
            position: 0,
        };
        tar.file(LAYOUT_FILE, LAYOUT_CONTENT.as_bytes())
            .and_then(|()| tar.header(&format!("{BLOBS_DIR}/"), 0, tar::EntryType::Directory))
            .map_err(Error::io("write", place.clone()))?;
        let state = State {
            tar: Some(tar),
            blobs: BTreeMap::new(),
            waiting: Vec::new(),
            broken: None,
            directories: Vec::new(),
        };
        Ok(Self {
            state: Arc::new(Mutex::new(state)),
            place,
            spool_dir,
        })
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn has(&self, digest: &Digest) -> bool {
        locked(&self.state).blobs.contains_key(digest)
    }

    pub(crate) fn begin(
        &self,
        known: Option<(&Digest, u64)>,
        hashing: Hashing,
    ) -> Result<Box<dyn BlobWriter>> {
        let mut state = locked(&self.state);
        if let Some(why) = &state.broken {
            return Err(Error::Incomplete {
                place: self.place.clone(),
                why: why.clone(),
            });
        }
        let fresh = known.filter(|(digest, _)| !state.blobs.contains_key(digest));
        let target = match (fresh, state.tar.take()) {
            (Some((digest, size)), Some(mut tar)) => {
                let start = tar.position;
                let made = state.directories.clone();
                let begun = State::enter_directory(&mut tar, &mut state.directories, digest)
                    .and_then(|()| tar.header(&blob_name(digest), size, tar::EntryType::Regular));
                let direct = Direct {
                    state: Arc::clone(&self.state),
                    tar: Some(tar),
                    start,
                    made,
                };
                if let Err(e) = begun {
                    drop(state);
                    drop(direct);
                    return Err(Error::io("write", self.place.clone())(e));
                }
                Target::Direct(direct)
            }
            (_, tar) => {
                state.tar = tar;
                let spool = self
                    .spool_dir
                    .as_ref()
                    .map_or_else(tempfile::tempfile, tempfile::tempfile_in)
                    .map_err(Error::io("create a temporary file for", self.place.clone()))?;
                Target::Spool(Arc::clone(&self.state), spool)
            }
        };
        Ok(Box::new(TarBlob {
            target,
            meter: Meter::new(known, hashing),
            place: self.place.clone(),
        }))
    }

    /// Writes `index.json` and the end-of-archive blocks, and hands the output back. On any error neither is written.
    pub(crate) fn finish(&self, update: &IndexUpdate) -> Result<W> {
        let incomplete = |why: &str| Error::Incomplete {
            place: self.place.clone(),
            why: why.to_owned(),
        };
        let mut state = locked(&self.state);
        if let Some(why) = &state.broken {
            return Err(incomplete(why));
        }
        for entry in update.entries() {
            if !state.blobs.contains_key(&entry.digest) {
                return Err(Error::NoBlob {
                    place: self.place.clone(),
                    digest: entry.digest,
                });
            }
        }
        let mut tar = state
            .tar
            .take()
            .ok_or_else(|| incomplete("a blob is still being written"))?;
        let index = update.apply(None).map_err(|source| Error::Limit {
            place: self.place.clone(),
            source,
        })?;
        tar.file(INDEX_FILE, &index.to_bytes())
            .and_then(|()| tar.write(&[0; 2 * BLOCK]))
            .and_then(|()| tar.output.flush())
            .map_err(Error::io("write", self.place.clone()))?;
        Ok(tar.output)
    }
}

/// A blob on its way straight into the tar.
struct Direct<W: Output> {
    state: Arc<Mutex<State<W>>>,
    /// Present until committed or dropped.
    tar: Option<TarWriter<W>>,
    /// What to go back to.
    start: u64,
    made: Vec<&'static str>,
}

impl<W: Output> Direct<W> {
    fn complete(mut self, digest: Digest, size: u64) -> io::Result<()> {
        if let Some(tar) = &mut self.tar {
            tar.pad()?;
        }
        if let Some(tar) = self.tar.take() {
            let mut state = locked(&self.state);
            state.blobs.insert(digest, size);
            // Someone else may have spooled the same blob meanwhile.
            state.waiting.retain(|(other, _, _)| *other != digest);
            state.give_back(tar)?;
        }
        Ok(())
    }
}

impl<W: Output> Drop for Direct<W> {
    fn drop(&mut self) {
        let Some(mut tar) = self.tar.take() else {
            return;
        };
        let mut state = locked(&self.state);
        match tar.output.rollback(self.start) {
            Ok(true) => {
                tar.position = self.start;
                state.directories.clone_from(&self.made);
                // A failure is recorded in the state, where the next caller finds it.
                let _ = state.give_back(tar);
            }
            Ok(false) => {
                state.broken = Some("a blob that was begun has not been completed".to_owned());
            }
            Err(e) => {
                state.broken = Some(format!("a blob that was begun cannot be taken back: {e}"));
            }
        }
    }
}

enum Target<W: Output> {
    Direct(Direct<W>),
    Spool(Arc<Mutex<State<W>>>, File),
}

struct TarBlob<W: Output> {
    target: Target<W>,
    meter: Meter,
    place: String,
}

impl<W: Output> TarBlob<W> {
    fn complete(
        self,
        expected: Option<&Digest>,
        trusted: Option<(&Digest, u64)>,
    ) -> Result<(Digest, u64)> {
        let (digest, size) = self.meter.finish(&self.place, expected, trusted)?;
        match self.target {
            Target::Direct(direct) => direct.complete(digest, size),
            Target::Spool(state, spool) => {
                let mut state = locked(&state);
                if state.blobs.insert(digest, size).is_none() {
                    state.waiting.push((digest, size, spool));
                    match state.tar.take() {
                        Some(tar) => state.give_back(tar),
                        None => Ok(()),
                    }
                } else {
                    Ok(())
                }
            }
        }
        .map_err(Error::io("write", self.place))?;
        Ok((digest, size))
    }
}

impl<W: Output> Write for TarBlob<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.meter.admit(bytes.len())?;
        match &mut self.target {
            Target::Direct(direct) => {
                let tar = direct
                    .tar
                    .as_mut()
                    .ok_or_else(|| io::Error::other("the blob is complete already"))?;
                tar.write(bytes)?;
            }
            Target::Spool(_, file) => file.write_all(bytes)?,
        }
        self.meter.wrote(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Output> BlobWriter for TarBlob<W> {
    fn commit(self: Box<Self>, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        self.complete(expected, None)
    }

    fn commit_trusted(self: Box<Self>, digest: &Digest, size: u64) -> Result<()> {
        self.complete(None, Some((digest, size))).map(drop)
    }
}
