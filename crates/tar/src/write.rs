//! The writer: entries in, a tar out, the same bytes for the same entries every time.
//!
//! An entry is a USTAR header whenever that can express it. Otherwise the same header follows a
//! PAX header of type `x` with just those records that are needed, sorted by key:
//!
//! | record                  | written when                                                        |
//! |-------------------------|---------------------------------------------------------------------|
//! | `path`                  | not within 100 bytes, nor 155 and 100 around a slash                |
//! | `linkpath`              | longer than 100 bytes                                               |
//! | `uname`, `gname`        | longer than 32 bytes                                                |
//! | `uid`, `gid`            | over 2,097,151                                                      |
//! | `size`                  | 8 GiB or more                                                       |
//! | `mtime`                 | before 1970, after 2242-03-16, or with a fraction of a second       |
//! | `SCHILY.xattr.NAME`     | always, one for each extended attribute                             |
//!
//! GNU extensions are never written. Text is written as the bytes it is, in USTAR fields as in
//! records, UTF-8 or not: that is what Go, GNU tar and libarchive take it for on Linux. Names of
//! owners are written only if they are given. Numbers of a header that carries no meaning (the PAX
//! header's own, and fields that a record overrides) are zero.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use bstr::{BString, ByteSlice, ByteVec};

use crate::header::{self, BLOCK, Block, EXTENSION_LIMIT, padding, typeflag};
use crate::numeric::{fits_octal, write_octal};
use crate::pax::{self, Records, SECOND, Time, XATTR};
use crate::read::Entry;

/// What an entry is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Path. A directory's gets a slash at its end if it has none.
    pub name: BString,
    /// Type, and what belongs to it.
    pub kind: Kind,
    /// Permission bits, without those of the type.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name, or nothing.
    pub uname: BString,
    /// Group's name, or nothing.
    pub gname: BString,
    /// Modification time.
    pub mtime: Time,
    /// Extended attributes, by full name (`security.capability`).
    pub xattrs: BTreeMap<BString, BString>,
}

/// Types of entries that can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// File with that many bytes of data.
    File {
        /// Bytes of data.
        size: u64,
    },
    /// Another name of an earlier entry.
    HardLink {
        /// That entry's name.
        target: BString,
    },
    /// Symbolic link.
    Symlink {
        /// Its target, any text.
        target: BString,
    },
    /// Character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Directory.
    Directory,
    /// FIFO.
    Fifo,
}

