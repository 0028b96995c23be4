//! Random access: files of a layer through its zTOC.

use std::io::{self, Write};
use std::ops::Range;

use sha2::Digest as _;
use sociable_flate::{InflateError, Inflater, Stop};

use crate::{CheckError, Checkpoint, Entry, Sha256, Span, Spans, Ztoc};

/// Something that reads byte ranges of a layer blob: a file, a registry.
pub trait ReadRange {
    /// Fills `buffer` with the blob's bytes from `offset` on.
    ///
    /// # Errors
    /// Anything that keeps the buffer from being filled, the blob's end included.
    fn read_range(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl ReadRange for [u8] {
    fn read_range(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buffer.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl ReadRange for Vec<u8> {
    fn read_range(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_range(offset, buffer)
    }
}

#[cfg(unix)]
impl ReadRange for std::fs::File {
    fn read_range(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }
}

impl<R: ReadRange + ?Sized> ReadRange for &R {
    fn read_range(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_range(offset, buffer)
    }
}

impl<R: ReadRange + ?Sized> ReadRange for Box<R> {
    fn read_range(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_range(offset, buffer)
    }
}

/// What reading has cost so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Bytes of the blob fetched, the gzip header included.
    pub bytes: u64,
    /// Spans fetched.
    pub spans: u64,
    /// Ranges asked for.
    pub requests: u64,
}

/// Why a file could not be read through a zTOC.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The zTOC breaks a rule.
    #[error("the zTOC cannot be used: {0}")]
    Check(#[from] CheckError),
    /// A range could not be read.
    #[error("bytes {} to {} of the layer: {source}", .range.start, .range.end)]
    Range {
        /// Bytes of the blob.
        range: Range<u64>,
        /// What happened.
        source: io::Error,
    },
    /// The bytes before the first span are no gzip header.
    #[error("the layer's first {length} bytes are not a gzip header: {why}")]
    Header {
        /// How many bytes come before the first span.
        length: u64,
        /// What is wrong with them.
        why: String,
    },
    /// A span's bytes are not those that were indexed.
    #[error(
        "span {span} (bytes {} to {} of the layer) has digest {actual}, but the zTOC says {expected}: \
         the layer is damaged, or the zTOC belongs to another",
        .range.start, .range.end
    )]
    Digest {
        /// Number of the span, from 0.
        span: usize,
        /// Its bytes.
        range: Range<u64>,
        /// The zTOC's digest.
        expected: Sha256,
        /// The bytes' digest.
        actual: Sha256,
    },
    /// A span does not decompress from its checkpoint.
    #[error("span {span} does not decompress: {source}")]
    Inflate {
        /// Number of the span, from 0.
        span: usize,
        /// What is wrong.
        source: InflateError,
    },
    /// A span decompresses to less than the zTOC promises.
    #[error("span {span} ends {missing} bytes before what it should contain")]
    Short {
        /// Number of the span, from 0.
        span: usize,
        /// Bytes missing.
        missing: u64,
    },
    /// The bytes asked for are in no span.
    #[error("bytes {} to {} of the tar are in no span", .0.start, .0.end)]
    NoSpan(Range<u64>),
    /// The output could not be written.
    #[error("writing the content: {0}")]
    Write(#[source] io::Error),
}

/// Compressed bytes read at a time.
const CHUNK: usize = 256 * 1024;
/// Spans up to this many compressed bytes are fetched once and kept while they are read; larger
/// ones are fetched twice: to check them, then to use them.
const SPAN_IN_MEMORY: u64 = 32 << 20;

/// Reads a layer's content through its zTOC.
///
/// Only the spans that hold what is asked for are fetched, and nothing of a span is given out
/// before its digest was checked.
#[derive(Debug)]
pub struct LayerReader<'a, R> {
    ztoc: &'a Ztoc,
    blob: R,
    cost: Cost,
    /// The last span fetched, as small files often share one.
    kept: Option<(usize, Vec<u8>)>,
}

impl<'a, R: ReadRange> LayerReader<'a, R> {
    /// Starts reading: checks the zTOC, and the gzip header before the first span.
    ///
    /// # Errors
    /// [`ReadError::Check`], [`ReadError::Header`], [`ReadError::Range`].
    pub fn open(ztoc: &'a Ztoc, blob: R) -> Result<Self, ReadError> {
        ztoc.check()?;
        let mut reader = Self {
            ztoc,
            blob,
            cost: Cost::default(),
            kept: None,
        };
        if let Spans::Gzip(spans) = &ztoc.spans {
            let length = spans
                .checkpoints
                .first()
                .map_or(0, |first| first.compressed);
            reader.check_header(length)?;
        }
        Ok(reader)
    }

