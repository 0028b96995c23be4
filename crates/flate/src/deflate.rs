//! Compression of one piece of a longer deflate stream.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use libz_rs_sys::{
    Z_BLOCK, Z_BUF_ERROR, Z_DEFAULT_STRATEGY, Z_DEFLATED, Z_FINISH, Z_OK, Z_STREAM_END,
    Z_SYNC_FLUSH, deflate, deflateEnd, deflateInit2_, deflatePending, deflateReset,
    deflateSetDictionary, z_stream, zlibVersion,
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

/// A compressor for pieces of one deflate stream.
///
/// Every piece ends on a whole byte, so that pieces compressed apart can be put one after another.
/// The same bytes, dictionary and level give the same output, whatever was compressed before.
pub struct Deflater {
    stream: Box<z_stream>,
}

// SAFETY: as for `Inflater`: the buffers' pointers live for one call only, the state is owned.
#[allow(unsafe_code, reason = "the stream is owned and never shared")]
unsafe impl Send for Deflater {}

#[allow(
    unsafe_code,
    reason = "calls of zlib's C interface, each with its reason"
)]
impl Deflater {
    /// A compressor of level 0 (stored) to 9 (smallest). `None` when there is no memory for its
    /// state (about 300 KiB) or the level does not exist.
    #[must_use]
    pub fn new(level: u8) -> Option<Self> {
        // SAFETY: an all-zero `z_stream` is zlib's documented way to ask for default allocators.
        let stream: z_stream = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut deflater = Self {
            stream: Box::new(stream),
        };
        let size = c_int::try_from(size_of::<z_stream>()).unwrap_or(c_int::MAX);
        // SAFETY: the stream is valid for writes; version and size are this build's own.
        let code = unsafe {
            deflateInit2_(
                &raw mut *deflater.stream,
                c_int::from(level),
                Z_DEFLATED,
                -15, // raw deflate, 32 KiB window
                8,   // zlib's default memory level
                Z_DEFAULT_STRATEGY,
                zlibVersion(),
                size,
            )
        };
        (level <= 9 && code == Z_OK).then_some(deflater)
    }

    /// Appends `input`, compressed, to `out`. `dictionary` is the uncompressed stream before it
    /// (its last [`WINDOW_SIZE`] bytes are used). Where `last` is set the stream ends here, else
    /// an empty stored block fills the output up to a whole byte.
    pub fn piece(
        &mut self,
        dictionary: &[u8],
        input: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> PieceEnd {
        let start = out.len();
        // SAFETY: the stream was initialised by `new`.
        unsafe { deflateReset(&raw mut *self.stream) };
        let dictionary = &dictionary[dictionary.len().saturating_sub(WINDOW_SIZE)..];
        if !dictionary.is_empty() {
            let length = u32::try_from(dictionary.len()).unwrap_or(0);
            // SAFETY: as above; the pointer is valid for `length` bytes during the call.
            unsafe {
                deflateSetDictionary(&raw mut *self.stream, dictionary.as_ptr(), length);
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
        unsafe { deflatePending(&raw mut *self.stream, &raw mut pending, &raw mut bits) };
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
        self.stream.next_in = input.as_ptr();
        self.stream.avail_in = u32::try_from(input.len()).unwrap_or(u32::MAX);
        loop {
            let start = out.len();
            out.resize(start + (input.len() / 2).clamp(64, 256 * 1024), 0);
            let room = out.len() - start;
            self.stream.next_out = out[start..].as_mut_ptr();
            self.stream.avail_out = u32::try_from(room).unwrap_or(u32::MAX);
            // SAFETY: the stream was initialised, and both buffers are valid for their lengths.
            let code = unsafe { deflate(&raw mut *self.stream, flush) };
            let left = self.stream.avail_out as usize;
            out.truncate(out.len() - left);
            // zlib.h: done when output space is left over after a flush, or the stream ended.
            if code == Z_STREAM_END || code == Z_BUF_ERROR || (left > 0 && flush != Z_FINISH) {
                break;
            }
        }
        self.stream.next_in = std::ptr::null();
        self.stream.next_out = std::ptr::null_mut();
    }
}

#[allow(unsafe_code, reason = "the one call that frees zlib's state")]
impl Drop for Deflater {
    fn drop(&mut self) {
        // SAFETY: the stream is owned; `deflateEnd` copes with one whose initialisation failed.
        unsafe { deflateEnd(&raw mut *self.stream) };
    }
}

impl std::fmt::Debug for Deflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deflater").finish_non_exhaustive()
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
                    b'a' + (i % 13) as u8
                } else {
                    (state >> 24) as u8 & 0x1f
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
                let base = stream.len();
                let end = deflater.piece(
                    &text[..pair[0]],
                    &text[pair[0]..pair[1]],
                    pair[1] == text.len(),
                    &mut stream,
                );
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

    #[test]
    fn a_level_that_does_not_exist_is_refused() {
        assert!(Deflater::new(10).is_none());
    }
}