/// An entry that cannot be written, or an archive that cannot be continued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A text is empty, has a NUL, or (a name that is no directory's) ends in a slash.
    #[error("{name:?}: {field} {value:?} cannot be written: {reason}")]
    Text {
        /// The entry.
        name: BString,
        /// Which text.
        field: &'static str,
        /// What it is.
        value: BString,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A number has no room in the header and no PAX record to go to.
    #[error("{name:?}: {field} {value} cannot be written")]
    Number {
        /// The entry.
        name: BString,
        /// Which number.
        field: &'static str,
        /// What it is.
        value: u64,
    },
    /// The PAX records take more than the 1 MiB that Go reads.
    #[error("{name:?}: {size} bytes of PAX records, but readers accept no more than 1 MiB")]
    Records {
        /// The entry.
        name: BString,
        /// Their size.
        size: usize,
    },
    /// A file ended before the size that its header announced.
    #[error("{name:?}: shrank while it was read: {missing} of {size} bytes are missing")]
    Shrank {
        /// The entry.
        name: BString,
        /// What the header says.
        size: u64,
        /// What is missing.
        missing: u64,
    },
    /// A file went on after the size that its header announced.
    #[error("{name:?}: grew while it was read: more than {size} bytes")]
    Grew {
        /// The entry.
        name: BString,
        /// What the header says.
        size: u64,
    },
    /// The source of an entry's data could not be read.
    #[error("{name:?}: cannot be read")]
    Source {
        /// The entry.
        name: BString,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The archive could not be written.
    #[error("the archive cannot be written")]
    Sink(#[source] io::Error),
    /// An earlier call failed, and what was written since is not whole.
    #[error("the archive is broken by an earlier error")]
    Broken,
}

impl Header {
    /// An entry of root's, from 1970, with permissions 0755 for directories and 0644 for others.
    #[must_use]
    pub fn new(name: impl Into<BString>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            mode: if kind == Kind::Directory {
                0o755
            } else {
                0o644
            },
            kind,
            uid: 0,
            gid: 0,
            uname: BString::default(),
            gname: BString::default(),
            mtime: Time::default(),
            xattrs: BTreeMap::new(),
        }
    }

    /// Bytes of data that must follow the header.
    #[must_use]
    pub fn data_size(&self) -> u64 {
        match self.kind {
            Kind::File { size } => size,
            _ => 0,
        }
    }

    /// The header blocks for this entry at `offset` in an archive, and what
    /// [`Reader`](crate::Reader) will report for them.
    ///
    /// # Errors
    ///
    /// If the entry cannot be written so that it is read back as it is.
    pub fn encode(&self, offset: u64) -> Result<(Vec<u8>, Entry), WriteError> {
        let mut name = self.name.clone();
        if self.kind == Kind::Directory && !name.ends_with(b"/") {
            name.push_byte(b'/');
        }
        let mut fields = HeaderFields {
            header: self,
            block: [0; BLOCK],
            records: Records::new(),
        };
        fields.name(&name)?;
        fields.number(header::MODE, self.mode.into())?;
        fields.number_or_record(header::UID, self.uid.into());
        fields.number_or_record(header::GID, self.gid.into());
        let size = self.data_size();
        if i64::try_from(size).is_err() {
            return Err(self.bad_number("size", size));
        }
        fields.number_or_record(header::SIZE, size);
        fields.mtime()?;
        fields.text(header::UNAME, "uname", &self.uname)?;
        fields.text(header::GNAME, "gname", &self.gname)?;
        let (linkname, major, minor) = match &self.kind {
            Kind::HardLink { target } | Kind::Symlink { target } => {
                if target.is_empty() {
                    return Err(self.bad_text("link target", target, "it is empty"));
                }
                (target.clone(), 0, 0)
            }
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                (BString::default(), *major, *minor)
            }
            _ => (BString::default(), 0, 0),
        };
        fields.text(header::LINKNAME, "linkpath", &linkname)?;
        fields.number(header::DEVMAJOR, major.into())?;
        fields.number(header::DEVMINOR, minor.into())?;
        for (key, value) in &self.xattrs {
            if key.is_empty() || key.find_byteset(b"=\0").is_some() {
                return Err(self.bad_text("name of extended attribute", key, "it is no key"));
            }
            fields
                .records
                .insert([XATTR.as_bytes(), key].concat().into(), value.clone());
        }

        let typeflag = self.typeflag();
        let HeaderFields {
            mut block, records, ..
        } = fields;
        let mut bytes = self.encode_records(&records)?;
        seal(&mut block, typeflag);
        bytes.extend_from_slice(&block);
        let data_offset = offset + bytes.len() as u64;
        let entry = Entry {
            header_offset: offset,
            data_offset,
            offset_after_header: data_offset,
            size: size.cast_signed(),
            stored_size: size,
            typeflag,
            name,
            linkname,
            mode: self.mode.into(),
            uid: self.uid.into(),
            gid: self.gid.into(),
            uname: self.uname.clone(),
            gname: self.gname.clone(),
            mtime: self.mtime,
            devmajor: major.into(),
            devminor: minor.into(),
            pax: records.into_iter().collect(),
            sparse: None,
        };
        Ok((bytes, entry))
    }

    /// A PAX header with these records, padded; nothing if there are none.
    fn encode_records(&self, records: &Records) -> Result<Vec<u8>, WriteError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let mut payload = Vec::new();
        for (key, value) in records {
            pax::write_record(&mut payload, key, value);
        }
        let size = payload.len() as u64;
        if size > EXTENSION_LIMIT {
            return Err(WriteError::Records {
                name: self.name.clone(),
                size: payload.len(),
            });
        }
        let mut block = [0; BLOCK];
        put(header::NAME, &mut block, b"PaxHeaders.0/pax");
        write_octal(header::MODE.of_mut(&mut block), 0o644);
        for zero in [
            header::UID,
            header::GID,
            header::MTIME,
            header::DEVMAJOR,
            header::DEVMINOR,
        ] {
            write_octal(zero.of_mut(&mut block), 0);
        }
        write_octal(header::SIZE.of_mut(&mut block), size);
        seal(&mut block, typeflag::PAX);
        let mut bytes = block.to_vec();
        bytes.append(&mut payload);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        Ok(bytes)
    }

    fn typeflag(&self) -> u8 {
        match self.kind {
            Kind::File { .. } => typeflag::FILE,
            Kind::HardLink { .. } => typeflag::HARD_LINK,
            Kind::Symlink { .. } => typeflag::SYMLINK,
            Kind::CharDevice { .. } => typeflag::CHAR_DEVICE,
            Kind::BlockDevice { .. } => typeflag::BLOCK_DEVICE,
            Kind::Directory => typeflag::DIRECTORY,
            Kind::Fifo => typeflag::FIFO,
        }
    }

    fn bad_text(&self, field: &'static str, value: &[u8], reason: &'static str) -> WriteError {
        WriteError::Text {
            name: self.name.clone(),
            field,
            value: value.into(),
            reason,
        }
    }

    fn bad_number(&self, field: &'static str, value: u64) -> WriteError {
        WriteError::Number {
            name: self.name.clone(),
            field,
            value,
        }
    }
}

