//! Compression on all cores into one gzip member that can be entered at every span.
//!
//! ```text
//!            ┌▶ deflate ─┐
//!  tar ─▶ pieces ─▶ …   ─┼▶ collect in order ─▶ out
//!            └▶ deflate ─┘          ├─▶ SHA-256 of blob and spans
//!                                   └─▶ SHA-256 of the tar
//! ```
//!
//! The stream is cut into pieces of at most [`PIECE`] bytes. Each is compressed on its own, with
//! the 32 KiB before it as dictionary, and ends on a whole byte, with a block; put one after
//! another they are one deflate stream. The places of the pieces' ends depend on the planner alone,
//! so the bytes do not depend on the number of threads.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use sha2::Digest as _;
use sociable_flate::{DeflateError, Deflater, WINDOW_SIZE};
use sociable_policy::{Ask, Candidate, Entry, PolicyError, SpanPlanner};
use sociable_ztoc::{Checkpoint, Sha256, Window};

use super::PackError;
use crate::digests::{Cut, Digests, Hasher};
use crate::pool::Pool;

/// Largest piece compressed at once, uncompressed bytes. Twice that gives no smaller layers.
const PIECE: u64 = 256 * 1024;
/// A piece with the window before it.
const TEXT: usize = 256 * 1024 + WINDOW_SIZE;
/// A piece that did not shrink, in blocks.
const OUTPUT: usize = 257 * 1024;
/// Most pieces that are under way at once. Each needs some 550 KiB: 26 MiB in all.
const MAX_IN_FLIGHT: usize = 48;
/// Pieces waiting to be hashed for the diff ID.
const DIFF_QUEUE: usize = 4;
/// RFC 1952, section 2.3: gzip, deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// How to compress.
#[derive(Debug)]
pub(crate) struct Settings {
    /// One for each thread.
    pub(crate) deflaters: Vec<Deflater>,
    /// At which level to begin, 0 to 9.
    pub(crate) level: u8,
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
    level: u8,
    last: bool,
    done: Sender<Result<Done, DeflateError>>,
}

/// A compressed piece.
struct Done {
    output: Vec<u8>,
    checksum: crc32fast::Hasher,
}

/// A piece the collector waits for, in order.
struct Expected {
    done: Receiver<Result<Done, DeflateError>>,
    text: Text,
    /// A span begins at its end.
    cut: bool,
    /// The stream ends at its end.
    last: bool,
}

/// Why a piece was not taken.
#[derive(Debug)]
enum Refused {
    /// It would begin a span too many.
    Spans,
    /// The planner did not answer.
    Policy(PolicyError),
    /// Writing has failed; the collector knows why.
    Gone,
}

/// Takes the uncompressed stream, as [`Write`].
///
/// An error there says only that it is over: [`Compressor::finish`] says why. Dropped before that,
/// it leaves the compressed stream without an end.
pub(crate) struct Compressor<'scope, 'p> {
    planner: &'p mut dyn SpanPlanner,
    texts: Pool,
    /// The piece in the making, behind up to a window of what came before it.
    current: Vec<u8>,
    /// Where in `current` the piece starts.
    start: usize,
    /// Bytes of all pieces before the current one.
    offset: u64,
    last_cut: u64,
    /// Where the planner was asked last.
    asked_at: u64,
    /// When it wants to be asked again.
    ask: Ask,
    /// Length of `current` at which the piece ends.
    piece_end: usize,
    /// Of the piece in the making.
    level: u8,
    cuts: usize,
    max_spans: usize,
    /// Why nothing more is taken.
    refused: Option<Refused>,
    pieces: Sender<Piece>,
    expected: SyncSender<Expected>,
    collector: ScopedJoinHandle<'scope, Result<Compressed, PackError>>,
}

