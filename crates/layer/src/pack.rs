//! From files to a layer with its index.
//!
//! [`pack()`] takes entries, each a tar header and a way to its content, and writes a gzip layer:
//! one member, whatever the number of threads, so that every reader can read it. While it is
//! written its zTOC is made: the same, byte for byte, as [`index()`](crate::index()) finds in it
//! with the same [`SizeSpans`](sociable_policy::SizeSpans) (or any other planner whose answers
//! depend on nothing but the places at which it [asks to be asked](sociable_policy::Ask)).
//!
//! The bytes depend on the entries, the level and the planner; not on the number of threads, nor
//! on how contents arrive.
//!
//! [`pack_plain`] and [`pack_zstd`] make layers that are not gzip, where somebody wants them.
//!
//! [`pack_dir`] packs what a [`Walk`] finds. Others make their own entries: [`PackEntry`].
//! [`pack_tar`] takes a tar that exists, and leaves its bytes as they are.

mod deflate;
mod entry;
mod error;
mod levels;
mod order;
mod plain;
mod tar;

use std::io::{self, Read, Write};
use std::num::NonZero;

use bstr::{BStr, BString};
use sociable_flate::Deflater;
use sociable_policy::SpanPlanner;
use sociable_policy::compression::Levels;
use sociable_tar::{TarWriter, WriteError};
use sociable_ztoc::{Entry, GzipSpans, Sha256, Spans, Ztoc};

#[cfg(unix)]
use sociable_tar::{Walk, WalkEntry};

use crate::Limits;
use crate::table::{convert, described};
use deflate::{Compressed, Compressor, Settings};
use levels::FileLevels;

pub use entry::{PackEntry, SourceError};
pub use error::PackError;
pub use order::arranged;
pub use plain::{Unindexed, pack_plain, pack_zstd};
pub use tar::{PackedTar, pack_tar};

/// The level at which layers are compressed unless asked otherwise.
///
/// Measured on an EPYC with [`Deflater`] in pieces as they are here, one thread. Sizes are relative
/// to those of `gzip -6` (C zlib), CPU time is relative to that of `pigz -p1 -6`, whose sizes are
/// up to 0.3 % below gzip's.
///
/// | tar of 250 to 510 MB        | level 5      | **level 6**      | level 7      | zlib-rs's own 6 |
/// |-----------------------------|--------------|------------------|--------------|-----------------|
/// | `/usr/bin`, gcc             | +3.1 %, 0.35 | **+0.2 %, 0.67** | -0.3 %, 0.96 | +2.9 %, 0.48    |
/// | Python, docs, headers       | +0.8 %, 0.44 | **+0.4 %, 0.68** | -0.2 %, 0.97 | +0.5 %, 0.49    |
/// | Go's and Rust's libraries   | +1.8 %, 0.42 | **+0.6 %, 0.75** | -0.2 %, 0.97 | +1.6 %, 0.47    |
/// | google-cloud-sdk            | +1.7 %, 0.5  | **+0.3 %, 0.75** | -0.3 %, 1.01 | +1.4 %, 0.46    |
///
/// So level 6 stays within 1 % of `gzip -6` and is still faster than `pigz -6`, index included.
pub const DEFAULT_LEVEL: u8 = 6;

/// The level of a layer that somebody waits for: in a build, where the compressor is most of the time.
///
/// It takes two thirds of the time of [`DEFAULT_LEVEL`]. On the 1.4 GB of `cargo xtask bench --build`
/// its layers are 1.1 % larger than those that BuildKit itself makes (376.1 and 372.0 MB).
pub const BUILD_LEVEL: u8 = 5;

/// Most threads that compress, whatever the number of cores: with all of them packing takes some 50
/// MiB beyond the zTOC, and more would go beyond its bound of 64.
pub const MAX_JOBS: usize = 32;

