//! Indexing of gzip layers: a walk through deflate's blocks.
//!
//! A span can begin where a block ends. Stopping at each costs a tenth of the time, so the walk
//! goes straight on until the planner [wants to be asked](sociable_policy::Ask), and from there
//! from block end to block end.
//!
//! A planner may [look ahead](SpanPlanner::look_ahead). Then block ends wait, with their windows, until enough of
//! what follows is known; and so do the chunks of the blob in which they lie.

use std::collections::VecDeque;
use std::io::Read;

use sociable_flate::{InflateError, Inflater, Step, Stop, WINDOW_SIZE};
use sociable_policy::span::MAX_LOOK_AHEAD;
use sociable_policy::{Ask, Candidate, SpanPlanner};
use sociable_ztoc::{Checkpoint, GzipSpans, Spans, Window, Ztoc};

use crate::digests::{Cut, DiffHasher, Hasher};
use crate::index::{IndexOptions, Indexed, read_ahead};
use crate::pool::Pool;
use crate::table::Table;
use crate::{IndexError, Limits};

/// Output collected before the window is moved to the front again.
const OUTPUT: usize = 512 * 1024;
/// Most block ends that wait for a decision: 2 MiB of windows.
const MAX_WAITING: usize = 64;
/// Block ends that wait lie at least so many uncompressed bytes apart: empty blocks, and tiny ones, are no places of their own.
const NEAREST: u64 = 4096;
/// Most chunks that are kept because a block end in them waits.
const MAX_HELD: usize = 4;

pub(crate) fn index(
    blob: impl Read + Send,
    options: IndexOptions<'_>,
) -> Result<Indexed, IndexError> {
    let inflater = Inflater::gzip().map_err(|source| IndexError::Inflate { offset: 0, source })?;
    std::thread::scope(|scope| {
        let (chunks_pool, output_pool) = (Pool::default(), Pool::default());
        // Everything that threads wait for is owned here, and gone before they are joined.
        let chunks = read_ahead(scope, blob, chunks_pool.clone())?;
        let hasher = Hasher::start(scope, chunks_pool).map_err(IndexError::Thread)?;
        let diff = if options.diff_id {
            Some(DiffHasher::start(scope, output_pool.clone()).map_err(IndexError::Thread)?)
        } else {
            None
        };
        let ask = options.planner.start()?;
        let look_ahead = options.planner.look_ahead();
        let mut walk = Walk {
            inflater,
            limits: options.limits,
            table: Table::new(
                options.limits,
                options.allow_unreadable,
                options.planner.wants_entries(),
            ),
            planner: options.planner,
            look_ahead: look_ahead.map(|bytes| bytes.min(MAX_LOOK_AHEAD)),
            output: vec![0; WINDOW_SIZE + OUTPUT],
            pool: output_pool,
            filled: WINDOW_SIZE,
            compressed: 0,
            uncompressed: 0,
            last_cut: 0,
            asked_at: 0,
            ask,
            waiting: VecDeque::new(),
            chunk: 0,
            cuts: VecDeque::new(),
            checkpoints: Vec::new(),
            state: State::Header { first: true },
            diff,
        };
        let mut held: VecDeque<Vec<u8>> = VecDeque::new();
        let mut done = 0;
        for chunk in &chunks {
            let chunk = chunk?;
            walk.chunk(&chunk)?;
            held.push_back(chunk);
            while done < walk.first_undecided() {
                let Some(chunk) = held.pop_front() else { break };
                hasher.chunk(chunk, walk.cuts_of(done));
                done += 1;
            }
        }
        walk.end()?;
        for chunk in held {
            hasher.chunk(chunk, walk.cuts_of(done));
            done += 1;
        }
        let (entries, uncompressed_size) = walk.table.finish()?;
        let rest = WINDOW_SIZE..walk.filled;
        let diff_id = walk.diff.map(|diff| diff.finish(walk.output, rest));
        let digests = hasher.finish();
        Ok(Indexed {
            ztoc: Ztoc {
                build_tool_identifier: options.build_tool_identifier,
                compressed_size: digests.size,
                uncompressed_size,
                entries,
                spans: Spans::Gzip(GzipSpans {
                    span_size: i64::try_from(options.span_size).unwrap_or(i64::MAX),
                    checkpoints: walk.checkpoints,
                    digests: digests.spans,
                    first_is_implied: false,
                }),
            },
            digest: digests.blob,
            size: digests.size,
            diff_id,
        })
    })
}

/// Where in the gzip stream the walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a member's header.
    Header { first: bool },
    /// Behind a member's header.
    Body,
    /// Behind a member; nothing of another one was seen yet.
    Between,
}

/// A block end about which the planner was not asked yet.
struct Waiting {
    checkpoint: Checkpoint,
    /// In which chunk it lies, and where.
    chunk: u64,
    cut: Cut,
}

