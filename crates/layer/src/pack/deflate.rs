//! Compression on all cores into one gzip member that can be entered at every span.
//!
//! The stream is cut into pieces of at most [`PIECE`] bytes. Each is compressed on its own, with
//! the 32 KiB before it as dictionary, and ends on a whole byte; put one after another they are
//! one deflate stream. The places of the pieces' ends depend on the planner alone, so the bytes do
//! not depend on the number of threads.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use sha2::Digest as _;
use sociable_flate::{Deflater, PieceEnd, WINDOW_SIZE};
use sociable_policy::{Boundary, SpanPlanner};
use sociable_ztoc::{Checkpoint, Sha256, Window};

use crate::digests::{Cut, Digests, Hasher};

/// Largest piece compressed at once, uncompressed bytes.
const PIECE: u64 = 512 * 1024;
/// Most pieces under way at once: with their output some 1 MiB each.
const MAX_IN_FLIGHT: usize = 40;
/// RFC 1952, section 2.3: gzip, deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// How to compress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) level: u8,
    pub(crate) jobs: usize,
    pub(crate) max_spans: usize,
}

/// What became of the stream.
#[derive(Debug)]
pub(crate) struct Compressed {
    pub(crate) checkpoints: Vec<Checkpoint>,
    pub(crate) digests: Digests,
    pub(crate) diff_id: Sha256,
}

/// A part of the uncompressed stream, with up to a window of what came before it.
#[derive(Clone)]
struct Text {
    bytes: Arc<Vec<u8>>,
    start: usize,
}

impl Text {
    fn window(&self) -> &[u8] {
        &self.bytes[..self.start]
    }

