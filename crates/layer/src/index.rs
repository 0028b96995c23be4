//! From a layer blob to its zTOC, in one read and one inflate.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bstr::BString;
use sociable_policy::SpanPlanner;
use sociable_ztoc::{Sha256, Ztoc};

use crate::pool::Pool;
use crate::{IndexError, Limits, gzip, uncompressed};

/// How a layer blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// gzip (RFC 1952), one member or several.
    Gzip,
    /// Not at all: a plain tar.
    Uncompressed,
}

/// How to index.
pub struct IndexOptions<'a> {
    /// Written into the zTOC.
    pub build_tool_identifier: BString,
    /// Written into the zTOC, and the size of a plain tar's spans, in uncompressed bytes.
    pub span_size: u64,
    /// Decides where the spans of a gzip layer begin.
    pub planner: &'a mut dyn SpanPlanner,
    /// Whether to hash the uncompressed bytes too.
    pub diff_id: bool,
    /// Return an index even where soci-snapshotter could not read it.
    pub allow_unreadable: bool,
    /// Bounds on what the layer may contain.
    pub limits: Limits,
}

/// An indexed layer.
#[derive(Debug)]
pub struct Indexed {
    /// Its table of contents.
    pub ztoc: Ztoc,
    /// SHA-256 of the blob as read. The caller compares it with what it expected.
    pub digest: Sha256,
    /// Size of the blob as read, in bytes.
    pub size: u64,
    /// SHA-256 of the uncompressed bytes, if asked for.
    pub diff_id: Option<Sha256>,
}

/// Bytes read at a time.
pub(crate) const CHUNK: usize = 256 * 1024;
/// Chunks read ahead.
const READ_AHEAD: usize = 8;

/// Indexes a layer.
///
/// Reading, inflating with tar parsing, and hashing run on a thread each and overlap. The blob is
/// read to its end.
///
/// # Errors
/// [`IndexError`]. Nothing of a wrong layer is returned; see [`IndexOptions::allow_unreadable`].
pub fn index(
    blob: impl Read + Send,
    compression: Compression,
    options: IndexOptions<'_>,
) -> Result<Indexed, IndexError> {
    let allow_unreadable = options.allow_unreadable;
    let indexed = match compression {
        Compression::Gzip => gzip::index(blob, options),
        Compression::Uncompressed => uncompressed::index(blob, &options),
    }?;
    if !allow_unreadable {
        indexed.ztoc.check()?;
    }
    Ok(indexed)
}

/// A chunk of a blob, or what kept it from being read.
pub(crate) type ChunkResult = Result<Vec<u8>, IndexError>;

/// The chunks of `blob`, read ahead on a thread of `scope` into buffers from `pool`.
pub(crate) fn read_ahead<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    blob: impl Read + Send + 'scope,
    pool: Pool,
) -> Result<Receiver<ChunkResult>, IndexError> {
    let (sender, receiver) = sync_channel(READ_AHEAD);
    std::thread::Builder::new()
        .spawn_scoped(scope, move || read_chunks(blob, &sender, &pool))
        .map_err(IndexError::Thread)?;
    Ok(receiver)
}

fn read_chunks(mut blob: impl Read, sender: &SyncSender<ChunkResult>, pool: &Pool) {
    let mut offset = 0;
    loop {
        let mut chunk = pool.take(CHUNK);
        let result = blob.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
        if let Err(source) = result {
            let _ = sender.send(Err(IndexError::Read { offset, source }));
            return;
        }
        offset += chunk.len() as u64;
        // The receiver stops listening when the layer turns out to be wrong.
        if chunk.is_empty() || sender.send(Ok(chunk)).is_err() {
            return;
        }
    }
}