/// A header block being filled in, and the records for what does not fit.
struct HeaderFields<'a> {
    header: &'a Header,
    block: Block,
    records: Records,
}

impl HeaderFields<'_> {
    fn name(&mut self, name: &[u8]) -> Result<(), WriteError> {
        let bad = |reason| Err(self.header.bad_text("name", &self.header.name, reason));
        if self.header.name.is_empty() {
            return bad("it is empty");
        }
        if self.header.kind != Kind::Directory && name.ends_with(b"/") {
            return bad("it ends in a slash but is no directory's");
        }
        if name.len() > header::NAME.len
            && let Some((prefix, rest)) = split_name(name)
        {
            self.text(header::PREFIX, "path", prefix)?;
            return self.text(header::NAME, "path", rest);
        }
        self.text(header::NAME, "path", name)
    }

    /// Writes a text into its field if it fits; if not, as much as does, and a record.
    fn text(
        &mut self,
        field: header::Field,
        key: &'static str,
        text: &[u8],
    ) -> Result<(), WriteError> {
        if text.contains(&0) {
            return Err(self.header.bad_text(field.name, text, "it has a NUL"));
        }
        let mut short = text;
        if text.len() > field.len {
            self.records.insert(key.into(), text.into());
            // A slash at the cut would make a directory of a file, for some readers.
            short = text[..field.len].trim_end_with(|c| c == '/');
        }
        put(field, &mut self.block, short);
        Ok(())
    }

    fn number(&mut self, field: header::Field, value: u64) -> Result<(), WriteError> {
        if !fits_octal(value, field.len) {
            return Err(self.header.bad_number(field.name, value));
        }
        write_octal(field.of_mut(&mut self.block), value);
        Ok(())
    }

    /// Writes a number into its field if it fits; if not, zero, and a record of the same name.
    fn number_or_record(&mut self, field: header::Field, value: u64) {
        let fits = fits_octal(value, field.len);
        if !fits {
            self.records
                .insert(field.name.into(), value.to_string().into());
        }
        write_octal(field.of_mut(&mut self.block), if fits { value } else { 0 });
    }

    fn mtime(&mut self) -> Result<(), WriteError> {
        let Time { secs, nanos } = self.header.mtime;
        if nanos >= SECOND {
            return Err(self
                .header
                .bad_number("nanoseconds of the time", nanos.into()));
        }
        let field = header::MTIME;
        let whole = u64::try_from(secs)
            .ok()
            .filter(|secs| fits_octal(*secs, field.len));
        if nanos != 0 || whole.is_none() {
            self.records
                .insert(field.name.into(), self.header.mtime.to_pax().into());
        }
        write_octal(field.of_mut(&mut self.block), whole.unwrap_or(0));
        Ok(())
    }
}

/// Splits a path that is too long for `name` at a slash, so that it fits `prefix` and `name`.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    // Neither part may be empty.
    let first = name.len().saturating_sub(header::NAME.len + 1).max(1);
    let last = header::PREFIX.len.min(name.len().checked_sub(2)?);
    let slash = first + name.get(first..=last)?.rfind_byte(b'/')?;
    Some((&name[..slash], &name[slash + 1..]))
}

fn put(field: header::Field, block: &mut Block, text: &[u8]) {
    field.of_mut(block)[..text.len()].copy_from_slice(text);
}

/// Writes what every header has: type, magic, checksum.
fn seal(block: &mut Block, typeflag: u8) {
    put(header::TYPEFLAG, block, &[typeflag]);
    put(header::MAGIC, block, header::USTAR_MAGIC);
    put(header::VERSION, block, header::USTAR_VERSION);
    let (sum, _) = header::checksums(block);
    let field = header::CHKSUM.of_mut(block);
    // Six digits, a NUL, and a space, as it has always been.
    write_octal(&mut field[..7], sum.cast_unsigned());
    field[7] = b' ';
}

