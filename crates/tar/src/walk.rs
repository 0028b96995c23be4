//! Lists a directory in the order, and with the headers, in which it should be packed.
//!
//! * **Order:** a directory comes before what is in it; what is in it is sorted by the bytes of its
//!   names. So the order depends on nothing but names. The directory walked is itself no entry.
//! * **Links:** symbolic links are entries, never followed. Of several names of one inode (of
//!   anything but a directory) the first in order is the entry, the others are hard links to it.
//! * **Headers:** permission bits, owner and group as numbers (names only if [`Owner`] gives them),
//!   modification time in whole seconds unless asked otherwise, device numbers. Names are relative
//!   to the directory, without `./`; those of directories end in a slash.
//! * **Extended attributes:** `security.capability`, `user.*`, and `trusted.*` where the process may
//!   read it, as container engines keep them; but not `user.overlay.*` and `trusted.overlay.*`,
//!   which are overlayfs's own notes about its directories. All others are left behind:
//!   `system.posix_acl_*`, `security.selinux`, `security.ima`, and whatever else belongs to one
//!   machine. A hard link has none: they are its target's.
//! * **Left out:** sockets, which no archive can hold ([`Found::Skipped`]), and what [`Excludes`]
//!   says. Whiteouts of an overlayfs are the devices that they are; nobody converts them here.
//!
//! Memory is needed for the names in one directory on each level, and for one name of each inode
//! of which more names are to come.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bstr::BString;
use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::pax::Time;
use crate::write::{Header, Kind};

/// How to walk.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What to leave out.
    pub excludes: Excludes,
    /// Latest modification time, in seconds since 1970: later ones are set to it. That is what
    /// `SOURCE_DATE_EPOCH` asks for.
    pub epoch: Option<i64>,
    /// Owner of everything, instead of the file system's.
    pub owner: Option<Owner>,
    /// Keep fractions of seconds. Each costs its entry an extension header of 1 KiB.
    pub subsecond: bool,
    /// Leave extended attributes out.
    pub no_xattrs: bool,
}

/// Who owns an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name, or nothing.
    pub uname: BString,
    /// Group's name, or nothing.
    pub gname: BString,
}

/// What a walk finds.
#[derive(Debug)]
pub enum Found {
    /// An entry.
    Entry(Box<WalkEntry>),
    /// Something that cannot be in an archive, to be reported.
    Skipped {
        /// Its name, relative to the directory walked.
        name: BString,
        /// What it is.
        reason: &'static str,
    },
}

/// An entry to be packed.
#[derive(Debug)]
pub struct WalkEntry {
    /// Its header.
    pub header: Header,
    /// Where it is.
    pub path: PathBuf,
    pub(crate) inode: Inode,
}

/// Device and inode: what a file is, whatever its name.
pub(crate) type Inode = (u64, u64);

/// A part of a directory that cannot be walked. The walk goes on after it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        error: io::Error,
    },
    /// Another file has taken the place of the one that was listed.
    #[error("{} was replaced while it was read", path.display())]
    Replaced {
        /// Where.
        path: PathBuf,
    },
}

impl WalkEntry {
    /// Opens the file, never anything that has taken its place since.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or is another file now.
    pub fn open(&self) -> Result<File, WalkError> {
        let file = open_file(&self.path, OFlags::NOFOLLOW, Some(self.inode))?;
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(file),
            Ok(_) => Err(WalkError::Replaced {
                path: self.path.clone(),
            }),
            Err(error) => Err(io_error("stat", &self.path, error)),
        }
    }
}

/// A walk through a directory.
#[derive(Debug)]
pub struct Walk {
    root: PathBuf,
    options: Options,
    /// Directories that are being listed, from the root down.
    levels: Vec<Level>,
    /// A directory that was reported last and not yet listed.
    entered: Option<(BString, Option<Inode>)>,
    links: HashMap<Inode, Link>,
}

/// What is left of a directory: its name with a slash, and names in it, in order.
#[derive(Debug)]
struct Level {
    directory: BString,
    names: std::vec::IntoIter<BString>,
}

/// The first name of an inode, and how many more there must be.
#[derive(Debug)]
struct Link {
    name: BString,
    to_come: u64,
}

