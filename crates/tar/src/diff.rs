//! Lists what an upper directory has changed of a lower one, as the entries of an image layer.
//!
//! Both are whole trees, such as BuildKit mounts; nothing says which file was written. So both are walked side by side, and what
//! differs is what BuildKit's differ for overlays says (`util/overlay`, `sameDirent` and `compareSysStat`): type, permissions, owner, group,
//! device number, `security.capability`; but for directories also size and modification time, and the content where both
//! times are whole seconds, since a tar has no finer ones.
//!
//! Entries are those that BuildKit's exporter writes (containerd's `archive.ChangeWriter`):
//!
//! * **Order:** a directory before what is in it, which is sorted by the bytes of its names. What is gone has its place in this order.
//! * **Whiteouts:** an empty file `.wh.NAME`, of 1970, mode 0, owned by root, for a name that is gone. What was below it needs none.
//!   `.wh..wh..opq` is never written: a directory that was replaced gets whiteouts for what it lost.
//! * **Parents:** a directory that did not change comes before what changed in it, as it is above.
//! * **Links:** of several names of one inode among the entries the first is the file, the others are hard links to it. A new name of a
//!   file that did not change is the file once more, since the old name is no entry.
//! * **Attributes:** `security.capability` alone. Sockets are left out.
//!
//! Memory is needed for the names in one directory on each level, and for one name of each inode that has more.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::iter::Peekable;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::vec;

use bstr::BString;
use rustix::fs::OFlags;

use crate::pax::Time;
use crate::walk::{Inode, WalkEntry, WalkError, io_error, kind, list_names, open_file, read_xattr};
use crate::write::{Header, Kind};

const CAPABILITY: &[u8] = b"security.capability";
const WHITEOUT: &[u8] = b".wh.";
/// Bytes of two files that are compared at once.
const PIECE: usize = 128 << 10;

/// Something that changed.
#[derive(Debug)]
pub enum Change {
    /// It is new, or other than it was; or the parent of such.
    Entry(Box<WalkEntry>),
    /// It is gone: its whiteout.
    Whiteout(Header),
}

impl Change {
    /// The entry's header.
    #[must_use]
    pub fn header(&self) -> &Header {
        match self {
            Self::Entry(entry) => &entry.header,
            Self::Whiteout(header) => header,
        }
    }

    /// Opens the content.
    ///
    /// # Errors
    /// As [`WalkEntry::open`]. A whiteout has none to open.
    pub fn open(&self) -> Result<Box<dyn Read + Send>, WalkError> {
        match self {
            Self::Entry(entry) => Ok(Box::new(entry.open()?)),
            Self::Whiteout(_) => Ok(Box::new(io::empty())),
        }
    }
}

/// A walk through two directories.
#[derive(Debug)]
pub struct Diff {
    lower: Option<PathBuf>,
    upper: PathBuf,
    epoch: Option<i64>,
    levels: Vec<Level>,
    /// Found, and not yet given.
    ready: VecDeque<Change>,
    /// The first name of each inode among the entries.
    links: HashMap<Inode, BString>,
    started: bool,
}

/// A directory that is being walked.
#[derive(Debug)]
struct Level {
    /// Its name with a slash, or nothing for the root.
    directory: BString,
    above: Peekable<vec::IntoIter<BString>>,
    below: Peekable<vec::IntoIter<BString>>,
    /// Whether there is a directory of this name below.
    is_below: bool,
    /// Its own entry, until something in it makes it one.
    parent: Option<Box<WalkEntry>>,
}

impl Diff {
    /// What is in `upper` and not, or otherwise, in `lower`; all of it, where there is none. Times later than `epoch` (seconds
    /// since 1970) are set to it.
    #[must_use]
    pub fn new(lower: Option<PathBuf>, upper: PathBuf, epoch: Option<i64>) -> Self {
        Self {
            lower,
            upper,
            epoch,
            levels: Vec::new(),
            ready: VecDeque::new(),
            links: HashMap::new(),
            started: false,
        }
    }

