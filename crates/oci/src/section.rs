//! Parts of a file that several readers share.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::tar_read::Skip;

/// A part of a file that several readers share.
pub(crate) struct Section {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Section {
    /// `size` bytes from `offset` on.
    pub(crate) fn new(file: &Arc<File>, offset: u64, size: u64) -> Self {
        Self {
            file: Arc::clone(file),
            position: offset,
            end: offset.saturating_add(size),
        }
    }
}

impl Read for Section {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let len = left.min(buf.len());
        let n = self.file.read_at(&mut buf[..len], self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Skip for Section {
    fn skip(&mut self, n: u64) -> io::Result<()> {
        if n > self.end.saturating_sub(self.position) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += n;
        Ok(())
    }
}