impl Walk {
    /// A walk through the directory `root`, which may be a symbolic link to one.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, options: Options) -> Self {
        let entered = Some((BString::default(), None));
        Self {
            root: root.into(),
            options,
            levels: Vec::new(),
            entered,
            links: HashMap::new(),
        }
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(name))
    }

    /// Lists a directory.
    fn list(&mut self, directory: BString, inode: Option<Inode>) -> Result<(), WalkError> {
        let path = if directory.is_empty() {
            self.root.clone()
        } else {
            self.path(&directory)
        };
        let names = list_names(&path, inode)?;
        self.levels.push(Level {
            directory,
            names: names.into_iter(),
        });
        Ok(())
    }

    /// Looks at one name. `None` if it is excluded.
    fn visit(&mut self, name: BString) -> Result<Option<Found>, WalkError> {
        let path = self.path(&name);
        let metadata =
            fs::symlink_metadata(&path).map_err(|error| io_error("stat", &path, error))?;
        if self.options.excludes.excludes(&name, metadata.is_dir()) {
            return Ok(None);
        }
        let inode = (metadata.dev(), metadata.ino());
        let kind = match self.linked(inode, &metadata) {
            Some(target) => Kind::HardLink { target },
            None => match kind(&path, &metadata)? {
                Some(kind) => kind,
                None => {
                    return Ok(Some(Found::Skipped {
                        name,
                        reason: "a socket",
                    }));
                }
            },
        };
        if metadata.nlink() > 1 && !matches!(kind, Kind::HardLink { .. } | Kind::Directory) {
            let link = Link {
                name: name.clone(),
                to_come: metadata.nlink() - 1,
            };
            self.links.insert(inode, link);
        }
        let mut header = self.header(name, kind, &metadata);
        if !self.options.no_xattrs && !matches!(header.kind, Kind::HardLink { .. }) {
            let xattrs = xattrs(&path);
            header.xattrs = xattrs
                .map_err(|error| io_error("read extended attributes of", &path, error.into()))?;
        }
        if header.kind == Kind::Directory {
            header.name.push(b'/');
            self.entered = Some((header.name.clone(), Some(inode)));
        }
        Ok(Some(Found::Entry(Box::new(WalkEntry {
            header,
            path,
            inode,
        }))))
    }

    /// The name under which an inode was reported before, if it was.
    fn linked(&mut self, inode: Inode, metadata: &Metadata) -> Option<BString> {
        if metadata.nlink() < 2 || metadata.is_dir() {
            return None;
        }
        let link = self.links.get_mut(&inode)?;
        link.to_come -= 1;
        if link.to_come > 0 {
            return Some(link.name.clone());
        }
        self.links.remove(&inode).map(|link| link.name)
    }

    fn header(&self, name: BString, kind: Kind, metadata: &Metadata) -> Header {
        let mut mtime = Time {
            secs: metadata.mtime(),
            nanos: if self.options.subsecond {
                u32::try_from(metadata.mtime_nsec()).unwrap_or(0)
            } else {
                0
            },
        };
        if let Some(epoch) = self.options.epoch {
            mtime = mtime.min(Time::from_secs(epoch));
        }
        let owner = self.options.owner.clone().unwrap_or_else(|| Owner {
            uid: metadata.uid(),
            gid: metadata.gid(),
            ..Owner::default()
        });
        Header {
            mode: metadata.mode() & 0o7777,
            uid: owner.uid,
            gid: owner.gid,
            uname: owner.uname,
            gname: owner.gname,
            mtime,
            ..Header::new(name, kind)
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Found, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((directory, inode)) = self.entered.take()
                && let Err(error) = self.list(directory, inode)
            {
                return Some(Err(error));
            }
            let level = self.levels.last_mut()?;
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let name = [&level.directory[..], &name[..]].concat().into();
            if let Some(found) = self.visit(name).transpose() {
                return Some(found);
            }
        }
    }
}

