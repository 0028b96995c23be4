//! Digests, beside the threads that have the bytes: of a blob and each of its spans, of a tar.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use sha2::Digest as _;
use sociable_ztoc::Sha256;

use crate::pool::Pool;

/// Chunks waiting to be hashed: with 256 KiB each, at most 2 MiB.
const QUEUE: usize = 8;

/// A span's border within a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// The chunk's bytes up to here belong to the span before (or to what precedes the first).
    pub(crate) at: usize,
    /// The last byte before `at` belongs to the span that begins here, too.
    pub(crate) shares_byte: bool,
}

/// A chunk and the cuts in it.
type Message = (Vec<u8>, Vec<Cut>);

/// Hashes on a thread of its own.
pub(crate) struct Hasher<'scope> {
    sender: SyncSender<Message>,
    thread: ScopedJoinHandle<'scope, Digests>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Digests {
    /// SHA-256 of the whole blob.
    pub(crate) blob: Sha256,
    /// Size of the blob in bytes.
    pub(crate) size: u64,
    /// SHA-256 of each span.
    pub(crate) spans: Vec<Sha256>,
}

impl<'scope> Hasher<'scope> {
    /// Chunks go to `pool` when they are hashed.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(scope: &'scope Scope<'scope, '_>, pool: Pool) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = Builder::new().spawn_scoped(scope, move || hash(&receiver, &pool))?;
        Ok(Self { sender, thread })
    }

    /// Takes the next chunk of the blob and the cuts in it, rising.
    pub(crate) fn chunk(&self, chunk: Vec<u8>, cuts: Vec<Cut>) {
        // Fails only when the thread is gone, which `finish` reports.
        let _ = self.sender.send((chunk, cuts));
    }

    pub(crate) fn finish(self) -> Digests {
        drop(self.sender);
        match self.thread.join() {
            Ok(digests) => digests,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Buffers waiting to be hashed for a diff ID.
const DIFF_QUEUE: usize = 3;

/// Hashes a tar on a thread of its own.
pub(crate) struct DiffHasher<'scope> {
    sender: SyncSender<(Vec<u8>, Range<usize>)>,
    thread: ScopedJoinHandle<'scope, Sha256>,
}

impl<'scope> DiffHasher<'scope> {
    /// Buffers go to `pool` when they are hashed.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(scope: &'scope Scope<'scope, '_>, pool: Pool) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<(Vec<u8>, Range<usize>)>(DIFF_QUEUE);
        let thread = Builder::new().spawn_scoped(scope, move || {
            let mut hasher = sha2::Sha256::new();
            for (buffer, range) in receiver {
                hasher.update(&buffer[range]);
                pool.give(buffer);
            }
            Sha256(hasher.finalize().into())
        })?;
        Ok(Self { sender, thread })
    }

    /// Takes the next bytes of the tar.
    pub(crate) fn update(&self, buffer: Vec<u8>, range: Range<usize>) {
        // Fails only when the thread is gone, which `finish` reports.
        let _ = self.sender.send((buffer, range));
    }

    /// Takes the last bytes.
    pub(crate) fn finish(self, buffer: Vec<u8>, range: Range<usize>) -> Sha256 {
        self.update(buffer, range);
        drop(self.sender);
        match self.thread.join() {
            Ok(digest) => digest,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn hash(messages: &Receiver<Message>, pool: &Pool) -> Digests {
    let mut blob = sha2::Sha256::new();
    let mut size = 0;
    let mut spans = Vec::new();
    let mut span: Option<sha2::Sha256> = None;
    let mut last_byte = 0u8;
    for (chunk, cuts) in messages {
        size += chunk.len() as u64;
        blob.update(&chunk);
        let mut from = 0;
        for cut in cuts {
            if let Some(mut span) = span.take() {
                span.update(&chunk[from..cut.at]);
                spans.push(Sha256(span.finalize().into()));
            }
            let mut next = sha2::Sha256::new();
            if cut.shares_byte {
                next.update([cut
                    .at
                    .checked_sub(1)
                    .map_or(last_byte, |before| chunk[before])]);
            }
            span = Some(next);
            from = cut.at;
        }
        if let Some(span) = &mut span {
            span.update(&chunk[from..]);
        }
        last_byte = chunk.last().copied().unwrap_or(last_byte);
        pool.give(chunk);
    }
    if let Some(span) = span {
        spans.push(Sha256(span.finalize().into()));
    }
    Digests {
        blob: Sha256(blob.finalize().into()),
        size,
        spans,
    }
}
