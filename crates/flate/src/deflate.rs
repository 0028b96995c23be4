//! Compression of one piece of a longer deflate stream.

use std::ffi::{c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use libz_rs_sys::{
    Z_BUF_ERROR, Z_DEFAULT_STRATEGY, Z_DEFLATED, Z_FINISH, Z_OK, Z_STREAM_END, Z_SYNC_FLUSH,
    deflate, deflateEnd, deflateInit2_, deflateSetDictionary, deflateTune, z_stream, zlibVersion,
};

use crate::WINDOW_SIZE;

/// Why a piece could not be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeflateError {
    /// No memory for zlib's state.
    #[error("out of memory")]
    Memory,
}

/// A compressor for pieces of one deflate stream.
///
/// Every piece ends on a whole byte and where a block ends, so that pieces compressed apart can be
/// put one after another, and decompression can start between any two.
///
/// To that end a piece's last byte stands in a stored block of its own. An empty one would do for
/// joining. But then an index has the end of the block before it, mostly within a byte, and
/// soci-snapshotter v0.16 reads a byte behind the bytes of a span that begins so; what it finds
/// there may look like the header of a block that cannot be.
///
/// The same bytes, dictionary and level give the same output, whatever was compressed before.
#[derive(Debug)]
pub struct Deflater {
    level: u8,
    /// For zlib's state, some 330 KiB.
    memory: Box<Memory>,
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

/// The way for one of our levels.
///
/// zlib-rs finds no matches of three bytes below level 9, which costs up to 3 % in programs and
/// libraries. In texts there is nothing to gain by them; much is even lost in texts full of
/// numbers, as level 9 takes such matches however far away they are (C zlib does not). So our
/// levels 6 to 8 are zlib-rs's own for texts, and its level 9 with less effort for all else: the
/// numbers are C zlib's for these levels, but for shorter chains.
fn way(level: u8, is_text: bool) -> Way {
    let (good, lazy, nice, chain) = match level {
        6 if !is_text => (8, 16, 128, 48),
        7 if !is_text => (8, 32, 128, 128),
        8 if !is_text => (32, 64, 258, 512),
        _ => return (level.into(), None),
    };
    let tuning = Tuning {
        good,
        lazy,
        nice,
        chain,
    };
    (9, Some(tuning))
}

impl Deflater {
    /// A compressor of level 0 (stored) to 9 (smallest). `None` when the level does not exist.
    ///
    /// Level 6 compresses as well as C zlib's level 6, within 1 %, in three quarters of its time or
    /// less. Lower levels are zlib-rs's own: level 5 is faster still, for up to 3 % more bytes.
    #[must_use]
    pub fn new(level: u8) -> Option<Self> {
        (level <= 9).then(|| Self {
            level,
            memory: Box::default(),
        })
    }

    /// Goes on at another level, 0 to 9; a higher one counts as 9.
    pub fn set_level(&mut self, level: u8) {
        self.level = level.min(9);
    }

    /// Appends `input`, compressed, to `out`. `dictionary` is the uncompressed stream before it
    /// (its last [`WINDOW_SIZE`] bytes are used). Where `last` is set the stream ends here.
    ///
    /// A piece whose bytes are as good as random is stored when a sample of it does not shrink.
    ///
    /// # Errors
    /// [`DeflateError::Memory`].
    pub fn piece(
        &mut self,
        dictionary: &[u8],
        input: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), DeflateError> {
        let way = way(self.level, is_text(input));
        // What follows a beginning that is no noise is compressed without a look at it.
        if input.len() >= 2 * SAMPLE && is_noise(&input[..SAMPLE]) && is_noise(input) {
            let start = out.len();
            let sample = &input[..SAMPLE];
            Stream::new(way, &mut self.memory)?.piece(dictionary, sample, true, out);
            let shrunk = SAMPLE.saturating_sub(out.len() - start);
            out.truncate(start);
            if shrunk < SAMPLE / 100 {
                store(input, last, out);
                return Ok(());
            }
        }
        if last {
            Stream::new(way, &mut self.memory)?.piece(dictionary, input, true, out);
        } else if let Some((end, rest)) = input.split_last() {
            if !rest.is_empty() {
                Stream::new(way, &mut self.memory)?.piece(dictionary, rest, false, out);
            }
            store(&[*end], false, out);
        }
        Ok(())
    }
}

/// zlib's state for one piece.
///
/// It is not used for another: zlib-rs looks at a few bytes behind the end of what it was given,
/// which after a reset are an earlier piece's and change what it puts out.
struct Stream<'memory>(Box<z_stream>, PhantomData<&'memory mut Memory>);