    fn above(&self, name: &[u8]) -> PathBuf {
        self.upper.join(OsStr::from_bytes(name))
    }

    fn below(&self, name: &[u8]) -> Option<PathBuf> {
        let lower = self.lower.as_ref()?;
        Some(lower.join(OsStr::from_bytes(name)))
    }

    fn enter(
        &mut self,
        directory: BString,
        inode: Option<Inode>,
        is_below: bool,
        parent: Option<Box<WalkEntry>>,
    ) -> Result<(), WalkError> {
        let above = list_names(&self.above(&directory), inode)?;
        let below = match self.below(&directory) {
            Some(path) if is_below => list_names(&path, None)?,
            _ => Vec::new(),
        };
        self.levels.push(Level {
            directory,
            above: above.into_iter().peekable(),
            below: below.into_iter().peekable(),
            is_below,
            parent,
        });
        Ok(())
    }

    /// Looks at the next name. False at the end.
    fn step(&mut self) -> Result<bool, WalkError> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(false);
        };
        let is_below = level.is_below;
        let next = match (level.above.peek(), level.below.peek()) {
            (None, None) => {
                self.levels.pop();
                return Ok(true);
            }
            (Some(above), Some(below)) if above > below => level.below.next().map(Gone),
            (Some(above), Some(below)) if above < below => level.above.next().map(There),
            (Some(_), _) => {
                level.below.next();
                level.above.next().map(There)
            }
            (None, Some(_)) => level.below.next().map(Gone),
        };
        match next {
            Some(Gone(name)) => {
                let whiteout = [&level.directory[..], WHITEOUT, &name[..]].concat();
                self.give(Change::Whiteout(Header {
                    mode: 0,
                    ..Header::new(whiteout, Kind::File { size: 0 })
                }));
            }
            Some(There(name)) => {
                let name = BString::from([&level.directory[..], &name[..]].concat());
                self.visit(name, is_below)?;
            }
            None => {}
        }
        Ok(true)
    }

    /// Looks at what is there above.
    fn visit(&mut self, name: BString, is_below: bool) -> Result<(), WalkError> {
        let path = self.above(&name);
        let metadata = stat(&path)?;
        let lower = self.below(&name).filter(|_| is_below);
        let lower = match lower {
            Some(path) => match fs::symlink_metadata(&path) {
                Ok(metadata) => Some((path, metadata)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(io_error("stat", &path, error)),
            },
            None => None,
        };
        let same = match &lower {
            Some((lower, below)) => same(&path, &metadata, lower, below)?,
            None => false,
        };
        if metadata.is_dir() {
            let mut name = name;
            name.push(b'/');
            let entry = self.entry(name.clone(), path, &metadata, Kind::Directory)?;
            let is_below = lower.is_some_and(|(_, below)| below.is_dir());
            let entry = Box::new(entry);
            let inode = Some(entry.inode);
            if same {
                return self.enter(name, inode, is_below, Some(entry));
            }
            self.give(Change::Entry(entry));
            return self.enter(name, inode, is_below, None);
        }
        if same || metadata.file_type().is_socket() {
            return Ok(());
        }
        let inode = (metadata.dev(), metadata.ino());
        let kind = match self.links.get(&inode) {
            Some(target) if metadata.nlink() > 1 => Kind::HardLink {
                target: target.clone(),
            },
            _ => match kind(&path, &metadata)? {
                Some(kind) => kind,
                None => return Ok(()),
            },
        };
        if metadata.nlink() > 1 {
            self.links.entry(inode).or_insert_with(|| name.clone());
        }
        let entry = self.entry(name, path, &metadata, kind)?;
        self.give(Change::Entry(Box::new(entry)));
        Ok(())
    }

    fn entry(
        &self,
        name: BString,
        path: PathBuf,
        metadata: &Metadata,
        kind: Kind,
    ) -> Result<WalkEntry, WalkError> {
        let mut mtime = Time::from_secs(metadata.mtime());
        if let Some(epoch) = self.epoch {
            mtime = mtime.min(Time::from_secs(epoch));
        }
        let mut header = Header {
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime,
            ..Header::new(name, kind)
        };
        if !matches!(header.kind, Kind::HardLink { .. })
            && let Some(value) = capability(&path)?
        {
            header.xattrs.insert(CAPABILITY.into(), value);
        }
        Ok(WalkEntry {
            header,
            path,
            inode: (metadata.dev(), metadata.ino()),
        })
    }

    /// Gives a change, after the parents that have not been given yet.
    fn give(&mut self, change: Change) {
        let parents = self.levels.iter_mut();
        let parents = parents.filter_map(|level| level.parent.take());
        self.ready.extend(parents.map(Change::Entry));
        self.ready.push_back(change);
    }
}