/// How to pack.
pub struct PackOptions<'a> {
    /// Written into the zTOC.
    pub build_tool_identifier: BString,
    /// Written into the zTOC, in uncompressed bytes. The planner decides on the real spans.
    pub span_size: u64,
    /// Decides where spans begin.
    pub planner: &'a mut dyn SpanPlanner,
    /// 0 (stored) to 9 (smallest): see [`DEFAULT_LEVEL`] and [`Deflater::new`].
    pub level: u8,
    /// Decides about the levels of files; not asked by [`pack_tar`].
    pub levels: Option<&'a mut dyn Levels>,
    /// Threads that compress; 0 stands for one on each core. At most [`MAX_JOBS`] are started.
    pub jobs: usize,
    /// Bounds on entries and spans. There is none on the ratio: the content is the caller's own.
    pub limits: Limits,
    /// Return an index even where soci-snapshotter could not read it.
    pub allow_unreadable: bool,
    /// Called after each entry and whenever some of a content was read, on the caller's thread.
    pub progress: Option<&'a mut dyn FnMut(Progress)>,
}

/// How far packing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Entries whose header was written.
    pub entries: u64,
    /// Bytes of tar, headers included.
    pub bytes: u64,
}

/// A packed layer.
#[derive(Debug)]
pub struct Packed {
    /// Its table of contents.
    pub ztoc: Ztoc,
    /// SHA-256 of the blob.
    pub digest: Sha256,
    /// Size of the blob, in bytes.
    pub size: u64,
    /// SHA-256 of the tar.
    pub diff_id: Sha256,
    /// Size of the tar, in bytes: all of it, as the end-of-archive marker is its end.
    pub uncompressed_size: u64,
}

