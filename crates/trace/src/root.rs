//! Where the files come from.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fuser::{FileAttr, FileType, INodeNo};
use rustix::io::Errno;

use crate::{Error, Result};

/// A tree of files that is served and never changed. Paths are relative to it, and their parents no links.
pub trait Root: Send + Sync + 'static {
    /// What has this path; links are not followed.
    ///
    /// # Errors
    /// That there is nothing, or that it cannot be read.
    fn node(&self, path: &Path) -> io::Result<Node>;

    /// Names in a directory, and what they are, without `.` and `..`.
    ///
    /// # Errors
    /// As [`Root::node`].
    fn list(&self, path: &Path) -> io::Result<Vec<(OsString, FileType)>>;

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// As [`Root::node`].
    fn link(&self, path: &Path) -> io::Result<PathBuf>;

    /// A regular file's content.
    ///
    /// # Errors
    /// As [`Root::node`].
    fn open(&self, path: &Path) -> io::Result<File>;

    /// An extended attribute.
    ///
    /// # Errors
    /// `ENODATA` where there is none; as [`Root::node`].
    fn xattr(&self, path: &Path, name: &OsStr) -> io::Result<Vec<u8>>;

    /// Names of extended attributes, each ended by a NUL.
    ///
    /// # Errors
    /// As [`Root::node`].
    fn xattrs(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// Something in a [`Root`].
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// For what may have several names: the same for all of them, and for nothing else.
    pub identity: Option<(u64, u64)>,
    /// What is known of it. Whoever serves it sets the inode's number.
    pub attributes: FileAttr,
}

/// A directory as a root.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// A directory on this machine.
    ///
    /// # Errors
    /// [`Error::Root`] when it is none, or cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = || {
            let path = fs::canonicalize(path)?;
            fs::read_dir(&path)?;
            Ok(Self { path })
        };
        opened().map_err(|source| Error::Root {
            path: path.to_owned(),
            source,
        })
    }
}

impl Root for Directory {
    fn node(&self, path: &Path) -> io::Result<Node> {
        let metadata = fs::symlink_metadata(self.path.join(path))?;
        Ok(Node {
            identity: (!metadata.is_dir()).then(|| (metadata.dev(), metadata.ino())),
            attributes: attributes(&metadata).ok_or(Errno::OPNOTSUPP)?,
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(OsString, FileType)>> {
        let entries = fs::read_dir(self.path.join(path))?;
        let entries = entries.map(|entry| {
            let entry = entry?;
            let kind = FileType::from_std(entry.file_type()?);
            Ok((entry.file_name(), kind.ok_or(Errno::OPNOTSUPP)?))
        });
        entries.collect()
    }

    fn link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(self.path.join(path))
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(self.path.join(path))
    }

    fn xattr(&self, path: &Path, name: &OsStr) -> io::Result<Vec<u8>> {
        let path = self.path.join(path);
        let size = rustix::fs::lgetxattr_query(&path, name)?;
        let mut value = vec![0; size];
        let size = rustix::fs::lgetxattr(&path, name, &mut value)?;
        value.truncate(size);
        Ok(value)
    }

    fn xattrs(&self, path: &Path) -> io::Result<Vec<u8>> {
        let path = self.path.join(path);
        let size = rustix::fs::llistxattr_query(&path)?;
        let mut names = vec![0; size];
        let size = rustix::fs::llistxattr(&path, &mut names)?;
        names.truncate(size);
        Ok(names)
    }
}

fn attributes(metadata: &Metadata) -> Option<FileAttr> {
    Some(FileAttr {
        ino: INodeNo::ROOT,
        size: metadata.size(),
        blocks: metadata.blocks(),
        atime: metadata.accessed().unwrap_or(UNIX_EPOCH),
        mtime: metadata.modified().unwrap_or(UNIX_EPOCH),
        ctime: metadata.modified().unwrap_or(UNIX_EPOCH),
        crtime: UNIX_EPOCH,
        kind: FileType::from_std(metadata.file_type())?,
        // The type is in `kind`; what is left fits.
        perm: u16::try_from(metadata.mode() & 0o7777).ok()?,
        nlink: u32::try_from(metadata.nlink()).unwrap_or(u32::MAX),
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: u32::try_from(metadata.rdev()).unwrap_or(0),
        blksize: 4096,
        flags: 0,
    })
}