    /// What was fetched so far.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Writes the content of `entry` to `out`.
    ///
    /// # Errors
    /// [`ReadError`]; what was written before is a correct beginning of the file.
    pub fn copy_entry(&mut self, entry: &Entry, out: &mut dyn Write) -> Result<(), ReadError> {
        self.copy_range(entry.offset..entry.offset.saturating_add(entry.size), out)
    }

    /// Writes a range of the uncompressed tar to `out`.
    ///
    /// # Errors
    /// As [`LayerReader::copy_entry`].
    pub fn copy_range(&mut self, range: Range<u64>, out: &mut dyn Write) -> Result<(), ReadError> {
        let Range { mut start, end } = range;
        while start < end {
            let number = self.ztoc.span_of(start);
            let span = self
                .ztoc
                .span(number)
                .ok_or(ReadError::NoSpan(start..end))?;
            let is_last = number + 1 == self.ztoc.spans.len();
            let stop = if is_last {
                end
            } else {
                end.min(span.uncompressed.end)
            };
            if stop <= start || start < span.uncompressed.start {
                return Err(ReadError::NoSpan(start..end));
            }
            self.copy_from_span(number, &span, start..stop, out)?;
            start = stop;
        }
        Ok(())
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.cost.bytes += buffer.len() as u64;
        self.cost.requests += 1;
        self.blob
            .read_range(offset, buffer)
            .map_err(|source| ReadError::Range {
                range: offset..offset.saturating_add(buffer.len() as u64),
                source,
            })
    }

    fn check_header(&mut self, length: u64) -> Result<(), ReadError> {
        let wrong = |why: &str| ReadError::Header {
            length,
            why: why.to_owned(),
        };
        let mut inflater = Inflater::gzip().map_err(|error| wrong(&error.to_string()))?;
        let mut position = 0;
        let mut buffer = vec![0; CHUNK];
        while position < length {
            let part = usize::try_from(length - position)
                .unwrap_or(CHUNK)
                .min(CHUNK);
            self.read(position, &mut buffer[..part])?;
            position += part as u64;
            let step = inflater.step(&buffer[..part], &mut [0]);
            let step = step.map_err(|error| wrong(&error.to_string()))?;
            let at_end = position == length && step.consumed == part;
            match step.stop {
                Stop::Block { .. } if at_end && step.produced == 0 => return Ok(()),
                Stop::Buffer if step.consumed == part => {}
                _ => return Err(wrong("it ends earlier")),
            }
        }
        Err(wrong("it goes on"))
    }

    /// Fetches a span in chunks and checks its digest.
    fn fetch(&mut self, number: usize, span: &Span, keep: bool) -> Result<Vec<u8>, ReadError> {
        let mut hasher = sha2::Sha256::new();
        let range = span.compressed.clone();
        self.cost.spans += 1;
        let mut kept = Vec::new();
        if keep {
            // A span fits memory or is not kept: `SPAN_IN_MEMORY`.
            kept = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
            self.read(range.start, &mut kept)?;
            hasher.update(&kept);
        } else {
            let mut chunk = vec![0; CHUNK];
            let mut position = range.start;
            while position < range.end {
                let part = usize::try_from(range.end - position)
                    .unwrap_or(CHUNK)
                    .min(CHUNK);
                self.read(position, &mut chunk[..part])?;
                hasher.update(&chunk[..part]);
                position += part as u64;
            }
        }
        let actual = Sha256(hasher.finalize().into());
        if actual == span.digest {
            Ok(kept)
        } else {
            Err(ReadError::Digest {
                span: number,
                range,
                expected: span.digest,
                actual,
            })
        }
    }