/// The names in a directory, sorted. With an inode it has to be that very directory; without, it may be reached through a symbolic
/// link.
pub(crate) fn list_names(path: &Path, inode: Option<Inode>) -> Result<Vec<BString>, WalkError> {
    // Through a slash at the end a symbolic link would be followed.
    let path = path.components().as_path();
    let nofollow = if inode.is_some() {
        OFlags::NOFOLLOW
    } else {
        OFlags::empty()
    };
    let file = open_file(path, OFlags::DIRECTORY | nofollow, inode)?;
    let error = |error: Errno| io_error("list", path, error.into());
    let mut names = Vec::new();
    for entry in Dir::read_from(&file).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(BString::from(name));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What an inode is, as an entry; `None` for a socket.
pub(crate) fn kind(path: &Path, metadata: &Metadata) -> Result<Option<Kind>, WalkError> {
    let kind = metadata.file_type();
    let (major, minor) = (
        rustix::fs::major(metadata.rdev()),
        rustix::fs::minor(metadata.rdev()),
    );
    Ok(Some(if kind.is_file() {
        Kind::File {
            size: metadata.len(),
        }
    } else if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        let target = fs::read_link(path).map_err(|error| io_error("read link", path, error))?;
        Kind::Symlink {
            target: target.into_os_string().into_vec().into(),
        }
    } else if kind.is_char_device() {
        Kind::CharDevice { major, minor }
    } else if kind.is_block_device() {
        Kind::BlockDevice { major, minor }
    } else if kind.is_fifo() {
        Kind::Fifo
    } else {
        return Ok(None);
    }))
}

/// Opens what is expected to be this inode. Does not wait, should it have become a FIFO.
pub(crate) fn open_file(
    path: &Path,
    flags: OFlags,
    expected: Option<Inode>,
) -> Result<File, WalkError> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        // A symbolic link.
        Err(Errno::LOOP) if flags.contains(OFlags::NOFOLLOW) => {
            return Err(WalkError::Replaced {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(io_error("open", path, error.into())),
    };
    let metadata = file
        .metadata()
        .map_err(|error| io_error("stat", path, error))?;
    match expected {
        Some(expected) if expected != (metadata.dev(), metadata.ino()) => {
            Err(WalkError::Replaced {
                path: path.to_owned(),
            })
        }
        _ => Ok(file),
    }
}

pub(crate) fn io_error(action: &'static str, path: &Path, error: io::Error) -> WalkError {
    WalkError::Io {
        action,
        path: path.to_owned(),
        error,
    }
}

/// Whether an extended attribute belongs into an image.
fn is_packed(name: &[u8]) -> bool {
    name == b"security.capability"
        || [&b"user."[..], b"trusted."].iter().any(|class| {
            name.strip_prefix(*class)
                .is_some_and(|rest| !rest.starts_with(b"overlay."))
        })
}

fn xattrs(path: &Path) -> Result<std::collections::BTreeMap<BString, BString>, Errno> {
    let list = match read_growing(|buffer| rustix::fs::llistxattr(path, buffer)) {
        Ok(list) => list,
        Err(Errno::OPNOTSUPP) => return Ok([].into()),
        Err(error) => return Err(error),
    };
    let mut xattrs = std::collections::BTreeMap::new();
    for name in list.split(|&byte| byte == 0).filter(|name| is_packed(name)) {
        // It may have been removed since it was listed.
        if let Some(value) = read_xattr(path, name)? {
            xattrs.insert(name.into(), value);
        }
    }
    Ok(xattrs)
}

/// One extended attribute, if there is one of this name.
pub(crate) fn read_xattr(path: &Path, name: &[u8]) -> Result<Option<BString>, Errno> {
    match read_growing(|buffer| rustix::fs::lgetxattr(path, name, buffer)) {
        Ok(value) => Ok(Some(value.into())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads what has no known size, with a buffer that is grown until it is large enough.
fn read_growing(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    // The kernel's limit is 64 KiB for a value as for a list.
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(size) => {
                buffer.truncate(size);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 8, 0),
            Err(error) => return Err(error),
        }
    }
}

/// Patterns of names to leave out, as in a `.gitignore` at the top of the directory.
///
/// * `*` and `?` match anything but a slash, `[a-z]` one of a set, `{a,b}` one of several;
///   `**/` any directories, `/**` everything below. A backslash takes the meaning off.
/// * A pattern with a slash at its beginning or within it is relative to the directory walked;
///   one without matches a name on any level.
/// * A slash at the end: directories only.
/// * `!` before a pattern takes names in again that an earlier pattern left out.
/// * Of all patterns that match, the last decides.
/// * What is in a directory that is left out is not looked at, so no `!` can take it in.
/// * Empty lines, and those that begin with `#`, mean nothing; spaces at the end are cut off.
#[derive(Debug, Clone, Default)]
pub struct Excludes {
    globs: GlobSet,
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    excludes: bool,
    directories_only: bool,
}

/// A pattern that is none.
#[derive(Debug, thiserror::Error)]
#[error("invalid pattern {pattern:?}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    #[source]
    pub error: globset::Error,
}

impl Excludes {
    /// Reads patterns.
    ///
    /// # Errors
    ///
    /// If one of them is none.
    pub fn new<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, PatternError> {
        let mut globs = GlobSetBuilder::new();
        let mut patterns = Vec::new();
        let mut last = "";
        let fail = |line: &str, error| PatternError {
            pattern: line.to_owned(),
            error,
        };
        for line in lines {
            let Some((glob, pattern)) = parse_pattern(line) else {
                continue;
            };
            last = line;
            let mut builder = GlobBuilder::new(&glob);
            let glob = builder
                .literal_separator(true)
                .backslash_escape(true)
                .build();
            globs.add(glob.map_err(|error| fail(line, error))?);
            patterns.push(pattern);
        }
        let globs = globs.build().map_err(|error| fail(last, error))?;
        Ok(Self { globs, patterns })
    }

    /// Whether something is left out: a name relative to the directory walked, without a slash at
    /// its end.
    #[must_use]
    pub fn excludes(&self, name: &[u8], is_directory: bool) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let candidate = Candidate::new(OsStr::from_bytes(name));
        let matches = self.globs.matches_candidate(&candidate);
        let matches = matches.iter().rev().map(|&index| &self.patterns[index]);
        let mut matches = matches.filter(|pattern| is_directory || !pattern.directories_only);
        matches.next().is_some_and(|pattern| pattern.excludes)
    }
}