struct Walk<'a, 'scope> {
    inflater: Inflater,
    planner: &'a mut dyn SpanPlanner,
    /// How far the planner looks ahead, if it does.
    look_ahead: Option<u64>,
    limits: Limits,
    table: Table,
    /// A window of what was put out before, then room for more.
    output: Vec<u8>,
    /// What is hashed gives its buffers back here.
    pool: Pool,
    /// How much of `output` is filled, at least a window.
    filled: usize,
    /// Blob bytes consumed.
    compressed: u64,
    /// Tar bytes put out.
    uncompressed: u64,
    last_cut: u64,
    /// Where the planner was asked last, in tar bytes.
    asked_at: u64,
    /// When it wants to be asked again.
    ask: Ask,
    /// Block ends in order; empty unless the planner looks ahead.
    waiting: VecDeque<Waiting>,
    /// Chunks walked through.
    chunk: u64,
    /// Where spans begin, and in which chunk, until it is hashed.
    cuts: VecDeque<(u64, Cut)>,
    checkpoints: Vec<Checkpoint>,
    state: State,
    diff: Option<DiffHasher<'scope>>,
}

impl Walk<'_, '_> {
    /// Walks through the next chunk of the blob.
    fn chunk(&mut self, chunk: &[u8]) -> Result<(), IndexError> {
        let mut position = 0;
        loop {
            if self.state == State::Between {
                if position == chunk.len() {
                    break;
                }
                self.inflater
                    .reset_gzip()
                    .map_err(|source| self.wrong(source))?;
                self.state = State::Header { first: false };
            }
            if self.filled == self.output.len() {
                self.make_room();
            }
            let room = self.room();
            let step = self
                .step(&chunk[position..], room)
                .map_err(|source| self.wrong(source))?;
            position += step.consumed;
            self.compressed += step.consumed as u64;
            let produced = self.filled..self.filled + step.produced;
            self.filled = produced.end;
            self.uncompressed += step.produced as u64;
            self.table.feed(&self.output[produced], self.compressed)?;
            for entry in self.table.untold() {
                self.planner.entry(&entry)?;
            }
            match step.stop {
                Stop::Block { bits, last } => {
                    self.state = State::Body;
                    if !last {
                        self.block_end(bits, position)?;
                    }
                }
                Stop::End => self.state = State::Between,
                Stop::Buffer => {
                    self.check_ratio()?;
                    // Room that was left means that zlib has nothing more to give.
                    if position == chunk.len() && step.produced < room {
                        break;
                    }
                }
            }
        }
        self.chunk += 1;
        while self.first_undecided() + (MAX_HELD as u64) < self.chunk {
            self.decide_first()?;
        }
        Ok(())
    }

    /// The first chunk in which a block end waits; the next one if none does.
    fn first_undecided(&self) -> u64 {
        self.waiting.front().map_or(self.chunk, |first| first.chunk)
    }

    /// The spans that begin in the next chunk, which has that number.
    fn cuts_of(&mut self, chunk: u64) -> Vec<Cut> {
        let mut cuts = Vec::new();
        while let Some((_, cut)) = self.cuts.pop_front_if(|(number, _)| *number == chunk) {
            cuts.push(cut);
        }
        cuts
    }

    /// Bytes of output that the next step may yield: until the output is full or, where it does not
    /// stop at blocks, until a byte before the place where it has to.
    fn room(&self) -> usize {
        let room = self.output.len() - self.filled;
        match self.distance() {
            0 => room,
            distance => usize::try_from(distance).map_or(room, |distance| room.min(distance)),
        }
    }

    /// How many bytes can go by before blocks matter. A block may end with the next byte after.
    fn distance(&self) -> u64 {
        let all = self.ask.at_entries || !self.waiting.is_empty();
        if self.state == State::Body && self.uncompressed > 0 && !all {
            self.ask_at().saturating_sub(self.uncompressed + 1)
        } else {
            0
        }
    }

    /// Tar bytes from which on the planner wants to be asked in any case.
    fn ask_at(&self) -> u64 {
        self.asked_at.saturating_add(self.ask.after.max(1))
    }

    fn step(&mut self, input: &[u8], room: usize) -> Result<Step, InflateError> {
        let blocks = self.distance() == 0;
        let output = &mut self.output[self.filled..self.filled + room];
        if blocks {
            self.inflater.step(input, output)
        } else {
            self.inflater.skip_blocks(input, output)
        }
    }

    /// Empties the output but for a window.
    fn make_room(&mut self) {
        let window = self.filled - WINDOW_SIZE..self.filled;
        if let Some(diff) = &self.diff {
            let mut next = self.pool.take(self.output.len());
            next.extend_from_slice(&self.output[window]);
            next.resize(self.output.len(), 0);
            let full = std::mem::replace(&mut self.output, next);
            diff.update(full, WINDOW_SIZE..self.filled);
        } else {
            self.output.copy_within(window, 0);
        }
        self.filled = WINDOW_SIZE;
    }