    fn copy_from_span(
        &mut self,
        number: usize,
        span: &Span,
        wanted: Range<u64>,
        out: &mut dyn Write,
    ) -> Result<(), ReadError> {
        let in_memory = span.compressed.end - span.compressed.start <= SPAN_IN_MEMORY;
        let kept = match self.kept.take() {
            Some((kept_number, bytes)) if kept_number == number => Some(bytes),
            _ if in_memory => Some(self.fetch(number, span, true)?),
            _ => {
                self.fetch(number, span, false)?;
                None
            }
        };
        let ztoc = self.ztoc;
        let result = {
            let mut source = SpanSource {
                number,
                span,
                kept: kept.as_deref(),
                buffer: Vec::new(),
                buffered: 0..0,
                reader: self,
            };
            match &ztoc.spans {
                Spans::Gzip(spans) => source.inflate(&spans.checkpoints[number], wanted, out),
                Spans::Uncompressed(_) => source.copy(wanted, out),
            }
        };
        self.kept = kept.map(|bytes| (number, bytes));
        result
    }
}

/// The compressed bytes of one span whose digest was checked.
struct SpanSource<'r, 'a, R> {
    number: usize,
    span: &'r Span,
    kept: Option<&'r [u8]>,
    /// Where nothing is kept: the chunk read last, and its place in the blob.
    buffer: Vec<u8>,
    buffered: Range<u64>,
    reader: &'r mut LayerReader<'a, R>,
}

impl<R: ReadRange> SpanSource<'_, '_, R> {
    /// The blob's bytes from `position` on, at most a chunk; none at the span's end.
    fn chunk(&mut self, position: u64) -> Result<&[u8], ReadError> {
        let end = self.span.compressed.end;
        let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(kept) = self.kept {
            let from = index(position - self.span.compressed.start).min(kept.len());
            return Ok(&kept[from..]);
        }
        if !self.buffered.contains(&position) {
            let part = index(end.saturating_sub(position)).min(CHUNK);
            self.buffer.resize(part, 0);
            self.buffered = position..position + part as u64;
            self.reader.read(position, &mut self.buffer)?;
        }
        Ok(&self.buffer[index(position - self.buffered.start)..])
    }

    fn copy(&mut self, wanted: Range<u64>, out: &mut dyn Write) -> Result<(), ReadError> {
        let mut position = wanted.start;
        while position < wanted.end {
            let number = self.number;
            let chunk = self.chunk(position)?;
            if chunk.is_empty() {
                return Err(ReadError::Short {
                    span: number,
                    missing: wanted.end - position,
                });
            }
            let take = usize::try_from(wanted.end - position)
                .unwrap_or(CHUNK)
                .min(chunk.len());
            out.write_all(&chunk[..take]).map_err(ReadError::Write)?;
            position += take as u64;
        }
        Ok(())
    }

    fn inflate(
        &mut self,
        checkpoint: &Checkpoint,
        wanted: Range<u64>,
        out: &mut dyn Write,
    ) -> Result<(), ReadError> {
        let number = self.number;
        let wrong = |source| ReadError::Inflate {
            span: number,
            source,
        };
        let mut content = vec![0; CHUNK];
        let mut position = self.span.compressed.start;
        let mut first_byte = 0;
        if checkpoint.bits != 0 {
            first_byte = self.chunk(position)?.first().copied().unwrap_or(0);
            position += 1;
        }
        let window = checkpoint.window.bytes();
        let mut inflater = Inflater::resume(checkpoint.bits, first_byte, window).map_err(wrong)?;
        // The raw stream's trailer is not consumed by the inflater, those of later members are.
        let mut raw = true;
        let mut offset = checkpoint.uncompressed;
        while offset < wanted.end {
            let input = self.chunk(position)?;
            let input_was_empty = input.is_empty();
            let step = inflater.step(input, &mut content).map_err(wrong)?;
            position += step.consumed as u64;
            let produced = offset..offset + step.produced as u64;
            let from = wanted.start.clamp(produced.start, produced.end) - produced.start;
            let to = wanted.end.clamp(produced.start, produced.end) - produced.start;
            let range = usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
            out.write_all(&content[range]).map_err(ReadError::Write)?;
            offset = produced.end;
            if step.stop == Stop::End {
                if raw {
                    position = position.saturating_add(8).min(self.span.compressed.end);
                    raw = false;
                }
                inflater.reset_gzip().map_err(wrong)?;
            }
            let stuck = input_was_empty && step.produced == 0;
            if stuck && offset < wanted.end {
                return Err(ReadError::Short {
                    span: number,
                    missing: wanted.end - offset,
                });
            }
        }
        Ok(())
    }
}