enum Next {
    Gone(BString),
    There(BString),
}
use Next::{Gone, There};

impl Iterator for Diff {
    type Item = Result<Change, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.started {
            self.started = true;
            let is_below = self.lower.is_some();
            if let Err(error) = self.enter(BString::default(), None, is_below, None) {
                return Some(Err(error));
            }
        }
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Some(Ok(change));
            }
            match self.step() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn stat(path: &Path) -> Result<Metadata, WalkError> {
    fs::symlink_metadata(path).map_err(|error| io_error("stat", path, error))
}

fn capability(path: &Path) -> Result<Option<BString>, WalkError> {
    let value = read_xattr(path, CAPABILITY)
        .map_err(|error| io_error("read extended attributes of", path, error.into()))?;
    // As containerd has it, an empty one is none.
    Ok(value.filter(|value| !value.is_empty()))
}

/// Whether nothing that an image keeps has changed.
fn same(
    upper_path: &Path,
    upper: &Metadata,
    lower_path: &Path,
    lower: &Metadata,
) -> Result<bool, WalkError> {
    let facts = |m: &Metadata| (m.mode(), m.uid(), m.gid(), m.rdev());
    if facts(upper) != facts(lower) {
        return Ok(false);
    }
    let changed = |m: &Metadata| (m.ctime(), m.ctime_nsec());
    let directory = upper.is_dir();
    // Overlays show a file of a layer below with that file's own inode and times: then it is the very same file, and its
    // attributes and content need not be looked at. A copy has another time of change.
    if !directory
        && upper.ino() == lower.ino()
        && changed(upper) == changed(lower)
        && upper.size() == lower.size()
        && (upper.mtime(), upper.mtime_nsec()) == (lower.mtime(), lower.mtime_nsec())
    {
        return Ok(true);
    }
    if capability(upper_path)? != capability(lower_path)? {
        return Ok(false);
    }
    if directory {
        return Ok(true);
    }
    if upper.size() != lower.size() || upper.mtime() != lower.mtime() {
        return Ok(false);
    }
    match (upper.mtime_nsec(), lower.mtime_nsec()) {
        (0, 0) if upper.file_type().is_symlink() => {
            let target = |path: &Path| {
                fs::read_link(path).map_err(|error| io_error("read link", path, error))
            };
            Ok(target(upper_path)? == target(lower_path)?)
        }
        (0, 0) if upper.is_file() && upper.size() > 0 => same_content(upper_path, lower_path),
        (above, below) => Ok(above == below),
    }
}

fn same_content(one: &Path, other: &Path) -> Result<bool, WalkError> {
    let mut files = [
        open_file(one, OFlags::NOFOLLOW, None)?,
        open_file(other, OFlags::NOFOLLOW, None)?,
    ];
    let mut buffers = [vec![0; PIECE], vec![0; PIECE]];
    loop {
        let [one_file, other_file] = &mut files;
        let [one_buffer, other_buffer] = &mut buffers;
        let read = fill(one_file, one_buffer).map_err(|e| io_error("read", one, e))?;
        let other = fill(other_file, other_buffer).map_err(|e| io_error("read", other, e))?;
        if one_buffer[..read] != other_buffer[..other] {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