/// Writes an archive.
///
/// An archive that is not [finished](TarWriter::finish) lacks its end marker.
#[derive(Debug)]
pub struct TarWriter<W> {
    sink: W,
    position: u64,
    state: Writing,
}

#[derive(Debug)]
enum Writing {
    /// The next header can follow.
    Between,
    /// Data of an entry are to come.
    Data {
        name: BString,
        size: u64,
        missing: u64,
    },
    /// Something failed half-way.
    Broken,
}

impl<W: Write> TarWriter<W> {
    /// A writer of an archive that begins where `sink` stands.
    #[must_use]
    pub fn new(sink: W) -> Self {
        Self {
            sink,
            position: 0,
            state: Writing::Between,
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Writes an entry's header; its data are to be written through what is returned. The
    /// [`Entry`] is what [`Reader`](crate::Reader) will report.
    ///
    /// # Errors
    ///
    /// If the entry before lacks data, this one cannot be expressed (the archive can then go on
    /// with another), or the sink fails.
    pub fn entry(&mut self, header: &Header) -> Result<(Entry, DataWriter<'_, W>), WriteError> {
        self.announced(header, |_, _| Ok(()))
    }

    /// [`TarWriter::entry`], but the sink is told of the entry before any byte of it.
    ///
    /// # Errors
    ///
    /// As there; an error of `tell` counts as the sink's.
    pub fn announced(
        &mut self,
        header: &Header,
        tell: impl FnOnce(&mut W, &Entry) -> io::Result<()>,
    ) -> Result<(Entry, DataWriter<'_, W>), WriteError> {
        self.close_entry()?;
        let (bytes, entry) = header.encode(self.position)?;
        if let Err(error) = tell(&mut self.sink, &entry) {
            self.state = Writing::Broken;
            return Err(WriteError::Sink(error));
        }
        self.put(&bytes)?;
        let size = entry.stored_size;
        self.state = Writing::Data {
            name: entry.name.clone(),
            size,
            missing: size,
        };
        Ok((entry, DataWriter { archive: self }))
    }

    /// Writes the end-of-archive marker, flushes, and gives the sink back.
    ///
    /// # Errors
    ///
    /// If the last entry lacks data, or the sink fails.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.close_entry()?;
        self.put(&[0; 2 * BLOCK])?;
        self.sink.flush().map_err(WriteError::Sink)?;
        Ok(self.sink)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if let Err(error) = self.sink.write_all(bytes) {
            self.state = Writing::Broken;
            return Err(WriteError::Sink(error));
        }
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Fills up the last entry's data to whole blocks.
    fn close_entry(&mut self) -> Result<(), WriteError> {
        match std::mem::replace(&mut self.state, Writing::Broken) {
            Writing::Broken => Err(WriteError::Broken),
            Writing::Data {
                name,
                size,
                missing,
            } if missing > 0 => Err(WriteError::Shrank {
                name,
                size,
                missing,
            }),
            Writing::Data { size, .. } => {
                // Less than a block.
                let zeros = [0; BLOCK];
                self.put(&zeros[..usize::try_from(padding(size)).unwrap_or(0)])?;
                self.state = Writing::Between;
                Ok(())
            }
            Writing::Between => {
                self.state = Writing::Between;
                Ok(())
            }
        }
    }
}

/// Takes the data of one entry: exactly as many bytes as its header announced.
///
/// May be dropped when they are written; if some are missing, the next call to the
/// [`TarWriter`] fails, and the archive is broken.
#[derive(Debug)]
pub struct DataWriter<'a, W> {
    archive: &'a mut TarWriter<W>,
}

impl<W: Write> DataWriter<'_, W> {
    /// Bytes that are still to be written.
    #[must_use]
    pub fn missing(&self) -> u64 {
        match self.archive.state {
            Writing::Data { missing, .. } => missing,
            _ => 0,
        }
    }

    /// Writes all that `source` has, which must be what the header announced.
    ///
    /// # Errors
    ///
    /// If it is less or more than announced, or cannot be read, or the sink fails. The archive is
    /// broken then.
    pub fn copy_from(&mut self, source: &mut dyn Read) -> Result<(), WriteError> {
        let result = self.try_copy_from(source);
        if result.is_err() {
            self.archive.state = Writing::Broken;
        }
        result
    }