impl<'scope, 'p> Compressor<'scope, 'p> {
    /// Starts workers and collector in `scope`; compressed bytes go to `out`.
    ///
    /// # Errors
    /// [`PackError::Thread`].
    pub(crate) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        out: impl Write + Send + 'scope,
        planner: &'p mut dyn SpanPlanner,
        settings: Settings,
    ) -> Result<Self, PackError> {
        let ask = planner.start()?;
        let texts = Pool::default();
        let outputs = Pool::default();
        let (pieces, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut jobs = 0;
        for deflater in settings.deflaters {
            let queue = Arc::clone(&queue);
            let outputs = outputs.clone();
            let work = move || work(&queue, deflater, &outputs);
            match Builder::new().spawn_scoped(scope, work) {
                Ok(_) => jobs += 1,
                // Fewer are slower, no more.
                Err(_) if jobs > 0 => break,
                Err(error) => return Err(PackError::Thread(error)),
            }
        }
        // One piece is in the making, one is being collected, the rest wait or are compressed.
        let (expected, waiting) = sync_channel((jobs * 4).min(MAX_IN_FLIGHT));
        let collector = Builder::new()
            .spawn_scoped(scope, {
                let texts = texts.clone();
                move || collect(&waiting, out, &texts, outputs)
            })
            .map_err(PackError::Thread)?;
        let mut compressor = Self {
            planner,
            texts,
            current: Vec::new(),
            start: 0,
            offset: 0,
            last_cut: 0,
            asked_at: 0,
            ask,
            piece_end: 0,
            level: settings.level,
            cuts: 1,
            max_spans: settings.max_spans,
            refused: (settings.max_spans == 0).then_some(Refused::Spans),
            pieces,
            expected,
            collector,
        };
        compressor.plan(&[]);
        Ok(compressor)
    }

    /// Bytes taken so far.
    pub(crate) fn position(&self) -> u64 {
        self.offset + (self.current.len() - self.start) as u64
    }

    /// Where the planner wants to be asked next in any case.
    fn ask_at(&self) -> u64 {
        self.asked_at.saturating_add(self.ask.after.max(1))
    }

    /// Whether the planner wants to be told of [entries](Compressor::entry).
    pub(crate) fn wants_entries(&self) -> bool {
        self.planner.wants_entries()
    }

    /// What comes next is compressed at this level, 0 to 9. An error is like one of [`Write`].
    pub(crate) fn level(&mut self, level: u8) -> io::Result<()> {
        if level != self.level {
            if self.current.len() > self.start && self.refused.is_none() {
                let here = self.position();
                let is_end = self.current.len() >= self.piece_end && here >= self.ask_at();
                // Where the planner is to be asked, it is asked before.
                let ended = if is_end {
                    self.end_full_piece()
                } else {
                    self.end_piece(false, false)
                };
                if let Err(refused) = ended {
                    return self.refuse(refused);
                }
            }
            self.level = level;
        }
        Ok(())
    }

    /// The first header of an entry is what comes next. An error is like one of [`Write`].
    pub(crate) fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.try_entry(entry)
            .or_else(|refused| self.refuse(refused))
    }

    fn try_entry(&mut self, entry: &Entry<'_>) -> Result<(), Refused> {
        if self.refused.is_some() {
            return Err(Refused::Gone);
        }
        self.planner.entry(entry).map_err(Refused::Policy)?;
        let here = self.position();
        if here > self.asked_at && self.ask.at_entries && self.is_cut(here)? {
            return self.end_piece(true, false);
        }
        // The planner may want to be asked earlier than it did.
        let distance = usize::try_from(self.ask_at() - self.offset).unwrap_or(usize::MAX);
        self.piece_end = self.piece_end.min(self.start.saturating_add(distance));
        Ok(())
    }

    /// Asks whether a span begins at `here`. None does where the last has yielded nothing yet.
    fn is_cut(&mut self, here: u64) -> Result<bool, Refused> {
        let at = Candidate {
            compressed: 0,
            uncompressed: here,
            since_cut: here - self.last_cut,
            next: here,
            known: here,
        };
        let decision = self.planner.decide(&at).map_err(Refused::Policy)?;
        self.ask = decision.ask;
        self.asked_at = here;
        Ok(decision.cut && here > self.last_cut)
    }

    /// Sets where the next piece ends: evenly before the place where the planner is asked next.
    /// The piece is put behind a window, the end of `before`.
    fn plan(&mut self, before: &[u8]) {
        let distance = self.ask_at() - self.offset;
        let size = distance.div_ceil(distance.div_ceil(PIECE).max(1));
        let window = &before[before.len().saturating_sub(WINDOW_SIZE)..];
        self.start = window.len();
        self.piece_end = self.start + usize::try_from(size).unwrap_or(0);
        self.current = self.texts.take(TEXT);
        self.current.extend_from_slice(window);
    }

    /// Ends a piece that is as long as it shall be.
    fn end_full_piece(&mut self) -> Result<(), Refused> {
        let here = self.position();
        let cut = here >= self.ask_at() && self.is_cut(here)?;
        self.end_piece(cut, false)
    }

    /// Ends a piece, and with it a span (`cut`) or the stream (`last`).
    fn end_piece(&mut self, cut: bool, last: bool) -> Result<(), Refused> {
        let text = Text {
            bytes: Arc::new(std::mem::take(&mut self.current)),
            start: self.start,
        };
        self.offset += text.content().len() as u64;
        if cut {
            self.last_cut = self.offset;
            self.cuts += 1;
            if self.cuts > self.max_spans {
                return Err(Refused::Spans);
            }
        }
        let (sender, done) = channel();
        let piece = Piece {
            text: text.clone(),
            level: self.level,
            last,
            done: sender,
        };
        let expected = Expected {
            done,
            text: text.clone(),
            cut,
            last,
        };
        // Workers and collector are gone only after an error.
        self.pieces.send(piece).map_err(|_| Refused::Gone)?;
        self.expected.send(expected).map_err(|_| Refused::Gone)?;
        self.plan(&text.bytes);
        Ok(())
    }

    fn refuse(&mut self, refused: Refused) -> io::Result<()> {
        self.refused.get_or_insert(refused);
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// Ends the stream, unless it has failed before.
    ///
    /// # Errors
    /// What has failed: [`PackError::Limit`], [`PackError::Policy`], [`PackError::Write`], [`PackError::Worker`],
    /// [`PackError::Thread`].
    pub(crate) fn finish(mut self) -> Result<Compressed, PackError> {
        match self.refused.take() {
            Some(Refused::Spans) => {
                return Err(PackError::Limit {
                    what: "spans",
                    limit: self.max_spans,
                });
            }
            Some(Refused::Policy(error)) => return Err(error.into()),
            Some(Refused::Gone) => {}
            // When this is refused, the collector says why.
            None => {
                let _ = self.end_piece(false, true);
            }
        }
        drop(self.pieces);
        drop(self.expected);
        match self.collector.join() {
            Ok(collected) => collected,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Write for Compressor<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.refused.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // Only when something follows: an entry that begins here is told first, and nothing ends in an empty piece.
        if !bytes.is_empty()
            && self.current.len() >= self.piece_end
            && let Err(refused) = self.end_full_piece()
        {
            self.refuse(refused)?;
        }
        let room = self.piece_end - self.current.len();
        let taken = &bytes[..bytes.len().min(room)];
        self.current.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn work(queue: &Mutex<Receiver<Piece>>, mut deflater: Deflater, outputs: &Pool) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Piece {
            text,
            level,
            last,
            done,
        }) = next
        else {
            return;
        };
        let mut output = outputs.take(OUTPUT);
        deflater.set_level(level);
        let result = deflater
            .piece(text.window(), text.content(), last, &mut output)
            .map(|()| {
                let mut checksum = crc32fast::Hasher::new();
                checksum.update(text.content());
                Done { output, checksum }
            });
        // Whoever hashes it last shall own it.
        drop(text);
        // Nobody waits any more when writing has failed.
        let _ = done.send(result);
    }
}

