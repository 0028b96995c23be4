//! Indexing of gzip layers: a walk from block end to block end.

use std::io::Read;
use std::sync::Arc;

use sha2::Digest as _;
use sociable_flate::{InflateError, Inflater, Stop, WINDOW_SIZE};
use sociable_policy::{Boundary, SpanPlanner};
use sociable_ztoc::{Checkpoint, GzipSpans, Sha256, Spans, Window, Ztoc};

use crate::digests::{Cut, Hasher};
use crate::index::{IndexOptions, Indexed, read_ahead};
use crate::table::Table;
use crate::{IndexError, Limits};

/// Output collected before the window is moved to the front again.
const OUTPUT: usize = 512 * 1024;

pub(crate) fn index(
    blob: impl Read + Send,
    options: IndexOptions<'_>,
) -> Result<Indexed, IndexError> {
    let mut walk = Walk {
        inflater: Inflater::gzip().map_err(|source| IndexError::Inflate { offset: 0, source })?,
        planner: options.planner,
        limits: options.limits,
        table: Table::new(options.limits, options.allow_unreadable),
        output: vec![0; WINDOW_SIZE + OUTPUT],
        filled: WINDOW_SIZE,
        compressed: 0,
        uncompressed: 0,
        last_cut: 0,
        checkpoints: Vec::new(),
        state: State::Header { first: true },
        diff_id: options.diff_id.then(sha2::Sha256::new),
    };
    let digests = std::thread::scope(|scope| {
        let chunks = read_ahead(scope, blob);
        let hasher = Hasher::start(scope);
        for chunk in &chunks {
            let chunk = chunk?;
            let cuts = walk.chunk(&chunk)?;
            hasher.chunk(Arc::clone(&chunk), cuts);
        }
        walk.end()?;
        Ok::<_, IndexError>(hasher.finish())
    })?;
    let (entries, uncompressed_size) = walk.table.finish()?;
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
        diff_id: walk.diff_id.map(|hasher| Sha256(hasher.finalize().into())),
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

struct Walk<'a> {
    inflater: Inflater,
    planner: &'a mut dyn SpanPlanner,
    limits: Limits,
    table: Table,
    /// A window of what was put out before, then room for more.
    output: Vec<u8>,
    /// How much of `output` is filled, at least a window.
    filled: usize,
    /// Blob bytes consumed.
    compressed: u64,
    /// Tar bytes put out.
    uncompressed: u64,
    last_cut: u64,
    checkpoints: Vec<Checkpoint>,
    state: State,
    diff_id: Option<sha2::Sha256>,
}

impl Walk<'_> {
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
                self.output.copy_within(self.filled - WINDOW_SIZE.., 0);
                self.filled = WINDOW_SIZE;
            }
            let step = self
                .inflater
                .step(&chunk[position..], &mut self.output[self.filled..])
                .map_err(|source| self.wrong(source))?;
            position += step.consumed;
            self.compressed += step.consumed as u64;
            let produced = self.filled..self.filled + step.produced;
            self.filled = produced.end;
            self.uncompressed += step.produced as u64;
            self.table
                .feed(&self.output[produced.clone()], self.compressed)?;
            if let Some(hasher) = &mut self.diff_id {
                hasher.update(&self.output[produced]);
            }
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
                    if position == chunk.len() && self.filled < self.output.len() {
                        break;
                    }
                }
            }
        }
        Ok(cuts)
    }

    /// Asks whether a span begins here. The first one does in any case.
    fn is_cut(&mut self) -> bool {
        self.uncompressed == 0
            || self.planner.cut(&Boundary {
                compressed: self.compressed,
                uncompressed: self.uncompressed,
                since_cut: self.uncompressed - self.last_cut,
            })
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
