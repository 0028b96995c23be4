//! Hits, and how to read them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use sociable_oci::Digest;

use super::Header;

/// A hit: checked, open, and readable even if it is removed meanwhile.
#[derive(Debug)]
pub struct Cached {
    pub(super) header: Header,
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Where the zTOC begins in the file.
    pub(super) start: u64,
    pub(super) file: File,
}

impl Cached {
    /// What was stored with the zTOC.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Digest of the zTOC.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Size of the zTOC in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The zTOC's bytes in one piece.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let size = usize::try_from(self.size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, self.start)?;
        Ok(bytes)
    }

    /// The zTOC's bytes as a stream of exactly [`Cached::size`] bytes.
    #[must_use]
    pub fn into_reader(self) -> ZtocReader {
        ZtocReader {
            file: self.file,
            position: self.start,
            remaining: self.size,
        }
    }
}

/// The bytes of a cached zTOC: [`Cached::into_reader`].
#[derive(Debug)]
pub struct ZtocReader {
    file: File,
    position: u64,
    remaining: u64,
}

impl Read for ZtocReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let length = length.min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        let n = self.file.read_at(&mut buffer[..length], self.position)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += n as u64;
        self.remaining -= n as u64;
        Ok(n)
    }
}
