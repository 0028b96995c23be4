//! Layers that are not gzip: plain tars, and tars compressed with zstd.

use std::io::{self, PipeWriter, Write};

use sha2::Digest as _;
use sociable_policy::compression::ZSTD_LEVELS;
use sociable_tar::{TarWriter, WriteError};
use sociable_ztoc::Sha256;
use zstd::zstd_safe::CParameter;

use super::{PackEntry, PackError, PackOptions, Packed, Progress, SourceError, threads};
use crate::{Compression, IndexOptions, index};

/// Bytes of tar that a thread compresses with zstd at a time.
const ZSTD_JOB: u32 = 8 << 20;
/// Most threads that compress with zstd: each holds jobs and the tables of its level, tens of megabytes.
const ZSTD_JOBS: usize = 4;

/// Packs entries into a plain tar, written to `out`, with its index.
///
/// Its spans all have the size that was asked for: the format knows no others, and so neither planner nor levels are asked.
///
/// # Errors
/// [`PackError`].
pub fn pack_plain<E: PackEntry>(
    entries: impl IntoIterator<Item = Result<E, SourceError>>,
    out: impl Write + Send,
    options: PackOptions<'_>,
) -> Result<Packed, PackError> {
    let PackOptions {
        build_tool_identifier,
        span_size,
        planner,
        limits,
        allow_unreadable,
        progress,
        ..
    } = options;
    let index_options = IndexOptions {
        build_tool_identifier,
        span_size,
        planner,
        diff_id: false,
        allow_unreadable,
        limits,
    };
    let (read, pipe) = io::pipe().map_err(PackError::Thread)?;
    std::thread::scope(|scope| {
        let indexing = std::thread::Builder::new()
            .spawn_scoped(scope, move || {
                index(read, Compression::Uncompressed, index_options)
            })
            .map_err(PackError::Thread)?;
        let mut tee = Tee {
            out,
            pipe,
            written: 0,
            is_indexed: true,
        };
        let written = write_tar(entries, &mut tee, progress);
        let (is_indexed, written_bytes) = (tee.is_indexed, tee.written);
        // The index ends where the pipe does.
        drop(tee);
        let indexed = indexing.join().map_err(|_| PackError::Worker)?;
        match written {
            Ok(()) => {
                let indexed = indexed?;
                Ok(Packed {
                    uncompressed_size: indexed.size,
                    digest: indexed.digest,
                    size: indexed.size,
                    diff_id: indexed.digest,
                    ztoc: indexed.ztoc,
                })
            }
            Err(_) if !is_indexed => Err(indexed.err().map_or(PackError::Worker, Into::into)),
            Err(error) => Err(at(written_bytes, error)),
        }
    })
}

/// Writes to a place and to whoever indexes.
struct Tee<W> {
    out: W,
    pipe: PipeWriter,
    written: u64,
    /// Whether the other end still reads.
    is_indexed: bool,
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.written += count as u64;
        let piped = self.pipe.write_all(&bytes[..count]);
        self.is_indexed &= piped.is_ok();
        piped.map(|()| count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A layer that has no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unindexed {
    /// SHA-256 of the blob.
    pub digest: Sha256,
    /// Size of the blob, in bytes.
    pub size: u64,
    /// SHA-256 of the tar.
    pub diff_id: Sha256,
    /// Size of the tar, in bytes.
    pub uncompressed_size: u64,
}

/// Packs entries into a tar compressed with zstd at one of [`ZSTD_LEVELS`], written to `out`. Of the options those about the zTOC
/// are not looked at. The bytes do not depend on the number of threads, of which there are at most four: the memory that zstd takes grows with
/// them and with the level, and is not within the bound of [`pack`](super::pack()).
///
/// # Errors
/// [`PackError`]. What `out` got until then is no layer.
pub fn pack_zstd<E: PackEntry>(
    entries: impl IntoIterator<Item = Result<E, SourceError>>,
    out: impl Write,
    options: PackOptions<'_>,
) -> Result<Unindexed, PackError> {
    let PackOptions {
        level,
        jobs,
        progress,
        ..
    } = options;
    if !ZSTD_LEVELS.contains(&level) {
        return Err(PackError::Zstd(level));
    }
    let started = || {
        let mut zstd = zstd::Encoder::new(Hashed::new(out), i32::from(level))?;
        // Without a worker the bytes would be others than with one or more.
        let jobs = threads(jobs).min(ZSTD_JOBS);
        zstd.multithread(u32::try_from(jobs).unwrap_or(1))?;
        zstd.set_parameter(CParameter::JobSize(ZSTD_JOB))?;
        zstd.include_checksum(true)?;
        io::Result::Ok(zstd)
    };
    let compressor = started().map_err(PackError::Thread)?;
    let mut tar = Hashed::new(compressor);
    let written = write_tar(entries, &mut tar, progress);
    written.map_err(|error| at(tar.out.get_ref().size, error))?;
    let (diff_id, uncompressed_size) = (tar.digest(), tar.size);
    let offset = tar.out.get_ref().size;
    let blob = tar.out.finish();
    let blob = blob.map_err(|source| PackError::Write { offset, source })?;
    Ok(Unindexed {
        digest: blob.digest(),
        size: blob.size,
        diff_id,
        uncompressed_size,
    })
}

/// Hashes what it passes on.
struct Hashed<W> {
    out: W,
    hash: sha2::Sha256,
    size: u64,
}

impl<W> Hashed<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            hash: sha2::Sha256::new(),
            size: 0,
        }
    }

    fn digest(&self) -> Sha256 {
        Sha256(self.hash.clone().finalize().into())
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Says where in the blob writing failed.
fn at(offset: u64, error: PackError) -> PackError {
    match error {
        PackError::Tar(WriteError::Sink(source)) => PackError::Write { offset, source },
        error => error,
    }
}

/// Writes all entries and the end marker.
fn write_tar<E: PackEntry>(
    entries: impl IntoIterator<Item = Result<E, SourceError>>,
    out: &mut impl Write,
    mut progress: Option<&mut dyn FnMut(Progress)>,
) -> Result<(), PackError> {
    let mut tar = TarWriter::new(out);
    for (number, entry) in (1..).zip(entries) {
        let entry = entry.map_err(PackError::Source)?;
        let (written, mut data) = tar.entry(entry.header())?;
        if written.stored_size > 0 {
            data.copy_from(&mut entry.open().map_err(PackError::Source)?)?;
        }
        if let Some(progress) = &mut progress {
            progress(Progress {
                entries: number,
                bytes: tar.position(),
            });
        }
    }
    tar.finish()?;
    Ok(())
}