/// Writes, and remembers how far it has come.
struct Out<W> {
    inner: W,
    written: u64,
}

impl<W: Write> Out<W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        let result = self.inner.write_all(bytes);
        self.check(result)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), PackError> {
        let result = self.inner.flush();
        self.check(result)
    }

    fn check(&self, result: io::Result<()>) -> Result<(), PackError> {
        result.map_err(|source| PackError::Write {
            offset: self.written,
            source,
        })
    }
}

/// Writes the pieces in order, with header and trailer.
fn collect(
    waiting: &Receiver<Expected>,
    out: impl Write,
    pool: &Pool,
    outputs: Pool,
) -> Result<Compressed, PackError> {
    let mut out = Out {
        inner: out,
        written: 0,
    };
    std::thread::scope(|scope| {
        let hasher = Hasher::start(scope, outputs).map_err(PackError::Thread)?;
        let (diff_sender, texts) = sync_channel::<Text>(DIFF_QUEUE);
        let diff = Builder::new()
            .spawn_scoped(scope, move || diff_id(&texts, pool))
            .map_err(PackError::Thread)?;
        let mut checksum = crc32fast::Hasher::new();
        let mut uncompressed = 0u64;
        let mut checkpoints = vec![Checkpoint {
            compressed: HEADER.len() as u64,
            uncompressed,
            bits: 0,
            window: Window::ending_with(&[]),
        }];
        out.put(&HEADER)?;
        let first = Cut {
            at: HEADER.len(),
            shares_byte: false,
        };
        hasher.chunk(HEADER.to_vec(), vec![first]);
        loop {
            // Nothing more is sent without a last piece when the tar has failed.
            let Ok(expected) = waiting.recv() else {
                return Err(PackError::Worker);
            };
            let Expected {
                done,
                text,
                cut,
                last,
            } = expected;
            let Ok(done) = done.recv() else {
                return Err(PackError::Worker);
            };
            let done = done?;
            out.put(&done.output)?;
            checksum.combine(&done.checksum);
            uncompressed += text.content().len() as u64;
            let mut cuts = Vec::new();
            if cut {
                cuts.push(Cut {
                    at: done.output.len(),
                    shares_byte: false,
                });
                checkpoints.push(Checkpoint {
                    compressed: out.written,
                    uncompressed,
                    bits: 0,
                    window: Window::ending_with(&text.bytes),
                });
            }
            hasher.chunk(done.output, cuts);
            // Fails only when the thread is gone, which joining it reports.
            let _ = diff_sender.send(text);
            if last {
                break;
            }
        }
        let mut trailer = checksum.finalize().to_le_bytes().to_vec();
        // RFC 1952, section 2.3.1: the length modulo 2^32.
        trailer.extend_from_slice(&uncompressed.to_le_bytes()[..4]);
        out.put(&trailer)?;
        out.flush()?;
        hasher.chunk(trailer, Vec::new());
        drop(diff_sender);
        let diff_id = diff
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Compressed {
            checkpoints,
            digests: hasher.finish(),
            diff_id,
        })
    })
}

fn diff_id(texts: &Receiver<Text>, pool: &Pool) -> Sha256 {
    let mut hasher = sha2::Sha256::new();
    for text in texts {
        hasher.update(text.content());
        if let Some(buffer) = Arc::into_inner(text.bytes) {
            pool.give(buffer);
        }
    }
    Sha256(hasher.finalize().into())
}
