//! An image as a root: its layers merged, its files read through the index, nothing unpacked beforehand.
//!
//! The merged tree borrows the layers, so both live on a thread of their own that is asked. A file's content is extracted
//! when it is opened first, and kept in a temporary directory for as long as the root is.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use rustix::io::Errno;
use sociable_oci::Source;
use sociable_soci::files::Layers;
use sociable_soci::image::PlatformImage;
use sociable_soci::tree::{self, Tree, TreeError};
use sociable_soci::{Image, chain};
use sociable_ztoc::{Entry, EntryKind};
use tempfile::TempDir;

use crate::error::step;
use crate::root::{Node, Root};
use crate::{Error, Result};

/// An image as a root.
#[derive(Debug)]
pub struct Layered {
    asks: Sender<Ask>,
}

type Ask = Box<dyn FnOnce(&View<'_>) + Send>;

/// What the thread has.
struct View<'a> {
    source: &'a dyn Source,
    layers: &'a Layers,
    tree: &'a Tree<'a>,
    extracted: TempDir,
}

impl Layered {
    /// Reads the zTOCs of an image; layers without one are read whole.
    ///
    /// # Errors
    /// [`Error::Image`]; [`Error::Unseen`] when a layer cannot be seen.
    pub fn open(source: Box<dyn Source>, image: &Image, of: &PlatformImage) -> Result<Self> {
        let layers = Layers::open(&*source, image, of)?;
        let extracted = tempfile::Builder::new().prefix("sociable-trace-").tempdir();
        let extracted = extracted.map_err(step("make a temporary directory"))?;
        let (asks, asked) = mpsc::channel::<Ask>();
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            let tree = match layers.tree() {
                Ok(tree) => tree,
                // Nobody who waits for this goes away before.
                Err(error) => return drop(ready.send(Err(error.into()))),
            };
            if let Some(layer) = tree.unseen().first() {
                let why = layers.unseen(*layer).unwrap_or_default();
                return drop(ready.send(Err(Error::Unseen(why))));
            }
            let _ = ready.send(Ok(()));
            let view = View {
                source: &*source,
                layers: &layers,
                tree: &tree,
                extracted,
            };
            for ask in asked {
                ask(&view);
            }
        });
        is_ready.recv().unwrap_or(Err(Error::Gone))?;
        Ok(Self { asks })
    }

    fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&View<'_>) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (send, answer) = mpsc::channel();
        let gone = || io::Error::other(Error::Gone);
        let ask: Ask = Box::new(move |view| drop(send.send(what(view))));
        self.asks.send(ask).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