    fn try_copy_from(&mut self, source: &mut dyn Read) -> Result<(), WriteError> {
        let Writing::Data { name, size, .. } = &self.archive.state else {
            return Err(WriteError::Broken);
        };
        let (name, size) = (name.clone(), *size);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match source.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(WriteError::Source { name, error }),
            };
            let missing = self.missing();
            if count == 0 {
                return match missing {
                    0 => Ok(()),
                    _ => Err(WriteError::Shrank {
                        name,
                        size,
                        missing,
                    }),
                };
            }
            if count as u64 > missing {
                return Err(WriteError::Grew { name, size });
            }
            self.write_all(&buffer[..count]).map_err(WriteError::Sink)?;
        }
    }
}

impl<W: Write> Write for DataWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let TarWriter {
            sink,
            position,
            state,
        } = &mut *self.archive;
        let Writing::Data {
            name,
            size,
            missing,
        } = state
        else {
            return Err(io::Error::other(WriteError::Broken));
        };
        if bytes.len() as u64 > *missing {
            let error = WriteError::Grew {
                name: name.clone(),
                size: *size,
            };
            *state = Writing::Broken;
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let count = sink.write(bytes)?;
        *missing -= count as u64;
        *position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.archive.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_where_both_parts_fit() {
        let split = |name: &str| {
            let (prefix, rest) = split_name(name.as_bytes())?;
            assert_eq!([prefix, b"/", rest].concat(), name.as_bytes());
            Some((prefix.len(), rest.len()))
        };
        let part = |length: usize| "n".repeat(length);
        assert_eq!(
            split(&format!("{}/{}", part(155), part(100))),
            Some((155, 100))
        );
        assert_eq!(split(&format!("{}/{}", part(156), part(99))), None);
        assert_eq!(split(&format!("{}/{}", part(99), part(101))), None);
        assert_eq!(split(&format!("{}/", part(120))), None);
        assert_eq!(
            split(&format!("{}/{}/", part(120), part(99))),
            Some((120, 100))
        );
        assert_eq!(split(&format!("/{}", part(100))), None);
        assert_eq!(split(&format!("a//{}", part(98))), Some((2, 98)));
        assert_eq!(
            split(&format!("a/{}/{}", part(50), part(60))),
            Some((52, 60))
        );
    }

    #[test]
    fn what_cannot_be_read_back_is_refused() {
        let file = |name: &str| Header::new(name, Kind::File { size: 0 });
        let link = |target: &str| {
            Header::new(
                "l",
                Kind::Symlink {
                    target: target.into(),
                },
            )
        };
        let xattr = |key: &str| Header {
            xattrs: [(key.into(), "v".into())].into(),
            ..file("x")
        };
        for header in [
            file(""),
            file("a/"),
            file("a\0"),
            link(""),
            link("a\0"),
            xattr(""),
            xattr("user.a=b"),
            xattr("user.\0"),
            Header {
                mode: 0o10_000_000,
                ..file("a")
            },
            Header {
                mtime: Time {
                    secs: 0,
                    nanos: SECOND,
                },
                ..file("a")
            },
            Header {
                uname: "a\0".into(),
                ..file("a")
            },
            Header::new("f", Kind::File { size: 1 << 63 }),
            Header::new(
                "d",
                Kind::CharDevice {
                    major: 1 << 21,
                    minor: 0,
                },
            ),
            Header {
                xattrs: [("user.a".into(), vec![0; 1 << 20].into())].into(),
                ..file("a")
            },
        ] {
            assert!(header.encode(0).is_err(), "{header:?}");
        }
    }

    #[test]
    fn a_size_that_changes_is_noticed() {
        let header = Header::new("f", Kind::File { size: 5 });
        let copy = |data: &[u8]| {
            let mut writer = TarWriter::new(Vec::new());
            let result = writer.entry(&header)?.1.copy_from(&mut &*data);
            assert_eq!(writer.entry(&header).is_err(), result.is_err());
            result
        };
        assert!(copy(b"12345").is_ok());
        assert!(matches!(
            copy(b"1234"),
            Err(WriteError::Shrank { missing: 1, .. })
        ));
        assert!(matches!(
            copy(b"123456"),
            Err(WriteError::Grew { size: 5, .. })
        ));
        let mut writer = TarWriter::new(Vec::new());
        drop(writer.entry(&header).expect("header"));
        assert!(matches!(
            writer.finish(),
            Err(WriteError::Shrank { missing: 5, .. })
        ));
    }
}
