//! Decompression that stops at block boundaries and starts at any of them.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use libz_rs_sys::{
    Z_BLOCK, Z_BUF_ERROR, Z_MEM_ERROR, Z_NO_FLUSH, Z_OK, Z_STREAM_END, inflate, inflateEnd,
    inflateInit2_, inflatePrime, inflateReset2, inflateSetDictionary, z_stream, zlibVersion,
};

use crate::WINDOW_SIZE;

/// zlib's code for "raw deflate, 32 KiB window".
const RAW: c_int = -15;
/// zlib's code for "gzip member, 32 KiB window".
const GZIP: c_int = 31;

/// Why compressed bytes could not be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// The bytes are not what the format allows; the text is zlib's.
    #[error("{0}")]
    Data(String),
    /// No memory for the decoder's state (about 48 KiB).
    #[error("out of memory")]
    Memory,
}

/// What stopped a call of [`Inflater::step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The input is used up, or the output is full.
    Buffer,
    /// A block ended, or the header before the first block did. The next block starts with the
    /// last `bits` (0 to 7) bits of the last byte consumed. `last` says that the block was the
    /// member's final one, so that no other follows it.
    Block {
        /// Bits of the last consumed byte which belong to the next block, 0 to 7.
        bits: u8,
        /// The block that ended had its BFINAL bit set.
        last: bool,
    },
    /// The stream ended: for gzip, the trailer was consumed and its checksum and length agree.
    End,
}

/// The result of one [`Inflater::step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Compressed bytes taken from the input.
    pub consumed: usize,
    /// Uncompressed bytes put into the output.
    pub produced: usize,
    /// Why the step ended.
    pub stop: Stop,
}

/// A decompressor that stops after every deflate block.
pub struct Inflater {
    // Boxed, as zlib's state points back at its stream.
    stream: Box<z_stream>,
}

// SAFETY: `z_stream` is not `Send` because of its raw pointers. The input and output pointers are
// set anew by every `step` and cleared after it; the state is owned by this stream alone and the
// allocator zlib-rs uses by default may be called from any thread.
#[allow(
    unsafe_code,
    reason = "the stream is owned and never shared: see above"
)]
unsafe impl Send for Inflater {}

#[allow(
    unsafe_code,
    reason = "calls of zlib's C interface, each with its reason"
)]
impl Inflater {
    /// A decoder for gzip members (RFC 1952): header, deflate blocks, trailer. The header's own
    /// checksum, the content's CRC-32 and its length are verified.
    ///
    /// # Errors
    /// [`InflateError::Memory`].
    pub fn gzip() -> Result<Self, InflateError> {
        Self::with_window_bits(GZIP)
    }

    /// A decoder that continues a raw deflate stream at a block boundary.
    ///
    /// `bits` (0 to 7) says how many bits of `first_byte`, its highest, belong to the block;
    /// `dictionary` is the output before it, at most [`WINDOW_SIZE`] bytes.
    ///
    /// # Errors
    /// [`InflateError::Data`] when `bits` is over 7 or the dictionary is longer than a window.
    pub fn resume(bits: u8, first_byte: u8, dictionary: &[u8]) -> Result<Self, InflateError> {
        if bits > 7 {
            return Err(InflateError::Data(format!(
                "{bits} leftover bits: 0 to 7 are possible"
            )));
        }
        if dictionary.len() > WINDOW_SIZE {
            return Err(InflateError::Data(format!(
                "a window of {} bytes",
                dictionary.len()
            )));
        }
        let mut inflater = Self::with_window_bits(RAW)?;
        let length = u32::try_from(dictionary.len()).unwrap_or(0);
        if bits > 0 {
            let value = c_int::from(first_byte >> (8 - bits));
            // SAFETY: the stream was initialised by `with_window_bits`.
            let code = unsafe { inflatePrime(&raw mut *inflater.stream, c_int::from(bits), value) };
            inflater.check(code)?;
        }
        // SAFETY: as above; the pointer is valid for `length` bytes during the call.
        let code =
            unsafe { inflateSetDictionary(&raw mut *inflater.stream, dictionary.as_ptr(), length) };
        inflater.check(code)?;
        Ok(inflater)
    }

