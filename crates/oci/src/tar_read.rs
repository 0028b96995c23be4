//! The tar entries of an OCI archive: names, sizes and where their data is. Shared by archive and stream.
//!
//! Reads ustar, GNU long names and PAX headers; PAX records other than `path` and `size` do not matter here.
//! An archive without its end-of-archive blocks counts as truncated, since that is how a broken pipe shows.

use std::io::{self, Read};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits;
use crate::oci_dir::{BLOBS_DIR, INDEX_FILE, LAYOUT_FILE};

/// Size of a tar block, and as a `u64`.
pub(crate) const BLOCK: usize = 512;
pub(crate) const BLOCK_U64: u64 = BLOCK as u64;

/// A reader that can pass over bytes.
pub(crate) trait Skip: Read {
    /// Passes over exactly `n` bytes; `UnexpectedEof` if there are fewer.
    fn skip(&mut self, n: u64) -> io::Result<()>;
}

/// What an entry is to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    Blob(Digest),
    Index,
    Layout,
    /// Docker's `manifest.json`, and whatever other file.
    File,
    /// A symbolic or hard link, and where it leads.
    Link(String),
    /// Directories, devices.
    Other,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Where the data starts.
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

pub(crate) struct TarReader<R> {
    input: R,
    /// The next byte that `input` gives.
    position: u64,
    /// Bytes of the current entry that were not read yet.
    data_left: u64,
    /// Where the next header is.
    next_header: u64,
    entries: u64,
    ended: bool,
    place: String,
}