impl Root for Layered {
    fn node(&self, path: &Path) -> io::Result<Node> {
        let path = path.to_owned();
        self.ask(move |view| {
            let node = view.node(&path)?;
            let place = view.tree.holder(node);
            Ok(Node {
                identity: place
                    .filter(|_| node.kind == EntryKind::File)
                    .map(|(layer, entry)| (layer as u64, entry as u64)),
                attributes: attributes(node.kind, view.tree.content_entry(node))?,
            })
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(OsString, FileType)>> {
        let path = path.to_owned();
        self.ask(move |view| {
            let children = view.tree.children(view.node(&path)?);
            // A hard link that leads nowhere is something that no engine can unpack.
            let children = children.filter_map(|(name, node)| {
                Some((OsString::from_vec(name.to_vec()), kind(node.kind)?))
            });
            Ok(children.collect())
        })
    }

    fn link(&self, path: &Path) -> io::Result<PathBuf> {
        let path = path.to_owned();
        self.ask(move |view| {
            let target = view.tree.link_target(view.node(&path)?);
            let target = target.ok_or(Errno::INVAL)?;
            Ok(OsStr::from_bytes(target).into())
        })
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let path = path.to_owned();
        self.ask(move |view| view.open(&path))
    }

    fn xattr(&self, path: &Path, name: &OsStr) -> io::Result<Vec<u8>> {
        let (path, name) = (path.to_owned(), name.to_owned());
        self.ask(move |view| {
            let entry = view.tree.content_entry(view.node(&path)?);
            let mut attributes = entry.into_iter().flat_map(Entry::xattrs);
            let found = attributes.find(|(known, _)| *known == name.as_bytes());
            Ok(found.ok_or(Errno::NODATA)?.1.to_vec())
        })
    }

    fn xattrs(&self, path: &Path) -> io::Result<Vec<u8>> {
        let path = path.to_owned();
        self.ask(move |view| {
            let entry = view.tree.content_entry(view.node(&path)?);
            let attributes = entry.into_iter().flat_map(Entry::xattrs);
            Ok(attributes
                .flat_map(|(name, _)| [name.as_ref(), &b"\0"[..]].concat())
                .collect())
        })
    }
}

impl View<'_> {
    fn node(&self, path: &Path) -> io::Result<tree::Node> {
        let found = self.tree.lookup(path.as_os_str().as_bytes());
        found.map_err(|error| match error {
            TreeError::NotFound { .. } => Errno::NOENT.into(),
            TreeError::NotADirectory { .. } => Errno::NOTDIR.into(),
            error => io::Error::other(error),
        })
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let (layer, entry) = self
            .tree
            .content(self.node(path)?)
            .map_err(io::Error::other)?;
        let kept = self.extracted.path().join(format!("{layer}-{entry}"));
        if !kept.exists() {
            let mut file = tempfile::NamedTempFile::new_in(self.extracted.path())?;
            let path = path.as_os_str().as_bytes();
            self.layers
                .cat(self.source, self.tree, path, &mut file)
                .map_err(|error| io::Error::other(chain(&error)))?;
            file.persist(&kept)?;
        }
        File::open(kept)
    }
}

/// `None` for what cannot be in a file system.
fn kind(kind: EntryKind) -> Option<FileType> {
    Some(match kind {
        EntryKind::File => FileType::RegularFile,
        EntryKind::Directory => FileType::Directory,
        EntryKind::Symlink => FileType::Symlink,
        EntryKind::CharDevice => FileType::CharDevice,
        EntryKind::BlockDevice => FileType::BlockDevice,
        EntryKind::Fifo => FileType::NamedPipe,
        EntryKind::Hardlink => return None,
    })
}

/// `entry` is none for a directory that the image only implies.
fn attributes(of: EntryKind, entry: Option<&Entry>) -> io::Result<FileAttr> {
    let kind = kind(of).ok_or(Errno::NOENT)?;
    let size = entry.map_or(0, |entry| match of {
        EntryKind::File => entry.size,
        EntryKind::Symlink => entry.linkname.len() as u64,
        _ => 0,
    });
    let time = entry.and_then(|entry| entry.mtime).map_or(UNIX_EPOCH, time);
    let device = |number: i64| u32::try_from(number).unwrap_or(0);
    Ok(FileAttr {
        ino: INodeNo::ROOT,
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: entry
            .and_then(|entry| u16::try_from(entry.mode & 0o7777).ok())
            .unwrap_or(0o755),
        nlink: 1,
        uid: entry.map_or(0, |entry| entry.uid),
        gid: entry.map_or(0, |entry| entry.gid),
        rdev: entry
            .map(|entry| rustix::fs::makedev(device(entry.devmajor), device(entry.devminor)))
            .and_then(|device| u32::try_from(device).ok())
            .unwrap_or(0),
        blksize: 4096,
        flags: 0,
    })
}

fn time(time: sociable_ztoc::Time) -> SystemTime {
    let nanos = Duration::from_nanos(time.nanos.into());
    let since = match u64::try_from(time.seconds) {
        Ok(after) => UNIX_EPOCH.checked_add(Duration::from_secs(after)),
        Err(_) => UNIX_EPOCH.checked_sub(Duration::from_secs(time.seconds.unsigned_abs())),
    };
    since
        .and_then(|since| since.checked_add(nanos))
        .unwrap_or(UNIX_EPOCH)
}