    fn content(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// A piece on its way to a worker.
struct Piece {
    text: Text,
    last: bool,
    done: Sender<Done>,
}

/// A compressed piece.
struct Done {
    output: Vec<u8>,
    end: PieceEnd,
    checksum: crc32fast::Hasher,
}

/// A piece the collector waits for, in order.
struct Expected {
    done: Receiver<Done>,
    text: Text,
    /// A span begins at its end.
    cut: bool,
}

/// Takes the uncompressed stream, as [`Write`].
pub(crate) struct Compressor<'scope, 'p> {
    planner: &'p mut dyn SpanPlanner,
    /// The piece in the making, behind up to a window of what came before it.
    current: Vec<u8>,
    /// Where in `current` the piece starts.
    start: usize,
    /// Bytes of all pieces before the current one.
    offset: u64,
    last_cut: u64,
    /// Where the planner wants to be asked next.
    ask_at: u64,
    /// Length of `current` at which the piece ends.
    piece_end: usize,
    cuts: usize,
    max_spans: usize,
    pieces: Sender<Piece>,
    expected: SyncSender<Expected>,
    collector: ScopedJoinHandle<'scope, io::Result<Compressed>>,
}

impl<'scope, 'p> Compressor<'scope, 'p> {
    /// Starts workers and collector in `scope`; compressed bytes go to `out`.
    pub(crate) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        out: impl Write + Send + 'scope,
        planner: &'p mut dyn SpanPlanner,
        settings: Settings,
    ) -> Self {
        let jobs = settings.jobs.max(1);
        let (pieces, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..jobs {
            let queue = Arc::clone(&queue);
            scope.spawn(move || work(&queue, settings.level));
        }
        // One piece is in the making, one is being collected, the rest wait or are compressed.
        let (expected, waiting) = sync_channel((jobs * 2).min(MAX_IN_FLIGHT));
        let collector = scope.spawn(move || collect(&waiting, out));
        let mut compressor = Self {
            planner,
            current: Vec::new(),
            start: 0,
            offset: 0,
            last_cut: 0,
            ask_at: 0,
            piece_end: 0,
            cuts: 1,
            max_spans: settings.max_spans,
            pieces,
            expected,
            collector,
        };
        compressor.plan(&[]);
        compressor
    }

    fn boundary(&self) -> Boundary {
        Boundary {
            compressed: 0,
            uncompressed: self.offset,
            since_cut: self.offset - self.last_cut,
        }
    }

    /// Sets where the planner is asked next and, evenly before that, where the next piece ends.
    /// The piece is put behind a window, the end of `before`.
    fn plan(&mut self, before: &[u8]) {
        let at = self.boundary();
        if self.ask_at <= self.offset {
            self.ask_at = self.offset.saturating_add(self.planner.ask_after(&at).max(1));
        }
        let distance = self.ask_at - self.offset;
        let size = distance.div_ceil(distance.div_ceil(PIECE));
        let window = &before[before.len().saturating_sub(WINDOW_SIZE)..];
        self.start = window.len();
        self.piece_end = self.start + usize::try_from(size).unwrap_or(0);
        self.current = Vec::with_capacity(self.piece_end);
        self.current.extend_from_slice(window);
    }

    fn end_piece(&mut self, last: bool) -> io::Result<()> {
        let text = Text { bytes: Arc::new(std::mem::take(&mut self.current)), start: self.start };
        self.offset += text.content().len() as u64;
        let mut cut = false;
        if !last && self.offset >= self.ask_at {
            cut = self.planner.cut(&self.boundary());
        }
        if cut {
            self.last_cut = self.offset;
            self.cuts += 1;
            if self.cuts > self.max_spans {
                return Err(io::Error::other(format!(
                    "the layer has more than {} spans: use a larger span size",
                    self.max_spans
                )));
            }
        }
        let (sender, done) = channel();
        // Workers and collector are gone only after an error, which `finish` reports.
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.send(Piece { text: text.clone(), last, done: sender }).map_err(|_| gone())?;
        self.expected.send(Expected { done, text: text.clone(), cut }).map_err(|_| gone())?;
        self.plan(&text.bytes);
        Ok(())
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// What writing the compressed bytes reported.
    pub(crate) fn finish(mut self) -> io::Result<Compressed> {
        let result = self.end_piece(true);
        drop(self.pieces);
        drop(self.expected);
        match self.collector.join() {
            Ok(collected) => collected.and_then(|compressed| result.map(|()| compressed)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Write for Compressor<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.piece_end - self.current.len();
        let taken = &bytes[..bytes.len().min(room)];
        self.current.extend_from_slice(taken);
        if self.current.len() == self.piece_end {
            self.end_piece(false)?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn work(queue: &Mutex<Receiver<Piece>>, level: u8) {
    let Some(mut deflater) = Deflater::new(level) else { return };
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(piece) = next else { return };
        let mut output = Vec::new();
        let end = deflater.piece(piece.text.window(), piece.text.content(), piece.last, &mut output);
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(piece.text.content());
        // Nobody waits any more when writing has failed.
        let _ = piece.done.send(Done { output, end, checksum });
    }
}

fn collect(waiting: &Receiver<Expected>, mut out: impl Write) -> io::Result<Compressed> {
    std::thread::scope(|scope| {
        let hasher = Hasher::start(scope);
        let (diff_sender, diff_receiver) = sync_channel::<Text>(4);
        let diff = scope.spawn(move || {
            let mut hasher = sha2::Sha256::new();
            for text in diff_receiver {
                hasher.update(text.content());
            }
            Sha256(hasher.finalize().into())
        });
        let mut checksum = crc32fast::Hasher::new();
        let (mut compressed, mut uncompressed) = (HEADER.len() as u64, 0u64);
        let mut checkpoints = vec![Checkpoint {
            compressed,
            uncompressed,
            bits: 0,
            window: Window::ending_with(&[]),
        }];
        out.write_all(&HEADER)?;
        let first = Cut { at: HEADER.len(), shares_byte: false };
        hasher.chunk(Arc::new(HEADER.to_vec()), vec![first]);
        for Expected { done, text, cut } in waiting {
            let Ok(done) = done.recv() else {
                return Err(io::Error::from(io::ErrorKind::OutOfMemory));
            };
            out.write_all(&done.output)?;
            checksum.combine(&done.checksum);
            uncompressed += text.content().len() as u64;
            let mut cuts = Vec::new();
            if cut {
                let PieceEnd { bytes: at, bits } = done.end;
                cuts.push(Cut { at, shares_byte: bits != 0 });
                checkpoints.push(Checkpoint {
                    compressed: compressed + at as u64,
                    uncompressed,
                    bits,
                    window: Window::ending_with(&text.bytes),
                });
            }
            compressed += done.output.len() as u64;
            hasher.chunk(Arc::new(done.output), cuts);
            let _ = diff_sender.send(text);
        }
        let mut trailer = checksum.finalize().to_le_bytes().to_vec();
        // RFC 1952: the length modulo 2^32.
        trailer.extend_from_slice(&(uncompressed as u32).to_le_bytes());
        out.write_all(&trailer)?;
        out.flush()?;
        hasher.chunk(Arc::new(trailer), Vec::new());
        drop(diff_sender);
        let diff_id = diff.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Compressed { checkpoints, digests: hasher.finish(), diff_id })
    })
}
