//! Compression of one piece of a longer deflate stream.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use libz_rs_sys::{
    Z_BLOCK, Z_BUF_ERROR, Z_DEFAULT_STRATEGY, Z_DEFLATED, Z_FINISH, Z_OK, Z_STREAM_END,
    Z_SYNC_FLUSH, deflate, deflateEnd, deflateInit2_, deflatePending, deflateSetDictionary,
    deflateTune, z_stream, zlibVersion,
};

use crate::WINDOW_SIZE;

/// Where a piece's last data block ended within the piece's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceEnd {
    /// Whole or begun compressed bytes up to the end of the last data block.
    pub bytes: usize,
    /// Bits of the last of those bytes that are not used by the block, 0 to 7: they belong to the
    /// empty stored block that fills the piece up to a whole byte.
    pub bits: u8,
}

/// Why a piece could not be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeflateError {
    /// No memory for the compressor's state (about 370 KiB).
    #[error("out of memory")]
    Memory,
}

/// A compressor for pieces of one deflate stream.
///
/// Every piece ends on a whole byte, so that pieces compressed apart can be put one after another.
/// The same bytes, dictionary and level give the same output, whatever was compressed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflater {
    level: u8,
}

/// How hard zlib looks for matches, as `deflateTune` takes it.
#[derive(Debug, Clone, Copy)]
struct Tuning {
    /// Look less hard once a match is so long.
    good: c_int,
    /// Look no further for a better match at the next byte if this one is so long.
    lazy: c_int,
    /// Stop at a match so long.
    nice: c_int,
    /// Most places to look at.
    chain: c_int,
}

/// One way to look for matches: a level of zlib-rs, and what is changed about it.
type Way = (c_int, Option<Tuning>);

/// The ways for one of our levels; where there are two, a sample of each piece decides.
///
/// zlib-rs finds no matches of three bytes below level 9, which costs up to 3 % in programs and
/// libraries; in texts full of numbers those of level 9 do harm, since it takes them however far
/// away they are (C zlib does not). So our levels 6 to 8 are its level 9 with less effort (the
/// numbers are C zlib's for these levels, but for shorter chains), or its level of that number.
fn ways(level: u8) -> (Way, Option<Way>) {
    let own = (c_int::from(level), None);
    let (good, lazy, nice, chain) = match level {
        6 => (8, 16, 128, 48),
        7 => (8, 32, 128, 128),
        8 => (32, 64, 258, 512),
        _ => return (own, None),
    };
    let tuning = Tuning {
        good,
        lazy,
        nice,
        chain,
    };
    ((9, Some(tuning)), Some(own))
}

impl Deflater {
    /// A compressor of level 0 (stored) to 9 (smallest). `None` when the level does not exist.
    ///
    /// Level 6 compresses as well as C zlib's level 6, within 1 %, in two thirds of its time. Lower
    /// levels are zlib-rs's own: level 5 takes half of level 6's time for layers up to 3 % larger.
    #[must_use]
    pub fn new(level: u8) -> Option<Self> {
        (level <= 9).then_some(Self { level })
    }