/// The glob for a line of patterns, and how to take it; `None` for lines without meaning.
fn parse_pattern(line: &str) -> Option<(String, Pattern)> {
    let mut line = line.trim_end_matches(['\r', '\n']);
    while let Some(rest) = line.strip_suffix(' ')
        && !rest.ends_with('\\')
    {
        line = rest;
    }
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (excludes, line) = match line.strip_prefix('!') {
        Some(rest) => (false, rest),
        None => (true, line),
    };
    let (directories_only, line) = match line.strip_suffix('/') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let glob = match line.strip_prefix('/') {
        Some(rest) => rest.to_owned(),
        None if line.contains('/') => line.to_owned(),
        None => format!("**/{line}"),
    };
    (!line.is_empty()).then_some((
        glob,
        Pattern {
            excludes,
            directories_only,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_gitignore() {
        let cases: &[(&[&str], &str, bool)] = &[
            (&["*.o"], "a.o", true),
            (&["*.o"], "d/e/a.o", true),
            (&["*.o"], "a.o.c", false),
            (&["/*.o"], "d/a.o", false),
            (&["/a"], "a/", true),
            (&["/a"], "b/a", false),
            (&["d/*.o"], "d/a.o", true),
            (&["d/*.o"], "e/d/a.o", false),
            (&["d/*.o"], "d/e/a.o", false),
            (&["build/"], "build", false),
            (&["build/"], "build/", true),
            (&["build/"], "x/build/", true),
            (&["a/**"], "a/", false),
            (&["a/**"], "a/b/c", true),
            (&["**/a"], "x/y/a", true),
            (&["a/**/b"], "a/b", true),
            (&["a/**/b"], "a/x/y/b", true),
            (&["*.o", "!keep.o"], "keep.o", false),
            (&["!keep.o", "*.o"], "keep.o", true),
            (&["#x", "", "  "], "#x", false),
            (&["\\#x"], "#x", true),
            (&["\\!x"], "!x", true),
            (&["x  "], "x", true),
            (&["x\\ "], "x ", true),
            (&["[ab]?"], "b7", true),
            (&["*"], ".hidden", true),
        ];
        for (patterns, name, expected) in cases {
            let excludes = Excludes::new(patterns.iter().copied()).expect("patterns");
            let directory = name.ends_with('/');
            let name = name.trim_end_matches('/');
            assert_eq!(
                excludes.excludes(name.as_bytes(), directory),
                *expected,
                "{patterns:?} {name}"
            );
        }
        assert!(Excludes::new(["[a"]).is_err());
        let any = Excludes::new(["*.o"]).expect("patterns");
        assert!(any.excludes(b"\xff.o", false));
    }

    #[test]
    fn only_attributes_that_travel_are_packed() {
        for name in [
            "security.capability",
            "user.x",
            "trusted.x",
            "user.overlayx",
        ] {
            assert!(is_packed(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "security.selinux",
            "security.capability2",
            "system.posix_acl_access",
            "trusted.overlay.opaque",
            "user.overlay.opaque",
            "userx",
        ] {
            assert!(!is_packed(name.as_bytes()), "{name}");
        }
    }
}
