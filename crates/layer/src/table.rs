//! From tar entries to the entries of a zTOC.

use bstr::BStr;
use sociable_policy::{Kind, facts};
use sociable_tar::{Reader, Sparse};
use sociable_ztoc::{Entry, EntryKind, Time};

use crate::{IndexError, Limits};

/// Collects a layer's table of contents while its tar streams by.
#[derive(Debug)]
pub(crate) struct Table {
    reader: Reader,
    entries: Vec<Entry>,
    limits: Limits,
    allow_unreadable: bool,
    /// What policies were not told of yet; `None` where nobody wants to know.
    untold: Option<Vec<facts::Entry<'static>>>,
}

impl Table {
    /// A table. Entries are kept for [`Table::untold`] if it `tells`.
    pub(crate) fn new(limits: Limits, allow_unreadable: bool, tells: bool) -> Self {
        let reader = Reader::new(sociable_tar::Limits::default());
        Self {
            reader,
            entries: Vec::new(),
            limits,
            allow_unreadable,
            untold: tells.then(Vec::new),
        }
    }

    /// Takes the next bytes of the tar; `compressed` is where the blob stands, for messages.
    pub(crate) fn feed(&mut self, bytes: &[u8], compressed: u64) -> Result<(), IndexError> {
        if bytes.is_empty() || self.reader.is_done() {
            return Ok(());
        }
        let Self {
            reader,
            entries,
            limits,
            allow_unreadable,
            untold,
        } = self;
        let mut refusal = None;
        let result = reader.feed(bytes, &mut |entry| {
            if refusal.is_some() {
                return;
            }
            if entries.len() >= limits.entries {
                refusal = Some(IndexError::Limit {
                    what: "tar entries",
                    limit: limits.entries as u64,
                    offset: compressed,
                });
                return;
            }
            let described = untold.is_some().then(|| described(&entry).into_owned());
            match convert(entry, *allow_unreadable) {
                Ok(entry) => {
                    entries.push(entry);
                    if let (Some(untold), Some(described)) = (&mut *untold, described) {
                        untold.push(described);
                    }
                }
                Err(error) => refusal = Some(error),
            }
        });
        // What is refused came first, however the tar was cut into pieces.
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(result?),
        }
    }

    /// Entries that came since this was last called, if the table was told to keep them.
    pub(crate) fn untold(&mut self) -> Vec<facts::Entry<'static>> {
        self.untold.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether the archive's end has passed.
    pub(crate) fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// How many entries there are so far.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries, and the tar's size up to its end marker.
    pub(crate) fn finish(mut self) -> Result<(Vec<Entry>, u64), IndexError> {
        let size = self.reader.finish()?;
        Ok((self.entries, size))
    }
}

/// The zTOC entry of a tar entry.
///
/// # Errors
/// [`IndexError::UnsupportedEntry`], and [`IndexError::Sparse`] unless that is allowed.
pub(crate) fn convert(
    entry: sociable_tar::Entry,
    allow_unreadable: bool,
) -> Result<Entry, IndexError> {
    let Some(kind) = entry_kind(entry.typeflag) else {
        return Err(IndexError::UnsupportedEntry {
            typeflag: entry.typeflag,
            name: entry.name,
            offset: entry.header_offset,
        });
    };
    if entry.sparse.is_some_and(|sparse| sparse != Sparse::Gnu) && !allow_unreadable {
        return Err(IndexError::Sparse {
            name: entry.name,
            offset: entry.header_offset,
        });
    }
    // A type without data reports whatever its size field says.
    let Ok(size) = u64::try_from(entry.size) else {
        return Err(IndexError::NegativeSize {
            name: entry.name,
            offset: entry.header_offset,
            size: entry.size,
        });
    };
    let mtime = Time {
        seconds: entry.mtime.secs,
        nanos: entry.mtime.nanos,
    };
    Ok(Entry {
        name: entry.name,
        kind,
        offset: entry.offset_after_header,
        size,
        linkname: entry.linkname,
        mode: entry.mode,
        uid: low_bits(entry.uid),
        gid: low_bits(entry.gid),
        uname: entry.uname,
        gname: entry.gname,
        mtime: mtime.to_rfc3339().is_some().then_some(mtime),
        devmajor: entry.devmajor,
        devminor: entry.devminor,
        pax_records: entry.pax,
    })
}

/// The type that a typeflag stands for, if a zTOC can hold it.
fn entry_kind(typeflag: u8) -> Option<EntryKind> {
    Some(match typeflag {
        b'0' => EntryKind::File,
        b'1' => EntryKind::Hardlink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        _ => return None,
    })
}

/// An entry of a tar as policies see it.
pub(crate) fn described(entry: &sociable_tar::Entry) -> facts::Entry<'_> {
    facts::Entry {
        path: facts::path(&entry.name),
        // What a zTOC cannot hold is refused elsewhere.
        kind: entry_kind(entry.typeflag).map_or(Kind::File, policy_kind),
        header: entry.header_offset,
        data: entry.offset_after_header,
        size: entry.stored_size,
        mode: permissions(entry.mode),
        link: link(entry.linkname.as_ref()),
    }
}

/// An entry of a zTOC as policies see it. Where its header begins is not known any more: it counts as its data.
#[must_use]
pub fn described_entry(entry: &Entry) -> facts::Entry<'_> {
    let kind = policy_kind(entry.kind);
    facts::Entry {
        path: facts::path(&entry.name),
        kind,
        header: entry.offset,
        data: entry.offset,
        size: if kind == Kind::File { entry.size } else { 0 },
        mode: permissions(entry.mode),
        link: link(entry.linkname.as_ref()),
    }
}

fn policy_kind(kind: EntryKind) -> Kind {
    match kind {
        EntryKind::File => Kind::File,
        EntryKind::Hardlink => Kind::HardLink,
        EntryKind::Symlink => Kind::Symlink,
        EntryKind::CharDevice => Kind::CharDevice,
        EntryKind::BlockDevice => Kind::BlockDevice,
        EntryKind::Directory => Kind::Directory,
        EntryKind::Fifo => Kind::Fifo,
    }
}

fn permissions(mode: i64) -> u32 {
    u32::try_from(mode & 0o7777).unwrap_or(0)
}

fn link(name: &BStr) -> Option<std::borrow::Cow<'_, str>> {
    (!name.is_empty()).then(|| String::from_utf8_lossy(name))
}

/// The format holds 32 bits of a number; the reference cuts off what is above.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as the reference does"
)]
fn low_bits(number: i64) -> u32 {
    number as u32
}
