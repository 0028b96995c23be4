//! A root over FUSE: what the kernel asks is answered, and what it reads is noted.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyXattr, Request, Session, SessionACL,
};

use crate::error::step;
use crate::root::{Node, Root};
use crate::{Recorder, Result};

/// Nothing changes while it is served: the kernel need not ask twice.
const FOREVER: Duration = Duration::from_secs(1 << 20);

/// A root as the kernel sees it.
pub(crate) struct Served {
    root: Arc<dyn Root>,
    recorder: Arc<Recorder>,
    read_ahead: u32,
    inodes: Mutex<Inodes>,
    open: Mutex<HashMap<u64, Open>>,
}

struct Inodes {
    /// The path by which each was found first; inode 1 is the first.
    paths: Vec<PathBuf>,
    numbers: HashMap<Key, u64>,
}

/// What makes an inode one.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Identity(u64, u64),
    Path(PathBuf),
}

struct Open {
    file: Arc<File>,
    size: u64,
    users: u64,
}

impl Served {
    /// `read_ahead`: how many bytes the kernel may read that nobody asked for.
    pub(crate) fn new(root: Arc<dyn Root>, recorder: Arc<Recorder>, read_ahead: u32) -> Self {
        Self {
            root,
            recorder,
            read_ahead,
            inodes: Mutex::new(Inodes {
                paths: vec![PathBuf::new()],
                numbers: HashMap::new(),
            }),
            open: Mutex::default(),
        }
    }

    /// Serves on an open `/dev/fuse` that is mounted, or about to be; until it is unmounted.
    pub(crate) fn start(self, device: OwnedFd) -> Result<BackgroundSession> {
        let config = Config::default();
        Session::from_fd(self, device, SessionACL::All, config)
            .and_then(Session::spawn)
            .map_err(step("answer the kernel's FUSE requests"))
    }

    fn path(&self, inode: INodeNo) -> io::Result<PathBuf> {
        let index = usize::try_from(inode.0 - 1).map_err(io::Error::other)?;
        let path = lock(&self.inodes).paths.get(index).cloned();
        path.ok_or_else(|| rustix::io::Errno::NOENT.into())
    }

    /// What has a path, with its inode's number.
    fn find(&self, path: PathBuf) -> io::Result<FileAttr> {
        let Node {
            identity,
            mut attributes,
        } = self.root.node(&path)?;
        if path.as_os_str().is_empty() {
            return Ok(attributes);
        }
        let Inodes { paths, numbers } = &mut *lock(&self.inodes);
        let key = identity.map_or_else(|| Key::Path(path.clone()), |(a, b)| Key::Identity(a, b));
        let number = *numbers.entry(key).or_insert_with(|| {
            paths.push(path);
            paths.len() as u64
        });
        attributes.ino = INodeNo(number);
        Ok(attributes)
    }

    fn open_file(&self, inode: INodeNo) -> io::Result<()> {
        if let Some(open) = lock(&self.open).get_mut(&inode.0) {
            open.users += 1;
            return Ok(());
        }
        let file = self.root.open(&self.path(inode)?)?;
        let size = file.metadata()?.len();
        let open = Open {
            file: Arc::new(file),
            size,
            users: 1,
        };
        lock(&self.open).insert(inode.0, open);
        Ok(())
    }

    fn read_file(&self, inode: INodeNo, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        let (file, size) = {
            let open = lock(&self.open);
            let open = open.get(&inode.0).ok_or(rustix::io::Errno::NOENT)?;
            (Arc::clone(&open.file), open.size)
        };
        // The kernel asks for no more than it has room for: 1 MiB, mostly 128 KiB.
        let mut bytes = vec![0; length as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        // A trace holds text only; what has another name cannot be in it.
        if let Some(path) = self.path(inode)?.to_str() {
            let name = || (format!("/{path}"), size);
            self.recorder.read(inode.0, name, offset, filled as u64);
        }
        Ok(bytes)
    }
}

impl Filesystem for Served {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Less than a page is none. More than the kernel offers is what it offers.
        if let Err(most) = config.set_max_readahead(self.read_ahead.max(1)) {
            let _ = config.set_max_readahead(most);
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.path(parent).and_then(|dir| self.find(dir.join(name))) {
            Ok(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            Err(error) => reply.error(error.into()),
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        match self.path(inode).and_then(|path| self.find(path)) {
            Ok(attributes) => reply.attr(&FOREVER, &attributes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn readlink(&self, _request: &Request, inode: INodeNo, reply: ReplyData) {
        match self.path(inode).and_then(|path| self.root.link(&path)) {
            Ok(target) => reply.data(target.as_os_str().as_bytes()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn open(&self, _request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.open_file(inode) {
            // As soci-snapshotter does: what was read once stays in the page cache.
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(error.into()),
        }
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read_file(inode, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn release(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let mut open = lock(&self.open);
        if let Some(file) = open.get_mut(&inode.0) {
            file.users -= 1;
            if file.users == 0 {
                open.remove(&inode.0);
            }
        }
        reply.ok();
    }

    fn readdir(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.path(inode).and_then(|path| self.root.list(&path));
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => return reply.error(error.into()),
        };
        // Numbers of inodes are given when something is looked up; in lists nobody needs them, but none may be 0.
        let dots = [".", ".."].map(|name| (name.into(), FileType::Directory));
        let all = dots.into_iter().chain(listed);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (next, (name, kind)) in (1..).zip(all).skip(from) {
            if reply.add(INodeNo(u64::MAX), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn getxattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let value = self.path(inode);
        sized(
            value.and_then(|path| self.root.xattr(&path, name)),
            size,
            reply,
        );
    }

    fn listxattr(&self, _request: &Request, inode: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.path(inode);
        sized(names.and_then(|path| self.root.xattrs(&path)), size, reply);
    }
}

/// An attribute for one who may have asked only how long it is.
fn sized(value: io::Result<Vec<u8>>, size: u32, reply: ReplyXattr) {
    match value {
        Ok(value) => match u32::try_from(value.len()) {
            Ok(length) if size == 0 => reply.size(length),
            Ok(length) if length <= size => reply.data(&value),
            _ => reply.error(Errno::ERANGE),
        },
        Err(error) => reply.error(error.into()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the kernel's end.
pub(crate) fn device() -> Result<OwnedFd> {
    let opened = File::options()
        .read(true)
        .write(true)
        .open(Path::new("/dev/fuse"));
    opened.map(OwnedFd::from).map_err(step("open /dev/fuse"))
}