impl<R: Skip> TarReader<R> {
    pub(crate) fn new(input: R, place: String) -> Self {
        Self {
            input,
            position: 0,
            data_left: 0,
            next_header: 0,
            entries: 0,
            ended: false,
            place,
        }
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn get_mut(&mut self) -> &mut R {
        &mut self.input
    }

    fn damaged(&self, why: impl Into<String>) -> Error {
        Error::Archive {
            place: self.place.clone(),
            offset: self.position,
            why: why.into(),
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            self.damaged("it ends in the middle of an entry: truncated?")
        } else {
            Error::io("read", self.place.clone())(error)
        }
    }

    /// One block; `None` at the very end of the input.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < block.len() {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.failed(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => {
                    filled += n;
                    self.position += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failed(e)),
            }
        }
        Ok(Some(block))
    }

    /// The next entry that has data or a name of its own; `None` after the end-of-archive blocks.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut long_name: Option<Vec<u8>> = None;
        let mut long_link: Option<Vec<u8>> = None;
        let mut long_size: Option<u64> = None;
        loop {
            if self.ended {
                return Ok(None);
            }
            // Behind `position` only after an error, when the caller goes on all the same.
            let gap = self.next_header.saturating_sub(self.position);
            self.input.skip(gap).map_err(|e| self.failed(e))?;
            self.position += gap;
            self.data_left = 0;
            let Some(block) = self.block()? else {
                return Err(self.damaged("it has no end-of-archive marker: truncated?"));
            };
            if block.iter().all(|b| *b == 0) {
                if self
                    .block()?
                    .is_some_and(|second| second.iter().any(|b| *b != 0))
                {
                    return Err(self.damaged("a single zero block stands between entries"));
                }
                self.ended = true;
                return Ok(None);
            }
            let header = self.header(&block)?;
            let extension = matches!(
                header.entry_type(),
                tar::EntryType::GNULongName
                    | tar::EntryType::GNULongLink
                    | tar::EntryType::XHeader
                    | tar::EntryType::XGlobalHeader
            );
            let size = long_size
                .filter(|_| !extension)
                .map_or_else(|| header.entry_size(), Ok);
            let size = size
                .map_err(|e| self.damaged(format!("the size of an entry is not readable: {e}")))?;
            let end = size
                .checked_next_multiple_of(BLOCK_U64)
                .and_then(|padded| self.position.checked_add(padded));
            self.next_header =
                end.ok_or_else(|| self.damaged(format!("an entry claims {size} bytes")))?;
            self.data_left = size;
            self.entries += 1;
            limits::check(
                "entries of an archive",
                self.entries,
                limits::MAX_ARCHIVE_ENTRIES,
            )
            .map_err(|source| Error::Limit {
                place: self.place.clone(),
                source,
            })?;
            match header.entry_type() {
                kind @ (tar::EntryType::GNULongName | tar::EntryType::GNULongLink) => {
                    let mut name = self.extension()?;
                    name.truncate(name.iter().position(|b| *b == 0).unwrap_or(name.len()));
                    if kind == tar::EntryType::GNULongName {
                        long_name = Some(name);
                    } else {
                        long_link = Some(name);
                    }
                }
                tar::EntryType::XHeader => {
                    let records = self.extension()?;
                    for record in tar::PaxExtensions::new(&records) {
                        let record = record
                            .map_err(|e| self.damaged(format!("a PAX header is malformed: {e}")))?;
                        match record.key_bytes() {
                            b"path" => long_name = Some(record.value_bytes().to_vec()),
                            b"linkpath" => long_link = Some(record.value_bytes().to_vec()),
                            b"size" => {
                                let size = record.value().ok().and_then(|v| v.parse().ok());
                                long_size =
                                    Some(size.ok_or_else(|| {
                                        self.damaged("a PAX size is not a number")
                                    })?);
                            }
                            _ => {}
                        }
                    }
                }
                tar::EntryType::XGlobalHeader => {}
                kind => {
                    let name = long_name.unwrap_or_else(|| header.path_bytes().into_owned());
                    let link = long_link
                        .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
                    return self
                        .classify(&name, kind, &link.unwrap_or_default(), size)
                        .map(Some);
                }
            }
        }
    }

    fn header(&self, block: &[u8; BLOCK]) -> Result<tar::Header> {
        let start = self.position - BLOCK_U64;
        let header = tar::Header::from_byte_slice(block).clone();
        // The checksum field itself (bytes 148 to 155) counts as spaces.
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(i, b)| u32::from(if (148..156).contains(&i) { b' ' } else { *b }))
            .sum();
        if header.cksum().is_ok_and(|stated| stated == sum) {
            return Ok(header);
        }
        let why = match block {
            [0x1f, 0x8b, ..] if start == 0 => {
                "it is compressed with gzip: decompress it first (gzip -d), or on the way (gzip -dc FILE | sociable …, \
                 with - as the image)"
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] if start == 0 => {
                "it is compressed with zstd: decompress it first"
            }
            _ if start == 0 => "it does not begin with a tar header",
            _ => "the checksum of a tar header is wrong",
        };
        Err(Error::Archive {
            place: self.place.clone(),
            offset: start,
            why: why.to_owned(),
        })
    }

    fn extension(&mut self) -> Result<Vec<u8>> {
        limits::check(
            "bytes of a tar extension header",
            self.data_left,
            limits::MAX_TAR_EXTENSION,
        )
        .map_err(|source| Error::Limit {
            place: self.place.clone(),
            source,
        })?;
        let mut bytes = Vec::new();
        self.data()
            .read_to_end(&mut bytes)
            .map_err(|e| self.failed(e))?;
        Ok(bytes)
    }

    fn classify(&self, name: &[u8], kind: tar::EntryType, link: &[u8], size: u64) -> Result<Entry> {
        let name = String::from_utf8_lossy(name);
        let mut name = name.as_ref();
        while let Some(rest) = name.strip_prefix("./") {
            name = rest;
        }
        let regular = matches!(kind, tar::EntryType::Regular | tar::EntryType::Continuous);
        let other = match kind {
            // Names are kept: what nobody can mean is not.
            _ if name.len().max(link.len()) > limits::MAX_ARCHIVE_NAME => Role::Other,
            _ if regular => Role::File,
            tar::EntryType::Symlink | tar::EntryType::Link => {
                Role::Link(link_target(name, kind, &String::from_utf8_lossy(link)))
            }
            _ => Role::Other,
        };
        let role = match name {
            INDEX_FILE => Role::Index,
            LAYOUT_FILE => Role::Layout,
            _ => name
                .strip_prefix(BLOBS_DIR)
                .and_then(|rest| rest.strip_prefix('/'))
                .and_then(|rest| rest.split_once('/'))
                .and_then(|(algorithm, hex)| format!("{algorithm}:{hex}").parse().ok())
                .map_or(other, Role::Blob),
        };
        let layout = matches!(role, Role::Index | Role::Layout | Role::Blob(_));
        if layout && !regular {
            return Err(self.damaged(format!("{name} is not a regular file")));
        }
        Ok(Entry {
            name: name.to_owned(),
            role,
            offset: self.position,
            size,
        })
    }

    /// The rest of the current entry's data.
    pub(crate) fn data(&mut self) -> EntryData<'_, R> {
        EntryData(self)
    }

    /// A whole small entry.
    pub(crate) fn document(&mut self) -> Result<Vec<u8>> {
        limits::check("bytes of a document", self.data_left, limits::MAX_DOCUMENT).map_err(
            |source| Error::Limit {
                place: self.place.clone(),
                source,
            },
        )?;
        let mut bytes = Vec::new();
        self.data()
            .read_to_end(&mut bytes)
            .map_err(|e| self.failed(e))?;
        Ok(bytes)
    }
}

/// Where a link leads, as a name in the archive: a symbolic link counts from its own directory.
fn link_target(name: &str, kind: tar::EntryType, link: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    if kind == tar::EntryType::Symlink && !link.starts_with('/') {
        parts.extend(name.split('/'));
        parts.pop();
    }
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Data of the current entry.
pub(crate) struct EntryData<'a, R>(&'a mut TarReader<R>);

impl<R: Skip> Read for EntryData<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let reader = &mut *self.0;
        let len = usize::try_from(reader.data_left)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        if len == 0 {
            return Ok(0);
        }
        let n = reader.input.read(&mut buf[..len])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reader.data_left -= n as u64;
        reader.position += n as u64;
        Ok(n)
    }
}