    /// Appends `input`, compressed, to `out`. `dictionary` is the uncompressed stream before it
    /// (its last [`WINDOW_SIZE`] bytes are used). Where `last` is set the stream ends here, else
    /// an empty stored block fills the output up to a whole byte.
    ///
    /// A piece whose bytes are as good as random is stored when a sample of it does not shrink.
    ///
    /// # Errors
    /// [`DeflateError::Memory`].
    pub fn piece(
        self,
        dictionary: &[u8],
        input: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<PieceEnd, DeflateError> {
        // What follows a beginning that is no noise is compressed without a look at it.
        if input.len() >= 2 * SAMPLE && is_noise(&input[..SAMPLE]) && is_noise(input) {
            let (way, _) = ways(self.level);
            let shrunk = SAMPLE.saturating_sub(size(way, dictionary, &input[..SAMPLE], out)?);
            if shrunk < SAMPLE / 100 {
                return Ok(store(input, last, out));
            }
        }
        let way = match ways(self.level) {
            (first, Some(second)) if input.len() >= 2 * SAMPLE => {
                // In the middle: pieces of a tar often begin with a header.
                let start = (input.len() - SAMPLE) / 2;
                let before = &input[start.saturating_sub(WINDOW_SIZE)..start];
                let sample = &input[start..start + SAMPLE];
                let second_is_better =
                    size(second, before, sample, out)? < size(first, before, sample, out)?;
                if second_is_better { second } else { first }
            }
            (only, _) => only,
        };
        Ok(Stream::new(way)?.piece(dictionary, input, last, out))
    }
}

/// How many bytes `input` would take; `out` is room to find out.
fn size(
    way: Way,
    dictionary: &[u8],
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<usize, DeflateError> {
    let start = out.len();
    Stream::new(way)?.piece(dictionary, input, true, out);
    let size = out.len() - start;
    out.truncate(start);
    Ok(size)
}

/// zlib's state for one piece.
///
/// It is not used for another: zlib-rs looks at a few bytes behind the end of what it was given,
/// which after a reset are an earlier piece's and change what it puts out.
struct Stream(Box<z_stream>);

#[allow(
    unsafe_code,
    reason = "calls of zlib's C interface, each with its reason"
)]
impl Stream {
    fn new((level, tuning): Way) -> Result<Self, DeflateError> {
        // SAFETY: an all-zero `z_stream` is zlib's documented way to ask for default allocators.
        let stream: z_stream = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut stream = Self(Box::new(stream));
        let size = c_int::try_from(size_of::<z_stream>()).unwrap_or(c_int::MAX);
        // SAFETY: the stream is valid for writes; version and size are this build's own.
        let code = unsafe {
            deflateInit2_(
                &raw mut *stream.0,
                level,
                Z_DEFLATED,
                -15, // raw deflate, 32 KiB window
                8,   // zlib's default memory level
                Z_DEFAULT_STRATEGY,
                zlibVersion(),
                size,
            )
        };
        if code != Z_OK {
            return Err(DeflateError::Memory);
        }
        if let Some(t) = tuning {
            // SAFETY: the stream was initialised.
            unsafe { deflateTune(&raw mut *stream.0, t.good, t.lazy, t.nice, t.chain) };
        }
        Ok(stream)
    }

    fn piece(mut self, dictionary: &[u8], input: &[u8], last: bool, out: &mut Vec<u8>) -> PieceEnd {
        let start = out.len();
        let dictionary = &dictionary[dictionary.len().saturating_sub(WINDOW_SIZE)..];
        if !dictionary.is_empty() {
            let length = u32::try_from(dictionary.len()).unwrap_or(0);
            // SAFETY: as above; the pointer is valid for `length` bytes during the call.
            unsafe {
                deflateSetDictionary(&raw mut *self.0, dictionary.as_ptr(), length);
            }
        }
        let mut rest = input;
        while rest.len() > u32::MAX as usize {
            let (head, tail) = rest.split_at(1 << 30);
            self.run(head, libz_rs_sys::Z_NO_FLUSH, out);
            rest = tail;
        }
        if last {
            self.run(rest, Z_FINISH, out);
            return PieceEnd {
                bytes: out.len() - start,
                bits: 0,
            };
        }
        self.run(rest, Z_BLOCK, out);
        let (mut pending, mut bits): (u32, c_int) = (0, 0);
        // SAFETY: the stream was initialised, both targets are valid for writes.
        unsafe { deflatePending(&raw mut *self.0, &raw mut pending, &raw mut bits) };
        debug_assert_eq!(pending, 0, "the block was flushed");
        let used = u8::try_from(bits).unwrap_or(0);
        let end = PieceEnd {
            bytes: out.len() - start + usize::from(used > 0),
            bits: (8 - used) % 8,
        };
        self.run(&[], Z_SYNC_FLUSH, out);
        end
    }

    /// Gives zlib all of `input` (under 4 GiB) and collects what it puts out.
    fn run(&mut self, input: &[u8], flush: c_int, out: &mut Vec<u8>) {
        self.0.next_in = input.as_ptr();
        self.0.avail_in = u32::try_from(input.len()).unwrap_or(u32::MAX);
        loop {
            let start = out.len();
            // All the room there is; else little, as little is missing or much is to come.
            let spare = out.capacity() - start;
            let room = if spare < 64 { 16 * 1024 } else { spare };
            out.resize(start + room, 0);
            let room = out.len() - start;
            self.0.next_out = out[start..].as_mut_ptr();
            self.0.avail_out = u32::try_from(room).unwrap_or(u32::MAX);
            // SAFETY: the stream was initialised, and both buffers are valid for their lengths.
            let code = unsafe { deflate(&raw mut *self.0, flush) };
            let left = self.0.avail_out as usize;
            out.truncate(out.len() - left);
            // zlib.h: done when output space is left over after a flush, or the stream ended.
            if code == Z_STREAM_END || code == Z_BUF_ERROR || (left > 0 && flush != Z_FINISH) {
                break;
            }
        }
        self.0.next_in = std::ptr::null();
        self.0.next_out = std::ptr::null_mut();
    }
}

/// Bytes of a piece that are compressed to see how it is compressed best.
const SAMPLE: usize = 16 * 1024;

