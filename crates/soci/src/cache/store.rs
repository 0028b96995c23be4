//! Storing: a file is written under another name, and renamed when it is whole.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use sociable_oci::{Algorithm, Hasher};

use super::format::Front;
use super::{CHUNK, Cache, CacheError, Header, Key, TEMP_PREFIX};

impl Cache {
    /// [`Cache::put`] without trimming.
    pub(super) fn store(
        &self,
        key: &Key,
        header: &Header,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CacheError> {
        let front = Front::new(key, header)?;
        let too_large = CacheError::TooLarge { limit: self.limit };
        let Some(room) = self.limit.checked_sub(front.size()) else {
            return Err(too_large);
        };
        self.create()?;
        let failed = || CacheError::io("write to", &self.dir);
        let mut temp = tempfile::Builder::new()
            .prefix(TEMP_PREFIX)
            .tempfile_in(&self.dir)
            .map_err(failed())?;
        // What comes before the zTOC is known only at the end.
        temp.seek(SeekFrom::Start(front.size())).map_err(failed())?;
        let mut body = Body::new(BufWriter::with_capacity(CHUNK, temp), room);
        let outcome = write(&mut body).and_then(|()| body.flush());
        match (body.failure, outcome) {
            (Some(Failure::NoRoom), _) => return Err(too_large),
            (Some(Failure::Io(kind)), Ok(())) => return Err(failed()(kind.into())),
            (Some(Failure::Io(_)), Err(e)) => return Err(failed()(e)),
            (None, Err(e)) => return Err(CacheError::Content(e)),
            (None, Ok(())) => {}
        }
        let front = front.bytes(body.size, &body.hasher.finish());
        let temp = body
            .out
            .into_inner()
            .map_err(|e| failed()(e.into_error()))?;
        temp.as_file().write_all_at(&front, 0).map_err(failed())?;
        temp.persist(self.dir.join(key.file_name()))
            .map_err(|e| failed()(e.error))?;
        Ok(())
    }
}

/// Why a body could not be written.
#[derive(Clone, Copy)]
pub(super) enum Failure {
    NoRoom,
    Io(io::ErrorKind),
}

/// The zTOC on its way to a file.
pub(super) struct Body<W: Write> {
    out: BufWriter<W>,
    hasher: Hasher,
    size: u64,
    /// How many bytes it may have.
    room: u64,
    pub(super) failure: Option<Failure>,
}

impl<W: Write> Body<W> {
    pub(super) fn new(out: BufWriter<W>, room: u64) -> Self {
        Self {
            out,
            hasher: Hasher::new(Algorithm::Sha256),
            size: 0,
            room,
            failure: None,
        }
    }
}

impl<W: Write> Write for Body<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.size.saturating_add(bytes.len() as u64);
        if size > self.room {
            self.failure = Some(Failure::NoRoom);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if let Err(e) = self.out.write_all(bytes) {
            self.failure.get_or_insert(Failure::Io(e.kind()));
            return Err(e);
        }
        self.hasher.update(bytes);
        self.size = size;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.out.flush();
        if let Err(e) = &outcome {
            self.failure.get_or_insert(Failure::Io(e.kind()));
        }
        outcome
    }
}