/// Packs entries, in the order in which they come, into a gzip layer written to `out`.
///
/// Reading (on the caller's thread), compressing, hashing and writing overlap. Memory does not depend
/// on the layer's size: beyond the zTOC it is some 10 MiB, and 1.5 MiB for each thread that compresses.
///
/// # Errors
/// [`PackError`]. What `out` got until then is no layer: it has no gzip trailer.
pub fn pack<E: PackEntry>(
    entries: impl IntoIterator<Item = Result<E, SourceError>>,
    out: impl Write + Send,
    options: PackOptions<'_>,
) -> Result<Packed, PackError> {
    let PackOptions {
        build_tool_identifier,
        span_size,
        planner,
        level,
        levels,
        jobs,
        limits,
        allow_unreadable,
        progress,
    } = options;
    let settings = settings(level, jobs, limits)?;
    let mut listing = Listing {
        levels: match levels {
            Some(levels) => Some(FileLevels::new(levels, level)?),
            None => None,
        },
        entries: Vec::new(),
        limit: limits.entries,
        progress,
    };
    let (size, compressed) = std::thread::scope(|scope| {
        let mut compressor = Compressor::start(scope, out, planner, settings)?;
        match listing.write(entries, &mut compressor) {
            Ok(size) => Ok((size, compressor.finish()?)),
            // The compressor alone knows why it takes no more.
            Err(PackError::Tar(WriteError::Sink(error))) => match compressor.finish() {
                Ok(_) => Err(PackError::Tar(WriteError::Sink(error))),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    })?;
    let (digest, blob_size, diff_id) = compressed.facts();
    let ztoc = compressed.ztoc(build_tool_identifier, span_size, listing.entries, size);
    if !allow_unreadable {
        ztoc.check()?;
    }
    Ok(Packed {
        ztoc,
        digest,
        size: blob_size,
        diff_id,
        uncompressed_size: size,
    })
}

/// How many threads compress.
fn threads(jobs: usize) -> usize {
    let jobs = match jobs {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        jobs => jobs,
    };
    jobs.min(MAX_JOBS)
}

/// Deflaters for so many threads.
fn settings(level: u8, jobs: usize, limits: Limits) -> Result<Settings, PackError> {
    let deflaters = (0..threads(jobs))
        .map(|_| Deflater::new(level).ok_or(PackError::Level(level)))
        .collect::<Result<_, _>>()?;
    Ok(Settings {
        deflaters,
        level,
        max_spans: limits.spans,
    })
}

impl Compressed {
    /// SHA-256 and size of the blob, and SHA-256 of the tar.
    fn facts(&self) -> (Sha256, u64, Sha256) {
        (self.digests.blob, self.digests.size, self.diff_id)
    }

    /// The table of contents of the blob.
    fn ztoc(
        self,
        build_tool_identifier: BString,
        span_size: u64,
        entries: Vec<Entry>,
        uncompressed_size: u64,
    ) -> Ztoc {
        Ztoc {
            build_tool_identifier,
            compressed_size: self.digests.size,
            uncompressed_size,
            entries,
            spans: Spans::Gzip(GzipSpans {
                span_size: i64::try_from(span_size).unwrap_or(i64::MAX),
                checkpoints: self.checkpoints,
                digests: self.digests.spans,
                first_is_implied: false,
            }),
        }
    }
}

/// Packs a directory as [`pack`] does. What an archive cannot hold (sockets) is left out and
/// reported to `skipped`: its name, and what it is.
///
/// # Errors
/// [`PackError`]. Whatever the walk cannot read ends it: a layer holds all or is none.
#[cfg(unix)]
pub fn pack_dir(
    walk: Walk,
    out: impl Write + Send,
    options: PackOptions<'_>,
    skipped: &mut dyn FnMut(&BStr, &'static str),
) -> Result<Packed, PackError> {
    pack(entries(walk, skipped), out, options)
}

/// What a walk finds, for [`pack`]. What an archive cannot hold is left out and reported to
/// `skipped`: its name, and what it is.
#[cfg(unix)]
pub fn entries(
    walk: Walk,
    mut skipped: impl FnMut(&BStr, &'static str),
) -> impl Iterator<Item = Result<WalkEntry, SourceError>> {
    use sociable_tar::walk::Found;
    walk.filter_map(move |found| match found {
        Ok(Found::Entry(entry)) => Some(Ok(*entry)),
        Ok(Found::Skipped { name, reason }) => {
            skipped(name.as_ref(), reason);
            None
        }
        Err(error) => Some(Err(error.into())),
    })
}

/// Writes the tar and keeps its table of contents.
struct Listing<'a> {
    levels: Option<FileLevels<'a>>,
    entries: Vec<Entry>,
    limit: usize,
    progress: Option<&'a mut dyn FnMut(Progress)>,
}

impl Listing<'_> {
    /// Writes all entries and the end marker; gives the tar's size.
    fn write<E: PackEntry>(
        &mut self,
        entries: impl IntoIterator<Item = Result<E, SourceError>>,
        out: &mut Compressor<'_, '_>,
    ) -> Result<u64, PackError> {
        let tells = out.wants_entries();
        let mut tar = TarWriter::new(out);
        for entry in entries {
            let entry = entry.map_err(PackError::Source)?;
            if self.entries.len() >= self.limit {
                return Err(PackError::Limit {
                    what: "entries",
                    limit: self.limit,
                });
            }
            let mut opened = None;
            let mut level = None;
            if let Some(levels) = &mut self.levels {
                let (chosen, looked_at) = levels.choose(entry.header(), || entry.open())?;
                (level, opened) = (Some(chosen), looked_at);
            }
            let (written, mut data) = tar.announced(entry.header(), |out, entry| {
                // A span that begins here ends the piece before at that piece's level.
                if tells {
                    out.entry(&described(entry))?;
                }
                level.map_or(Ok(()), |level| out.level(level))
            })?;
            let (offset, size) = (written.data_offset, written.stored_size);
            self.entries.push(convert(written, false)?);
            self.report(offset);
            // A file that was empty when it was listed is packed as it was.
            if size > 0 {
                let (begun, source) = match opened {
                    Some(opened) => opened,
                    None => (
                        io::Cursor::default(),
                        entry.open().map_err(PackError::Source)?,
                    ),
                };
                data.copy_from(&mut Reported {
                    source: begun.chain(source),
                    at: offset,
                    listing: self,
                })?;
            }
        }
        Ok(tar.finish()?.position())
    }

    fn report(&mut self, bytes: u64) {
        let entries = self.entries.len() as u64;
        if let Some(progress) = &mut self.progress {
            progress(Progress { entries, bytes });
        }
    }
}

/// A content being read, reported as it is.
struct Reported<'a, 'b, R> {
    source: R,
    at: u64,
    listing: &'a mut Listing<'b>,
}

impl<R: Read> Read for Reported<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.at += count as u64;
        self.listing.report(self.at);
        Ok(count)
    }
}