/// Whether bytes are so evenly spread that a Huffman code could save no more than half a percent:
/// as those of files that are compressed already.
fn is_noise(bytes: &[u8]) -> bool {
    let mut counts = [0u64; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    // Even bytes have a sum of squares of a 256th of the total's square; 1.05 of it is an entropy
    // of some 7.96 bits a byte.
    let squares: u128 = counts
        .iter()
        .map(|&count| u128::from(count) * u128::from(count))
        .sum();
    let total = bytes.len() as u128;
    squares * 256 * 100 <= total * total * 105
}

/// Appends `input` in stored blocks (RFC 1951, section 3.2.4).
fn store(input: &[u8], last: bool, out: &mut Vec<u8>) -> PieceEnd {
    let start = out.len();
    let mut blocks = input.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(last && blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    PieceEnd {
        bytes: out.len() - start,
        bits: 0,
    }
}

#[allow(unsafe_code, reason = "the one call that frees zlib's state")]
impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the stream is owned; `deflateEnd` copes with one whose initialisation failed.
        unsafe { deflateEnd(&raw mut *self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inflate::{Inflater, Stop};

    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        (0..length)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if i % 7 < 4 {
                    b"abcdefghijklm"[i % 13]
                } else {
                    state.to_be_bytes()[0] & 0x1f
                }
            })
            .collect()
    }

    /// Every piece's end is a place where decompression can start.
    #[test]
    fn pieces_join_and_each_end_is_an_entry_point() {
        let text = sample(700_001);
        for level in 0..=9 {
            let deflater = Deflater::new(level).unwrap();
            let (mut stream, mut ends) = (Vec::new(), Vec::new());
            let cuts = [0, 1, 1000, 100_000, 100_001, 400_000, text.len()];
            for pair in cuts.windows(2) {
                let base = stream.len();
                let end = deflater.piece(
                    &text[..pair[0]],
                    &text[pair[0]..pair[1]],
                    pair[1] == text.len(),
                    &mut stream,
                );
                let end = end.unwrap();
                ends.push((pair[1], base + end.bytes, end.bits));
            }
            for &(out, bytes, bits) in ends.iter().take(ends.len() - 1) {
                let window = &text[out.saturating_sub(WINDOW_SIZE)..out];
                let mut inflater = Inflater::resume(bits, stream[bytes - 1], window).unwrap();
                let (mut from, mut got) = (bytes, Vec::new());
                loop {
                    let mut buffer = vec![0; 70_000];
                    let step = inflater.step(&stream[from..], &mut buffer).unwrap();
                    from += step.consumed;
                    got.extend_from_slice(&buffer[..step.produced]);
                    if step.stop == Stop::End {
                        break;
                    }
                }
                assert!(got == text[out..], "level {level}, entered at {out}");
            }
        }
    }

    /// zlib-rs alone fails here at levels 1 to 5, if its state is reset and used again.
    #[test]
    fn what_was_compressed_before_makes_no_difference() {
        let text = sample(3_000_000);
        for level in 0..=9 {
            let deflater = Deflater::new(level).unwrap();
            let pieces = |skipped: usize| -> Vec<Vec<u8>> {
                let starts = (0..text.len() - 40_000).step_by(40_000).skip(skipped);
                starts
                    .map(|start| {
                        let mut out = Vec::new();
                        let input = &text[start..start + 40_000];
                        deflater
                            .piece(&text[..start], input, false, &mut out)
                            .unwrap();
                        out
                    })
                    .collect()
            };
            assert!(pieces(0)[5..] == pieces(5)[..], "level {level}");
        }
    }

    #[test]
    fn noise_is_stored_in_blocks() {
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .take(200_000)
        .collect();
        for last in [false, true] {
            let mut out = Vec::new();
            let deflater = Deflater::new(6).unwrap();
            let end = deflater.piece(&[], &noise, last, &mut out).unwrap();
            assert_eq!((end.bytes, end.bits), (200_000 + 4 * 5, 0));
            assert_eq!(out.len(), end.bytes);
            if !last {
                deflater.piece(&noise, &[], true, &mut out).unwrap();
            }
            let mut inflater = Inflater::resume(0, 0, &[]).unwrap();
            let (mut from, mut got) = (0, Vec::new());
            loop {
                let mut buffer = vec![0; 70_000];
                let step = inflater.step(&out[from..], &mut buffer).unwrap();
                from += step.consumed;
                got.extend_from_slice(&buffer[..step.produced]);
                if step.stop == Stop::End {
                    break;
                }
            }
            assert!(got == noise);
        }
    }

    #[test]
    fn a_level_that_does_not_exist_is_refused() {
        assert!(Deflater::new(10).is_none());
    }
}