/// Where zlib keeps its state, one piece's after another's.
///
/// Allocated anew for each piece it would, among the small allocations of many threads, leave holes
/// of many times its size.
#[derive(Debug, Default)]
struct Memory {
    words: Vec<u64>,
    taken: bool,
}

/// zlib's `zalloc`: gives the memory of the [`Memory`] at `opaque`, if it is not taken.
#[allow(unsafe_code, reason = "zlib's way to ask for memory")]
unsafe extern "C" fn allocate(opaque: *mut c_void, items: c_uint, size: c_uint) -> *mut c_void {
    // SAFETY: `Stream::new` puts its `Memory` there, which it borrows as long as it exists.
    let memory = unsafe { &mut *opaque.cast::<Memory>() };
    let bytes = u64::from(items) * u64::from(size);
    let Ok(words) = usize::try_from(bytes.div_ceil(8)) else {
        return std::ptr::null_mut();
    };
    if memory.taken {
        return std::ptr::null_mut();
    }
    memory.taken = true;
    if memory.words.len() < words {
        memory.words.resize(words, 0);
    }
    memory.words.as_mut_ptr().cast()
}

/// zlib's `zfree`.
#[allow(unsafe_code, reason = "zlib's way to give memory back")]
unsafe extern "C" fn free(opaque: *mut c_void, _: *mut c_void) {
    // SAFETY: as in `allocate`.
    unsafe { (*opaque.cast::<Memory>()).taken = false };
}

#[allow(
    unsafe_code,
    reason = "calls of zlib's C interface, each with its reason"
)]
impl<'memory> Stream<'memory> {
    fn new((level, tuning): Way, memory: &'memory mut Memory) -> Result<Self, DeflateError> {
        // SAFETY: every field of a `z_stream` may be zero or null.
        let mut stream: z_stream = unsafe { MaybeUninit::zeroed().assume_init() };
        stream.zalloc = Some(allocate);
        stream.zfree = Some(free);
        stream.opaque = (&raw mut *memory).cast();
        let mut stream = Self(Box::new(stream), PhantomData);
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

    fn piece(mut self, dictionary: &[u8], input: &[u8], last: bool, out: &mut Vec<u8>) {
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
        let flush = if last { Z_FINISH } else { Z_SYNC_FLUSH };
        self.run(rest, flush, out);
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

/// Whether nine of ten bytes, but for zeros (a tar has many of its own), are printable ASCII or
/// white space.
fn is_text(bytes: &[u8]) -> bool {
    fn count(bytes: &[u8], is: impl Fn(u8) -> bool) -> u64 {
        bytes.iter().map(|&byte| u64::from(is(byte))).sum()
    }
    let text = count(bytes, |byte| {
        matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r')
    });
    let other = count(bytes, |byte| byte != 0);
    text * 10 >= other * 9
}

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
fn store(input: &[u8], last: bool, out: &mut Vec<u8>) {
    let mut blocks = input.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(last && blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
}

#[allow(unsafe_code, reason = "the one call that frees zlib's state")]
impl Drop for Stream<'_> {
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
            let mut deflater = Deflater::new(level).unwrap();
            let (mut stream, mut ends) = (Vec::new(), Vec::new());
            let cuts = [0, 1, 1000, 100_000, 100_001, 400_000, text.len()];
            for pair in cuts.windows(2) {
                let (start, end) = (pair[0], pair[1]);
                let last = end == text.len();
                deflater
                    .piece(&text[..start], &text[start..end], last, &mut stream)
                    .unwrap();
                ends.push((end, stream.len()));
            }
            for &(out, bytes) in ends.iter().take(ends.len() - 1) {
                let window = &text[out.saturating_sub(WINDOW_SIZE)..out];
                let mut inflater = Inflater::resume(0, 0, window).unwrap();
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
            let mut deflater = Deflater::new(level).unwrap();
            let mut pieces = |skipped: usize| -> Vec<Vec<u8>> {
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
            let mut deflater = Deflater::new(6).unwrap();
            deflater.piece(&[], &noise, last, &mut out).unwrap();
            assert_eq!(out.len(), 200_000 + 4 * 5);
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
    fn texts_are_told_from_programs() {
        assert!(is_text(b""));
        assert!(is_text(b"fn main() {\n\tprintln!(\"hello\");\r\n}\n"));
        assert!(is_text(
            &[&b"file.txt, a long name"[..], &[0; 500], &[1]].concat()
        ));
        assert!(!is_text(b"\x7fELF\x02\x01\x01"));
        assert!(!is_text(b"seven of ten\x01\x02\x03\x04\x05"));
    }

    #[test]
    fn a_level_that_does_not_exist_is_refused() {
        assert!(Deflater::new(10).is_none());
    }
}