    /// Forgets the stream and expects the header of a gzip member next.
    ///
    /// # Errors
    /// [`InflateError::Memory`].
    pub fn reset_gzip(&mut self) -> Result<(), InflateError> {
        // SAFETY: the stream was initialised by `with_window_bits`.
        let code = unsafe { inflateReset2(&raw mut *self.stream, GZIP) };
        self.check(code)
    }

    fn with_window_bits(window_bits: c_int) -> Result<Self, InflateError> {
        // SAFETY: an all-zero `z_stream` is zlib's documented way to ask for default allocators.
        let stream: z_stream = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut inflater = Self {
            stream: Box::new(stream),
        };
        let size = c_int::try_from(size_of::<z_stream>()).unwrap_or(c_int::MAX);
        // SAFETY: the stream is valid for writes; version and size are this build's own.
        let code =
            unsafe { inflateInit2_(&raw mut *inflater.stream, window_bits, zlibVersion(), size) };
        inflater.check(code)?;
        Ok(inflater)
    }

    /// Decompresses until a block ends, the stream ends, `input` is used up or `output` is full.
    ///
    /// # Errors
    /// [`InflateError::Data`] when the bytes are not a deflate stream (or gzip member).
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, InflateError> {
        self.inflate(input, output, Z_BLOCK)
    }

    /// Decompresses as [`Inflater::step`] does, but does not stop where a block ends: a tenth
    /// faster.
    ///
    /// A full output does not keep it from going on through blocks that yield nothing: it may
    /// stand behind the end of a block that ends with the output's last byte.
    ///
    /// # Errors
    /// As [`Inflater::step`].
    pub fn skip_blocks(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, InflateError> {
        let mut step = self.inflate(input, output, Z_NO_FLUSH)?;
        if step.stop != Stop::End {
            step.stop = Stop::Buffer;
        }
        Ok(step)
    }

    fn inflate(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        flush: c_int,
    ) -> Result<Step, InflateError> {
        let offered = u32::try_from(input.len()).unwrap_or(u32::MAX);
        let room = u32::try_from(output.len()).unwrap_or(u32::MAX);
        self.stream.next_in = input.as_ptr();
        self.stream.avail_in = offered;
        self.stream.next_out = output.as_mut_ptr();
        self.stream.avail_out = room;
        // SAFETY: the stream was initialised, and both buffers are valid for the lengths given.
        let code = unsafe { inflate(&raw mut *self.stream, flush) };
        let consumed = (offered - self.stream.avail_in) as usize;
        let produced = (room - self.stream.avail_out) as usize;
        self.stream.next_in = std::ptr::null();
        self.stream.next_out = std::ptr::null_mut();
        let stop = match code {
            Z_STREAM_END => Stop::End,
            Z_OK | Z_BUF_ERROR => {
                let data_type = self.stream.data_type;
                // zlib.h: 128 says that a block (or the header) just ended, 64 that it was the
                // last one, the low bits count the unused bits of the last byte.
                if code == Z_OK && data_type & 128 != 0 {
                    Stop::Block {
                        bits: u8::try_from(data_type & 7).unwrap_or(0),
                        last: data_type & 64 != 0,
                    }
                } else {
                    Stop::Buffer
                }
            }
            _ => return Err(self.error(code)),
        };
        Ok(Step {
            consumed,
            produced,
            stop,
        })
    }

    fn check(&self, code: c_int) -> Result<(), InflateError> {
        if code == Z_OK {
            Ok(())
        } else {
            Err(self.error(code))
        }
    }

    fn error(&self, code: c_int) -> InflateError {
        if code == Z_MEM_ERROR {
            return InflateError::Memory;
        }
        let text = if self.stream.msg.is_null() {
            format!("zlib error {code}")
        } else {
            // SAFETY: zlib's messages are static, NUL-terminated strings.
            let text = unsafe { std::ffi::CStr::from_ptr(self.stream.msg) };
            text.to_string_lossy().into_owned()
        };
        InflateError::Data(text)
    }
}

#[allow(unsafe_code, reason = "the one call that frees zlib's state")]
impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: the stream is owned; `inflateEnd` copes with one whose initialisation failed.
        unsafe { inflateEnd(&raw mut *self.stream) };
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}
