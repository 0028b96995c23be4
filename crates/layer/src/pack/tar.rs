//! From a tar that exists to a layer with its index.
//!
//! The tar's bytes go into the compressor as they are, so that the layer has the tar's digest as its diff ID; the
//! reader that [`index()`](crate::index()) uses lists its entries on the way.

use std::io::{self, Read, Write};

use sociable_ztoc::{Sha256, Ztoc};

use super::deflate::Compressor;
use super::{PackError, PackOptions, Progress, settings};
use crate::IndexError;
use crate::table::Table;

/// Bytes of tar read at a time.
const CHUNK: usize = 128 * 1024;

/// A tar that was packed.
#[derive(Debug)]
pub struct PackedTar {
    /// Its table of contents, or why there is none: the layer is whole all the same, and fit for an image that needs no
    /// index of it.
    pub ztoc: Result<Ztoc, IndexError>,
    /// SHA-256 of the blob.
    pub digest: Sha256,
    /// Size of the blob, in bytes.
    pub size: u64,
    /// SHA-256 of the tar as read. The caller compares it with what it expected.
    pub diff_id: Sha256,
    /// Size of the tar as read, in bytes, with whatever follows its end marker.
    pub tar_size: u64,
}

/// Packs a tar that exists, byte for byte, into a gzip layer written to `out`.
///
/// The zTOC is the one that [`index()`](crate::index()) finds in the layer with the same
/// [`SizeSpans`](sociable_policy::SizeSpans), and it is missing for the reasons for which that would fail. Threads and
/// memory are as for [`pack`](super::pack()), and the bytes depend on the tar, the level and the planner alone.
///
/// # Errors
/// [`PackError`]. What `out` got until then is no layer: it has no gzip trailer.
pub fn pack_tar(
    mut tar: impl Read,
    out: impl Write + Send,
    options: PackOptions<'_>,
) -> Result<PackedTar, PackError> {
    let PackOptions {
        build_tool_identifier,
        span_size,
        planner,
        level,
        levels: _,
        jobs,
        limits,
        allow_unreadable,
        mut progress,
    } = options;
    let settings = settings(level, jobs, limits)?;
    let mut listing = Listing {
        table: Table::new(limits, allow_unreadable, planner.wants_entries()),
        failed: None,
        read: 0,
        tells: planner.wants_entries(),
        held: Vec::new(),
        known: 0,
    };
    let mut report = |listing: &Listing| {
        if let Some(progress) = &mut progress {
            progress(Progress {
                entries: listing.table.len() as u64,
                bytes: listing.read,
            });
        }
    };
    let compressed = std::thread::scope(|scope| {
        let mut compressor = Compressor::start(scope, out, planner, settings)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = match tar.read(&mut chunk) {
                Ok(0) => {
                    // An error shows in what follows.
                    let _ = compressor.write_all(&listing.held);
                    return compressor.finish();
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let offset = listing.read;
                    return Err(PackError::Read { offset, source });
                }
            };
            let result = listing.pass(&chunk[..count], &mut compressor);
            report(&listing);
            if result.is_err() {
                // The compressor alone knows why it takes no more.
                return match compressor.finish() {
                    Ok(_) => Err(PackError::Worker),
                    Err(error) => Err(error),
                };
            }
        }
    })?;
    let tar_size = listing.read;
    let (digest, size, diff_id) = compressed.facts();
    let ztoc = listing.finish().and_then(|(entries, tar_end)| {
        let ztoc = compressed.ztoc(build_tool_identifier, span_size, entries, tar_end);
        if !allow_unreadable {
            ztoc.check()?;
        }
        Ok(ztoc)
    });
    Ok(PackedTar {
        ztoc,
        digest,
        size,
        diff_id,
        tar_size,
    })
}

/// Most bytes of headers that may come before one entry: all extensions that a reader takes, and more.
const MAX_HELD: usize = 8 << 20;

/// The table of contents in the making. That there is none to be had does not stop the packing.
struct Listing {
    table: Table,
    failed: Option<IndexError>,
    /// Bytes of tar read.
    read: u64,
    /// Whether the planner is told of entries.
    tells: bool,
    /// The beginning of an entry's headers, read but not passed on: the planner is told of an entry before its first
    /// byte is packed.
    held: Vec<u8>,
    /// Where the entries end that are known.
    known: u64,
}

impl Listing {
    /// Takes the next bytes and passes on what can be.
    fn pass(&mut self, bytes: &[u8], compressor: &mut Compressor<'_, '_>) -> io::Result<()> {
        self.feed(bytes);
        if !self.tells {
            return compressor.write_all(bytes);
        }
        let held = std::mem::take(&mut self.held);
        let whole;
        let mut rest = if held.is_empty() {
            bytes
        } else {
            whole = [&held[..], bytes].concat();
            &whole
        };
        let pass_until = |place: u64, rest: &mut &[u8], compressor: &mut Compressor<'_, '_>| {
            let count = place.saturating_sub(compressor.position());
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at(count);
            *rest = later;
            compressor.write_all(now)
        };
        for entry in self.table.untold() {
            pass_until(entry.header, &mut rest, compressor)?;
            compressor.entry(&entry)?;
            self.known = entry.end();
        }
        if self.failed.is_some() || self.table.is_done() {
            self.known = u64::MAX;
        }
        pass_until(self.known, &mut rest, compressor)?;
        self.held = rest.to_vec();
        if self.held.len() > MAX_HELD {
            let limit = MAX_HELD as u64;
            self.failed = Some(IndexError::Limit {
                what: "bytes of headers before one entry",
                limit,
                offset: self.read,
            });
        }
        Ok(())
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
        if self.failed.is_none() {
            self.failed = self.table.feed(bytes, self.read).err();
        }
    }

    fn finish(self) -> Result<(Vec<sociable_ztoc::Entry>, u64), IndexError> {
        self.failed.map_or_else(|| self.table.finish(), Err)
    }
}