    /// A block ends here, so that a span could begin. The first one does in any case; none does where the last has yielded
    /// nothing yet, as every span must.
    fn block_end(&mut self, bits: u8, position: usize) -> Result<(), IndexError> {
        let here = self.uncompressed;
        let first = here == 0;
        if first || self.look_ahead.is_none() {
            if first || self.is_due(here) && self.decide(self.compressed, here, here, here)? {
                let waiting = self.waiting_here(bits, position);
                self.cut(waiting)?;
            }
            return Ok(());
        }
        let near =
            (self.waiting.back()).is_some_and(|last| here < last.checkpoint.uncompressed + NEAREST);
        if !near && (self.is_due(here) || !self.waiting.is_empty()) {
            let waiting = self.waiting_here(bits, position);
            self.waiting.push_back(waiting);
        }
        while self.can_decide() {
            self.decide_first()?;
        }
        Ok(())
    }

    fn waiting_here(&self, bits: u8, position: usize) -> Waiting {
        Waiting {
            checkpoint: Checkpoint {
                compressed: self.compressed,
                uncompressed: self.uncompressed,
                bits,
                window: Window::ending_with(&self.output[..self.filled]),
            },
            chunk: self.chunk,
            cut: Cut {
                at: position,
                shares_byte: bits != 0,
            },
        }
    }

    /// Whether the planner wants to be asked about a block end there.
    fn is_due(&self, uncompressed: u64) -> bool {
        uncompressed > self.last_cut
            && uncompressed > self.asked_at
            && (self.ask.at_entries || uncompressed >= self.ask_at())
    }

    /// Whether enough is known of what follows the first block end that waits.
    fn can_decide(&self) -> bool {
        let (Some(ahead), Some(first)) = (self.look_ahead, self.waiting.front()) else {
            return false;
        };
        let enough = first.checkpoint.uncompressed.saturating_add(ahead);
        self.waiting.len() > MAX_WAITING || self.waiting.len() > 1 && self.uncompressed >= enough
    }

    /// Asks about the first block end that waits, and drops those behind it that are of no interest then.
    fn decide_first(&mut self) -> Result<(), IndexError> {
        let Some(waiting) = self.waiting.pop_front() else {
            return Ok(());
        };
        let here = waiting.checkpoint.uncompressed;
        debug_assert!(self.is_due(here), "what is not due does not wait in front");
        // Where the stream ends, or is not known any farther, this is as far as it is known.
        let known = self.uncompressed;
        let next = self.waiting.front();
        let next = next.map_or(known, |next| next.checkpoint.uncompressed);
        if self.decide(waiting.checkpoint.compressed, here, next, known)? {
            self.cut(waiting)?;
        }
        while let Some(first) = self.waiting.front()
            && !self.is_due(first.checkpoint.uncompressed)
        {
            self.waiting.pop_front();
        }
        Ok(())
    }

    /// Asks about a block end.
    fn decide(
        &mut self,
        compressed: u64,
        uncompressed: u64,
        next: u64,
        known: u64,
    ) -> Result<bool, IndexError> {
        let decision = self.planner.decide(&Candidate {
            compressed,
            uncompressed,
            since_cut: uncompressed - self.last_cut,
            next,
            known,
        })?;
        self.ask = decision.ask;
        self.asked_at = uncompressed;
        Ok(decision.cut)
    }

    /// A span begins there.
    fn cut(&mut self, at: Waiting) -> Result<(), IndexError> {
        if self.checkpoints.len() >= self.limits.spans {
            return Err(IndexError::Limit {
                what: "spans",
                limit: self.limits.spans as u64,
                offset: at.checkpoint.compressed,
            });
        }
        self.last_cut = at.checkpoint.uncompressed;
        self.checkpoints.push(at.checkpoint);
        self.cuts.push_back((at.chunk, at.cut));
        Ok(())
    }

    fn check_ratio(&self) -> Result<(), IndexError> {
        let allowed = self.compressed.saturating_mul(self.limits.ratio);
        if self.uncompressed > allowed.max(self.limits.free_bytes) {
            return Err(IndexError::Limit {
                what: "uncompressed bytes for each compressed byte",
                limit: self.limits.ratio,
                offset: self.compressed,
            });
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), IndexError> {
        if self.state != State::Between {
            return Err(IndexError::Truncated {
                offset: self.compressed,
            });
        }
        while !self.waiting.is_empty() {
            self.decide_first()?;
        }
        Ok(())
    }

    fn wrong(&self, source: InflateError) -> IndexError {
        let offset = self.compressed;
        match source {
            InflateError::Data(why) if self.state == (State::Header { first: false }) => {
                IndexError::TrailingGarbage { offset, why }
            }
            source => IndexError::Inflate { offset, source },
        }
    }
}
