//! Indexing of gzip layers: a walk through deflate's blocks.
//!
//! A span can begin where a block ends. Stopping at each costs a tenth of the time, so the walk
//! goes straight on until the planner [wants to be asked](SpanPlanner::ask_after), and from there
//! from block end to block end.

use std::io::Read;

use sociable_flate::{InflateError, Inflater, Step, Stop, WINDOW_SIZE};
use sociable_policy::{Boundary, SpanPlanner};
use sociable_ztoc::{Checkpoint, GzipSpans, Spans, Window, Ztoc};

use crate::digests::{Cut, DiffHasher, Hasher};
use crate::index::{IndexOptions, Indexed, read_ahead};
use crate::pool::Pool;
use crate::table::Table;
use crate::{IndexError, Limits};

/// Output collected before the window is moved to the front again.
const OUTPUT: usize = 512 * 1024;

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
        let mut walk = Walk {
            inflater,
            planner: options.planner,
            limits: options.limits,
            table: Table::new(options.limits, options.allow_unreadable),
            output: vec![0; WINDOW_SIZE + OUTPUT],
            pool: output_pool,
            filled: WINDOW_SIZE,
            compressed: 0,
            uncompressed: 0,
            last_cut: 0,
            ask_at: 0,
            checkpoints: Vec::new(),
            state: State::Header { first: true },
            diff,
        };
        for chunk in &chunks {
            let chunk = chunk?;
            let cuts = walk.chunk(&chunk)?;
            hasher.chunk(chunk, cuts);
        }
        walk.end()?;
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

struct Walk<'a, 'scope> {
    inflater: Inflater,
    planner: &'a mut dyn SpanPlanner,
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
    /// Tar bytes before which no block end is of interest.
    ask_at: u64,
    checkpoints: Vec<Checkpoint>,
    state: State,
    diff: Option<DiffHasher<'scope>>,
}

impl Walk<'_, '_> {
    /// Walks through the next chunk of the blob; returns the spans that begin in it.
    fn chunk(&mut self, chunk: &[u8]) -> Result<Vec<Cut>, IndexError> {
        let mut cuts = Vec::new();
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
            match step.stop {
                Stop::Block { bits, last } => {
                    self.state = State::Body;
                    if !last && self.is_cut() {
                        self.checkpoint(bits)?;
                        cuts.push(Cut {
                            at: position,
                            shares_byte: bits != 0,
                        });
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
        Ok(cuts)
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
        if self.state == State::Body && self.uncompressed > 0 {
            self.ask_at.saturating_sub(self.uncompressed + 1)
        } else {
            0
        }
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

    /// Asks whether a span begins here. The first one does in any case; none does where the last
    /// has yielded nothing yet, as every span must.
    fn is_cut(&mut self) -> bool {
        let mut at = Boundary {
            compressed: self.compressed,
            uncompressed: self.uncompressed,
            since_cut: self.uncompressed - self.last_cut,
        };
        let cut = if at.uncompressed == 0 {
            true
        } else if at.since_cut == 0 || at.uncompressed < self.ask_at {
            return false;
        } else {
            self.planner.cut(&at)
        };
        if cut {
            at.since_cut = 0;
        }
        let distance = self.planner.ask_after(&at).max(1);
        self.ask_at = at.uncompressed.saturating_add(distance);
        cut
    }

    fn checkpoint(&mut self, bits: u8) -> Result<(), IndexError> {
        if self.checkpoints.len() >= self.limits.spans {
            return Err(IndexError::Limit {
                what: "spans",
                limit: self.limits.spans as u64,
                offset: self.compressed,
            });
        }
        self.last_cut = self.uncompressed;
        self.checkpoints.push(Checkpoint {
            compressed: self.compressed,
            uncompressed: self.uncompressed,
            bits,
            window: Window::ending_with(&self.output[..self.filled]),
        });
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

    fn end(&self) -> Result<(), IndexError> {
        if self.state == State::Between {
            Ok(())
        } else {
            Err(IndexError::Truncated {
                offset: self.compressed,
            })
        }
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
