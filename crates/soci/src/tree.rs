//! The file system that an image's layers make together, seen through their zTOCs.
//!
//! [`Tree::merge`] shows what a container would see whose layers were unpacked by containerd (or Docker) and stacked
//! by overlayfs: image-spec `layer.md`, containerd `pkg/archive/tar.go`. Only the entries' descriptions are needed;
//! no layer is read.
//!
//! * **Names** are bytes, cleaned as Go's `path.Clean("/" + name)` does. Missing parent directories are implied.
//! * **Within a layer** entries apply in order: a later one replaces an earlier one of the same name, with all that is
//!   in it, but a directory on a directory only changes its metadata. An entry below a symbolic link *of the same
//!   layer* goes where that link leads; below a link of a lower layer it makes a directory that hides the link.
//! * **Across layers** directories join, everything else hides what is below, even where a directory of its own layer
//!   replaced it (engines differ there). A directory that a layer only implies keeps the metadata it has from below.
//! * **Whiteouts**: `.wh.NAME` removes what lower layers have under NAME, `.wh..wh..opq` what they have in the
//!   directory; wherever they stand, they do nothing to their own layer. Other names that begin with `.wh..wh.` are
//!   AUFS's own notes: hidden, but hard links may lead into them. A character device 0, 0 is a device here.
//! * **Hard links** lead to what their target's name stood for in the same layer, before them. One that leads nowhere
//!   is listed, with the kind [`EntryKind::Hardlink`], and [`Tree::content`] says what is wrong with it.
//! * **Left out** are entries that no engine can unpack: below a file of the same layer, below links that lead in
//!   circles, whiteouts of nothing, a root that is no directory. [`Tree::left_out`] counts them.
//! * **Unseen layers** (no zTOC) are `None`. Whatever is found says which of them might change it: [`Tree::doubts`],
//!   [`Tree::doubts_inside`], and in the errors.
//!
//! What enters: entries as zTOCs have them, none of it trusted, and paths. What leaves: places of entries, layer and
//! index, both counted from 0. What must never be done here: reading layers.
//!
//! Memory: 48 bytes for every name and 11 to 22 for finding it; names stay where they are, in the entries.
//!
//! # How it works
//! Every entry has a number, rising through the layers. For a name the tree keeps the number of the entry that touched
//! it last, and for a directory the number up to which its content has been removed. A name exists if it was touched
//! later than the highest such number on the way to it. So removing a subtree is one assignment, whatever its size;
//! a whiteout sets the number to the last one of the layer below.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use bstr::{BStr, BString, ByteSlice};
use sociable_ztoc::{Entry, EntryKind};

/// Most symbolic links followed for one path, as in Linux (`path_resolution(7)`).
pub const MAX_LINKS: u32 = 40;
/// Longest target of a symbolic link in bytes: Linux's `PATH_MAX` less the final NUL.
pub const MAX_LINK_TARGET: usize = 4095;
/// Longest name of an entry in bytes: Go's tar reader, and so the reference, takes none longer.
pub const MAX_NAME: usize = 1 << 20;
/// Most directories that are only implied, beyond four for each entry.
pub const MAX_IMPLIED: u64 = 1_000_000;

/// Most links that an entry's own name leads through, as in containerd (`continuity/fs`, `RootPath`).
const MAX_LINKS_UNPACKING: u32 = 255;
/// Most bytes of links followed to place entries, beyond [`LINK_WORK_EACH`] for each entry.
const LINK_WORK: u64 = 64 << 20;
const LINK_WORK_EACH: u64 = 64;

const WHITEOUT: &[u8] = b".wh.";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Suggestions on a miss: at most so many names, chosen among at most so many.
const NEAR_SHOWN: usize = 6;
const NEAR_LOOKED_AT: usize = 10_000;
/// Names longer than this are not compared.
const NEAR_LENGTH: usize = 64;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Nothing has that name.
    #[error("{path:?}: no such file or directory{}", .hint.text(path.as_bstr(), at.as_bstr()))]
    NotFound {
        /// What was asked for.
        path: BString,
        /// The first component that is missing, as a path without links.
        at: BString,
        /// What may help.
        hint: Box<Hint>,
    },
    /// The path goes on behind something that has no content.
    #[error("{path:?}: {at:?} is {}, not a directory{}", kind_name(*kind), unseen_text(unseen))]
    NotADirectory {
        /// What was asked for.
        path: BString,
        /// What is no directory, as a path without links.
        at: BString,
        /// What it is.
        kind: EntryKind,
        /// Layers without a zTOC that might change this.
        unseen: Vec<usize>,
    },
    /// A directory has no bytes to be read.
    #[error("{path:?} is a directory")]
    IsADirectory {
        /// The directory.
        path: BString,
    },
    /// A link, a device or a pipe has no bytes to be read.
    #[error("{path:?} is {}, not a regular file", kind_name(*kind))]
    NotAFile {
        /// What was to be read.
        path: BString,
        /// What it is.
        kind: EntryKind,
    },
    /// Links lead in circles, or through too many links.
    #[error("{path:?}: too many symbolic links (more than {MAX_LINKS}), {link:?} at last")]
    Loop {
        /// What was asked for.
        path: BString,
        /// The link that was one too many.
        link: BString,
    },
    /// A link's target is longer than Linux allows.
    #[error(
        "{path:?}: the target of the symbolic link {link:?} has {length} bytes, the limit is {MAX_LINK_TARGET}"
    )]
    LinkTooLong {
        /// What was asked for.
        path: BString,
        /// The link.
        link: BString,
        /// Length of its target in bytes.
        length: usize,
    },
    /// A hard link leads nowhere.
    #[error("{path:?} is a hard link to {target:?} in layer {layer} (counted from 0), {why}")]
    BrokenHardLink {
        /// The link.
        path: BString,
        /// Its target as the layer spells it.
        target: BString,
        /// The layer, counted from 0.
        layer: usize,
        /// What is wrong.
        why: BrokenLink,
    },
    /// The layers ask for more than this program is ready to do.
    #[error("layer {layer} (counted from 0) goes beyond the limit of {limit} {what}")]
    TooLarge {
        /// The layer, counted from 0.
        layer: usize,
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
}

/// What is wrong with a hard link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenLink {
    /// The target is the link.
    #[error("that is to itself")]
    Itself,
    /// The target is nowhere in the layer.
    #[error("which is not in that layer, as it must be")]
    Missing,
    /// The target comes behind the link.
    #[error("which comes only behind the link")]
    Later,
    /// The target is a directory.
    #[error("which is a directory")]
    Directory,
    /// The target was there once, or is such a link as well.
    #[error("which was replaced or removed before the link, or is itself such a link")]
    Gone,
}

/// What may help one who missed a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hint {
    /// The last symbolic link on the way.
    pub link: Option<BString>,
    /// Names in the directory where the component is missing: all of them, or those that resemble it.
    pub near: Vec<BString>,
    /// Whether these are all.
    pub all: bool,
    /// Layers without a zTOC, counted from 0, that might have what is missing.
    pub unseen: Vec<usize>,
}

impl Hint {
    fn text(&self, path: &BStr, at: &BStr) -> String {
        use fmt::Write as _;
        let mut text = String::new();
        // Writing to a string does not fail.
        if let Some(link) = &self.link {
            let _ = write!(
                text,
                ": the link {link:?} leads to {at:?}, which is missing"
            );
        } else if !same_place(path, at) {
            let _ = write!(text, ": {at:?} is missing");
        }
        let directory = match at.rfind_byte(b'/') {
            Some(slash) if slash > 0 => at[..slash].as_bstr(),
            _ => BStr::new("/"),
        };
        let names: Vec<String> = self.near.iter().map(|name| format!("{name:?}")).collect();
        let _ = match (self.all, names.is_empty()) {
            (true, true) => write!(text, "; {directory:?} is empty"),
            (true, false) => write!(text, "; {directory:?} has {}", names.join(", ")),
            (false, true) => Ok(()),
            (false, false) => write!(text, "; like it in {directory:?}: {}", names.join(", ")),
        };
        text + &unseen_text(&self.unseen)
    }
}

fn same_place(a: &BStr, b: &BStr) -> bool {
    let components = |path: &BStr| -> Vec<Vec<u8>> {
        path.split_str("/")
            .filter(|component| !component.is_empty() && *component != b".")
            .map(<[u8]>::to_vec)
            .collect()
    };
    components(a) == components(b)
}

fn unseen_text(unseen: &[usize]) -> String {
    match unseen {
        [] => String::new(),
        [layer] => format!(
            "; layer {layer} (counted from 0) has no zTOC and cannot be seen, so this may be wrong"
        ),
        layers => {
            let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
            format!(
                "; layers {} (counted from 0) have no zTOC and cannot be seen, so this may be wrong",
                layers.join(", ")
            )
        }
    }
}

fn kind_name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "a regular file",
        EntryKind::Directory => "a directory",
        EntryKind::Symlink => "a symbolic link",
        EntryKind::Hardlink => "a hard link to nothing",
        EntryKind::CharDevice => "a character device",
        EntryKind::BlockDevice => "a block device",
        EntryKind::Fifo => "a named pipe",
    }
}

/// Something in a [`Tree`]; to be used with that tree only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The layer that it comes from, counted from 0. For an implied directory the lowest that implies it.
    pub layer: usize,
    /// Number of its entry in that layer, from 0. `None` for an implied directory.
    pub entry: Option<usize>,
    /// What it is; for a hard link what that leads to, and [`EntryKind::Hardlink`] only if it leads nowhere.
    pub kind: EntryKind,
    /// Whether its entry is a hard link.
    pub hard_link: bool,
    id: u32,
    /// What is in it counts if touched later than this.
    floor: u32,
    /// Lowest layer of a symbolic link on the way here.
    links: u32,
}

/// The merged file system. Borrows the layers' entries.
#[derive(Debug)]
pub struct Tree<'a> {
    layers: Vec<Option<&'a [Entry]>>,
    /// Number of each layer's first entry. Each layer also has a number behind its last entry.
    starts: Vec<u32>,
    unseen: Vec<usize>,
    names: Names<'a>,
    left_out: u64,
    first_left_out: Option<(usize, usize)>,
}

/// One name in one directory, existing or not.
#[derive(Debug)]
struct Name<'a> {
    text: &'a [u8],
    parent: u32,
    /// Some name in it, 0 for none: the root is in nothing.
    child: u32,
    /// The next name in the same directory, 0 for none.
    next: u32,
    /// Number of the last entry that needed it, 0 when it does not exist.
    touched: u32,
    /// What was touched up to this number does not exist in it any more.
    cleared: u32,
    /// Number of the entry that describes it, or that implied it.
    described: u32,
    /// Number of the entry that holds its content: another than `described` for a hard link; 0 for a broken one.
    content: u32,
    kind: EntryKind,
    implied: bool,
}

const ROOT: u32 = 0;

/// All names, and a hash table of them.
#[derive(Debug)]
struct Names<'a> {
    all: Vec<Name<'a>>,
    /// A power of two of places: number and hash of a name. Number 0, the root's, is a free place.
    table: Vec<(u32, u32)>,
    hasher: RandomState,
}

impl<'a> Names<'a> {
    fn with_capacity(names: usize) -> Self {
        let mut all = Vec::with_capacity(names.saturating_add(1));
        all.push(Name {
            text: b"",
            parent: ROOT,
            child: 0,
            next: 0,
            touched: 0,
            cleared: 0,
            described: 0,
            content: 0,
            kind: EntryKind::Directory,
            implied: true,
        });
        let places = names.saturating_mul(4) / 3;
        Self {
            all,
            table: vec![(0, 0); places.next_power_of_two().max(64)],
            hasher: RandomState::new(),
        }
    }

    fn get(&self, id: u32) -> &Name<'a> {
        &self.all[id as usize]
    }

    fn get_mut(&mut self, id: u32) -> &mut Name<'a> {
        &mut self.all[id as usize]
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "32 bits of a hash are enough"
    )]
    fn hash(&self, parent: u32, name: &[u8]) -> u32 {
        self.hasher.hash_one((parent, name)) as u32
    }

    /// The name's number, or the free place in the table where it belongs.
    fn place(&self, parent: u32, name: &[u8], hash: u32) -> Result<u32, usize> {
        let mask = self.table.len() - 1;
        let mut place = hash as usize & mask;
        // Ends: the table is never full.
        loop {
            let (id, known_hash) = self.table[place];
            if id == 0 {
                return Err(place);
            }
            if known_hash == hash {
                let known = self.get(id);
                if known.parent == parent && known.text == name {
                    return Ok(id);
                }
            }
            place = (place + 1) & mask;
        }
    }

    fn find(&self, parent: u32, name: &[u8]) -> Option<u32> {
        self.place(parent, name, self.hash(parent, name)).ok()
    }

    /// The name's number, a new one if need be. `None` when there are too many.
    fn find_or_add(&mut self, parent: u32, name: &'a [u8]) -> Option<u32> {
        let hash = self.hash(parent, name);
        let place = match self.place(parent, name, hash) {
            Ok(id) => return Some(id),
            Err(place) => place,
        };
        let id = u32::try_from(self.all.len()).ok()?;
        let next = std::mem::replace(&mut self.get_mut(parent).child, id);
        self.all.push(Name {
            text: name,
            parent,
            child: 0,
            next,
            touched: 0,
            cleared: 0,
            described: 0,
            content: 0,
            kind: EntryKind::Directory,
            implied: true,
        });
        self.table[place] = (id, hash);
        if self.all.len() > self.table.len() / 4 * 3 {
            self.grow();
        }
        Some(id)
    }

    fn grow(&mut self) {
        let places = self.table.len() * 2;
        let old = std::mem::replace(&mut self.table, vec![(0, 0); places]);
        for (id, hash) in old {
            if id == 0 {
                continue;
            }
            let mut place = hash as usize & (places - 1);
            while self.table[place].0 != 0 {
                place = (place + 1) & (places - 1);
            }
            self.table[place] = (id, hash);
        }
    }

    /// The names in a directory, existing or not.
    fn children(&self, parent: u32) -> impl Iterator<Item = u32> {
        let some = |id: u32| (id != 0).then_some(id);
        std::iter::successors(some(self.get(parent).child), move |&id| {
            some(self.get(id).next)
        })
    }
}

/// The components of `path.Clean("/" + name)`.
fn clean<'a>(name: &'a [u8], components: &mut Vec<&'a [u8]>) {
    components.clear();
    for component in name.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop();
            }
            _ => components.push(component),
        }
    }
}

/// Puts the components of a path on a stack, the first on top, `..` as they are.
fn push<'p>(path: &'p [u8], pending: &mut Vec<&'p [u8]>) {
    let components = path.rsplit(|&byte| byte == b'/');
    // A slash at the end asks for a directory, as `.` does.
    let last = path.ends_with(b"/").then_some(&b"."[..]);
    pending.extend(last);
    pending.extend(components.filter(|component| !component.is_empty()));
}

/// Merges layers into a tree, entry by entry.
struct Merge<'a> {
    tree: Tree<'a>,
    /// The layer being merged.
    layer: usize,
    /// Number of its first entry.
    start: u32,
    implied_left: u64,
    implied_limit: u64,
    work_left: u64,
    work_limit: u64,
    // Kept for their memory.
    components: Vec<&'a [u8]>,
    pending: Vec<&'a [u8]>,
    trail: Vec<(u32, u32)>,
}

/// A directory on the way: its number, and the number after which things in it exist.
type Place = (u32, u32);

impl<'a> Merge<'a> {
    fn too_large(&self, what: &'static str, limit: u64) -> TreeError {
        TreeError::TooLarge {
            layer: self.layer,
            what,
            limit,
        }
    }

    fn name(&mut self, id: u32) -> &mut Name<'a> {
        self.tree.names.get_mut(id)
    }

    fn find_or_add(&mut self, parent: u32, name: &'a [u8]) -> Result<u32, TreeError> {
        let id = self.tree.names.find_or_add(parent, name);
        id.ok_or_else(|| self.too_large("names", u64::from(u32::MAX)))
    }

    /// Goes to the directory `components`, through links of this layer. With an entry's number it makes the directory;
    /// without, it stays in what this layer has. `None` where there is no way.
    fn directory(
        &mut self,
        components: &[&'a [u8]],
        make: Option<u32>,
    ) -> Result<Option<Place>, TreeError> {
        let root = (ROOT, self.name(ROOT).cleared);
        let mut here: Place = root;
        let mut links = 0;
        self.trail.clear();
        self.pending.clear();
        self.pending.extend(components.iter().rev());
        while let Some(component) = self.pending.pop() {
            match component {
                b"." => continue,
                b".." => {
                    here = self.trail.pop().unwrap_or(root);
                    continue;
                }
                _ => {}
            }
            let id = match make {
                Some(_) => self.find_or_add(here.0, component)?,
                None => match self.tree.names.find(here.0, component) {
                    Some(id) => id,
                    None => return Ok(None),
                },
            };
            let start = self.start;
            let name = self.name(id);
            let exists = name.touched > here.1;
            let ours = exists && name.touched >= start;
            let is_directory = exists && name.kind == EntryKind::Directory;
            if ours && name.kind == EntryKind::Symlink {
                links += 1;
                if links > MAX_LINKS_UNPACKING {
                    return Ok(None);
                }
                let content = name.content;
                let target = self.tree.numbered(content).map(|entry| &entry.linkname);
                let target = target.map_or(&b""[..], |target| target.as_slice());
                if target.len() > MAX_LINK_TARGET {
                    return Ok(None);
                }
                self.work_left = self
                    .work_left
                    .checked_sub(target.len() as u64 + 1)
                    .ok_or_else(|| {
                        self.too_large("bytes of links followed to place entries", self.work_limit)
                    })?;
                if target.starts_with(b"/") {
                    self.trail.clear();
                    here = root;
                }
                push(target, &mut self.pending);
                continue;
            }
            if ours && !is_directory {
                return Ok(None);
            }
            if let Some(number) = make {
                if !is_directory {
                    self.imply(id, number)?;
                }
                self.name(id).touched = number;
            } else if !ours {
                return Ok(None);
            }
            self.trail.push(here);
            here = (id, here.1.max(self.name(id).cleared));
        }
        Ok(Some(here))
    }

    /// Makes a name an implied directory.
    fn imply(&mut self, id: u32, number: u32) -> Result<(), TreeError> {
        self.implied_left = self
            .implied_left
            .checked_sub(1)
            .ok_or_else(|| self.too_large("implied directories", self.implied_limit))?;
        let name = self.name(id);
        name.described = number;
        name.content = number;
        name.kind = EntryKind::Directory;
        name.implied = true;
        Ok(())
    }

    /// Places one entry; says whether it could.
    fn entry(&mut self, number: u32, entry: &'a Entry) -> Result<bool, TreeError> {
        let limit = MAX_NAME as u64;
        if entry.name.len() > MAX_NAME {
            return Err(self.too_large("bytes of an entry's name", limit));
        }
        if entry.kind == EntryKind::Hardlink && entry.linkname.len() > MAX_NAME {
            return Err(self.too_large("bytes of a hard link's target", limit));
        }
        let mut components = std::mem::take(&mut self.components);
        clean(&entry.name, &mut components);
        let placed = self.place(number, entry, &components);
        self.components = components;
        placed
    }

    fn place(
        &mut self,
        number: u32,
        entry: &'a Entry,
        components: &[&'a [u8]],
    ) -> Result<bool, TreeError> {
        let Some((&base, parents)) = components.split_last() else {
            let is_directory = entry.kind == EntryKind::Directory;
            if is_directory {
                let root = self.name(ROOT);
                root.described = number;
                root.content = number;
                root.implied = false;
            }
            return Ok(is_directory);
        };
        let Some((directory, _)) = self.directory(parents, Some(number))? else {
            return Ok(false);
        };
        if base == OPAQUE {
            let below = self.start - 1;
            let name = self.name(directory);
            name.cleared = name.cleared.max(below);
            return Ok(true);
        }
        if let Some(target) = base.strip_prefix(WHITEOUT)
            && !base.starts_with(WHITEOUT_META)
        {
            return self.whiteout(number, directory, target);
        }
        let id = self.find_or_add(directory, base)?;
        let name = self.name(id);
        // What a directory once had does not come back with it: that was touched no later than the directory was.
        if entry.kind != EntryKind::Directory {
            name.cleared = number;
        }
        name.touched = number;
        name.described = number;
        name.content = number;
        name.kind = entry.kind;
        name.implied = false;
        if entry.kind == EntryKind::Hardlink {
            name.content = 0;
            if let Some((content, kind)) = self.hard_link(id, entry)? {
                let name = self.name(id);
                (name.content, name.kind) = (content, kind);
            }
        }
        Ok(true)
    }

    fn whiteout(
        &mut self,
        number: u32,
        directory: u32,
        target: &'a [u8],
    ) -> Result<bool, TreeError> {
        if matches!(target, b"" | b"." | b"..") {
            return Ok(false);
        }
        // Added even if no layer seen has it: one that is not seen may.
        let id = self.find_or_add(directory, target)?;
        let start = self.start;
        let name = self.name(id);
        name.cleared = name.cleared.max(start - 1);
        if name.touched < start {
            name.touched = 0;
        } else if name.described < start {
            // This layer has things in it, but what it was is removed.
            self.imply(id, number)?;
        }
        Ok(true)
    }

    /// The entry that a hard link leads to, and its kind.
    fn hard_link(
        &mut self,
        link: u32,
        entry: &'a Entry,
    ) -> Result<Option<(u32, EntryKind)>, TreeError> {
        let mut components = Vec::new();
        clean(&entry.linkname, &mut components);
        let Some((&base, parents)) = components.split_last() else {
            return Ok(None);
        };
        let Some((directory, floor)) = self.directory(parents, None)? else {
            return Ok(None);
        };
        let start = self.start;
        let Some(id) = self.tree.names.find(directory, base) else {
            return Ok(None);
        };
        let target = self.name(id);
        let usable = id != link
            && target.touched > floor
            && target.touched >= start
            && !matches!(target.kind, EntryKind::Directory | EntryKind::Hardlink);
        Ok(usable.then_some((target.content, target.kind)))
    }
}

impl<'a> Tree<'a> {
    /// Merges layers, the lowest first. `None` is a layer without a zTOC.
    ///
    /// # Errors
    /// [`TreeError::TooLarge`], for layers that nobody made in earnest.
    pub fn merge(layers: &[Option<&'a [Entry]>]) -> Result<Self, TreeError> {
        let entries = layers.iter().flatten().map(|entries| entries.len()).sum();
        let implied_limit = MAX_IMPLIED.saturating_add((entries as u64).saturating_mul(4));
        let work_limit = LINK_WORK.saturating_add((entries as u64).saturating_mul(LINK_WORK_EACH));
        let mut merge = Merge {
            tree: Self {
                layers: layers.to_vec(),
                starts: Vec::with_capacity(layers.len()),
                unseen: Vec::new(),
                names: Names::with_capacity(entries),
                left_out: 0,
                first_left_out: None,
            },
            layer: 0,
            start: 1,
            implied_left: implied_limit,
            implied_limit,
            work_left: work_limit,
            work_limit,
            components: Vec::new(),
            pending: Vec::new(),
            trail: Vec::new(),
        };
        for (layer, entries) in layers.iter().enumerate() {
            merge.layer = layer;
            merge.tree.starts.push(merge.start);
            if entries.is_none() {
                merge.tree.unseen.push(layer);
            }
            let entries: &'a [Entry] = entries.unwrap_or_default();
            let next = u32::try_from(entries.len())
                .ok()
                .and_then(|length| merge.start.checked_add(length)?.checked_add(1))
                .ok_or_else(|| merge.too_large("entries in all layers", u64::from(u32::MAX)))?;
            for (index, (number, entry)) in (merge.start..).zip(entries).enumerate() {
                if !merge.entry(number, entry)? {
                    merge.tree.left_out += 1;
                    merge.tree.first_left_out.get_or_insert((layer, index));
                }
            }
            merge.start = next;
        }
        Ok(merge.tree)
    }

    /// The layers without a zTOC, counted from 0, rising.
    #[must_use]
    pub fn unseen(&self) -> &[usize] {
        &self.unseen
    }

    /// How many entries were left out since no engine can unpack them, and layer and index of the first.
    #[must_use]
    pub fn left_out(&self) -> (u64, Option<(usize, usize)>) {
        (self.left_out, self.first_left_out)
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> Node {
        self.node(ROOT, 0, u32::MAX)
    }

    /// What has this path. Links are followed, but not in the last component (unless a slash follows it). `..` leads
    /// to the parent directory, and from the root to the root; the path may begin with a slash or not.
    ///
    /// # Errors
    /// [`TreeError::NotFound`], [`TreeError::NotADirectory`], [`TreeError::Loop`], [`TreeError::LinkTooLong`].
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Result<Node, TreeError> {
        self.walk(path.as_ref(), false)
    }

    /// What has this path, following links in the last component as well. So this is no symbolic link.
    ///
    /// # Errors
    /// As [`Tree::lookup`].
    pub fn resolve(&self, path: impl AsRef<[u8]>) -> Result<Node, TreeError> {
        self.walk(path.as_ref(), true)
    }

    /// What is in a directory, sorted by the bytes of the names. Nothing for what is no directory.
    #[must_use]
    pub fn children(&self, node: Node) -> Children<'_, 'a> {
        let mut ids: Vec<u32> = Vec::new();
        if node.kind == EntryKind::Directory {
            ids.extend(self.visible_children(node.id, node.floor));
            ids.sort_unstable_by_key(|&id| self.names.get(id).text);
        }
        Children {
            tree: self,
            directory: node,
            ids: ids.into_iter(),
        }
    }

    /// The entry that describes a node: for a hard link that of the link. `None` for an implied directory.
    #[must_use]
    pub fn entry(&self, node: Node) -> Option<&'a Entry> {
        self.layers
            .get(node.layer)
            .copied()
            .flatten()?
            .get(node.entry?)
    }

    /// Layer and index of the entry that holds what a node is: for a hard link that which it leads to, else its own.
    /// `None` for an implied directory and for a hard link that leads nowhere.
    #[must_use]
    pub fn holder(&self, node: Node) -> Option<(usize, usize)> {
        match node.kind {
            EntryKind::Directory => Some((node.layer, node.entry?)),
            EntryKind::Hardlink => None,
            _ => Some(self.place_of(self.names.get(node.id).content)),
        }
    }

    /// Layer and index of the entry of the regular file with a node's data.
    ///
    /// # Errors
    /// [`TreeError::IsADirectory`], [`TreeError::NotAFile`], [`TreeError::BrokenHardLink`].
    pub fn content(&self, node: Node) -> Result<(usize, usize), TreeError> {
        let name = self.names.get(node.id);
        match name.kind {
            EntryKind::File => Ok(self.place_of(name.content)),
            EntryKind::Directory => Err(TreeError::IsADirectory {
                path: self.path(node),
            }),
            EntryKind::Hardlink => Err(self.broken(node)),
            kind => Err(TreeError::NotAFile {
                path: self.path(node),
                kind,
            }),
        }
    }

    /// The entry that holds what a node is: see [`Tree::holder`].
    #[must_use]
    pub fn content_entry(&self, node: Node) -> Option<&'a Entry> {
        let (layer, entry) = self.holder(node)?;
        self.layers.get(layer).copied().flatten()?.get(entry)
    }

    /// The target of a symbolic link, as its layer spells it. `None` for anything else.
    #[must_use]
    pub fn link_target(&self, node: Node) -> Option<&'a BStr> {
        let name = self.names.get(node.id);
        (name.kind == EntryKind::Symlink)
            .then(|| self.numbered(name.content))
            .flatten()
            .map(|entry| entry.linkname.as_bstr())
    }

    /// The path of a node, absolute and without links.
    #[must_use]
    pub fn path(&self, node: Node) -> BString {
        self.path_of(node.id)
    }

    /// Layers without a zTOC that might have removed or replaced this node, or a link on the way to it.
    #[must_use]
    pub fn doubts(&self, node: Node) -> &[usize] {
        self.unseen_above(Some(node.layer.min(node.links as usize)))
    }

    /// Layers without a zTOC that might have put something into this directory, or removed something from it.
    #[must_use]
    pub fn doubts_inside(&self, node: Node) -> &[usize] {
        if node.kind != EntryKind::Directory {
            return self.doubts(node);
        }
        self.unseen_since(node.floor, node.links)
    }

    fn unseen_above(&self, layer: Option<usize>) -> &[usize] {
        let seen = |unseen: &usize| layer.is_some_and(|layer| *unseen <= layer);
        &self.unseen[self.unseen.partition_point(seen)..]
    }

    /// Unseen layers that come after the entry `floor`, or above the layer `links`.
    fn unseen_since(&self, floor: u32, links: u32) -> &[usize] {
        let layer = (floor > 0).then(|| self.place_of(floor).0.min(links as usize));
        self.unseen_above(layer)
    }

    /// Layer and index of the entry with that number.
    fn place_of(&self, number: u32) -> (usize, usize) {
        let layer = self.starts.partition_point(|&start| start <= number);
        let layer = layer.saturating_sub(1);
        let start = self.starts.get(layer).copied().unwrap_or(0);
        (layer, number.saturating_sub(start) as usize)
    }

    fn numbered(&self, number: u32) -> Option<&'a Entry> {
        let (layer, index) = self.place_of(number);
        self.layers.get(layer).copied().flatten()?.get(index)
    }

    /// A name as a node; `floor` is that of the directory it is in.
    fn node(&self, id: u32, floor: u32, links: u32) -> Node {
        let name = self.names.get(id);
        let (mut layer, index) = self.place_of(name.described);
        // A layer put something into a lower directory, and then removed what the directory above had in lower layers:
        // only what it implied itself is left.
        let removed = floor > 0 && name.described <= floor;
        if removed {
            layer = self.place_of(floor).0 + 1;
        }
        Node {
            layer,
            entry: (!name.implied && !removed).then_some(index),
            kind: name.kind,
            hard_link: name.content != name.described,
            id,
            floor: floor.max(name.cleared),
            links,
        }
    }

    fn path_of(&self, mut id: u32) -> BString {
        let mut components = Vec::new();
        while id != ROOT {
            let name = self.names.get(id);
            components.push(name.text);
            id = name.parent;
        }
        let mut path = BString::default();
        for component in components.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(component);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        path
    }

    fn visible_children(&self, directory: u32, floor: u32) -> impl Iterator<Item = u32> {
        self.names.children(directory).filter(move |&id| {
            let name = self.names.get(id);
            name.touched > floor && !name.text.starts_with(WHITEOUT_META)
        })
    }

    fn walk(&self, path: &[u8], follow_last: bool) -> Result<Node, TreeError> {
        let root = (ROOT, self.names.get(ROOT).cleared);
        let mut here: Place = root;
        let mut trail: Vec<Place> = Vec::new();
        let mut pending = Vec::new();
        push(path, &mut pending);
        let mut followed = 0;
        let mut lowest = u32::MAX;
        let mut last_link = None;
        while let Some(component) = pending.pop() {
            match component {
                b"." => continue,
                b".." => {
                    here = trail.pop().unwrap_or(root);
                    continue;
                }
                _ => {}
            }
            let known = self.names.find(here.0, component);
            let visible = known.filter(|&id| {
                self.names.get(id).touched > here.1 && !component.starts_with(WHITEOUT_META)
            });
            let Some(id) = visible else {
                let floor = known.map_or(here.1, |id| here.1.max(self.names.get(id).cleared));
                let unseen = self.unseen_since(floor, lowest).to_vec();
                return Err(self.not_found(path, here, component, last_link, unseen));
            };
            let node = self.node(id, here.1, lowest);
            match node.kind {
                EntryKind::Directory => {
                    trail.push(here);
                    here = (id, node.floor);
                }
                EntryKind::Symlink if follow_last || !pending.is_empty() => {
                    let link = || self.path_of(id);
                    let target = self.link_target(node).unwrap_or_default();
                    followed += 1;
                    if followed > MAX_LINKS {
                        return Err(TreeError::Loop {
                            path: path.into(),
                            link: link(),
                        });
                    }
                    if target.len() > MAX_LINK_TARGET {
                        return Err(TreeError::LinkTooLong {
                            path: path.into(),
                            link: link(),
                            length: target.len(),
                        });
                    }
                    lowest = lowest.min(u32::try_from(node.layer).unwrap_or(u32::MAX));
                    last_link = Some(id);
                    if target.starts_with(b"/") {
                        trail.clear();
                        here = root;
                    }
                    push(target, &mut pending);
                }
                _ if pending.is_empty() => return Ok(node),
                kind => {
                    return Err(TreeError::NotADirectory {
                        path: path.into(),
                        at: self.path_of(id),
                        kind,
                        unseen: self.doubts(node).to_vec(),
                    });
                }
            }
        }
        let floor = trail.last().map_or(0, |parent| parent.1);
        Ok(self.node(here.0, floor, lowest))
    }

    fn not_found(
        &self,
        path: &[u8],
        (directory, floor): Place,
        missing: &[u8],
        link: Option<u32>,
        unseen: Vec<usize>,
    ) -> TreeError {
        let mut at = self.path_of(directory);
        if directory != ROOT {
            at.push(b'/');
        }
        at.extend_from_slice(missing);
        let (near, all) = self.near(directory, floor, missing);
        TreeError::NotFound {
            path: path.into(),
            at,
            hint: Box::new(Hint {
                link: link.map(|id| self.path_of(id)),
                near,
                all,
                unseen,
            }),
        }
    }

    /// Names in a directory that resemble one; or all, if they are few.
    fn near(&self, directory: u32, floor: u32, wanted: &[u8]) -> (Vec<BString>, bool) {
        let mut some: Vec<&[u8]> = Vec::new();
        for id in self.names.children(directory).take(NEAR_LOOKED_AT) {
            let name = self.names.get(id);
            if name.touched > floor && !name.text.starts_with(WHITEOUT_META) {
                some.push(name.text);
            }
        }
        let looked_at_all = self.names.children(directory).nth(NEAR_LOOKED_AT).is_none();
        let all = looked_at_all && some.len() <= NEAR_SHOWN;
        if all {
            some.sort_unstable();
        } else {
            let limit = (wanted.len() / 3).max(1);
            let mut ranked: Vec<(usize, &[u8])> = some
                .into_iter()
                .filter(|name| wanted.len().abs_diff(name.len()) <= limit)
                .map(|name| (distance(wanted, name), name))
                .filter(|(distance, _)| *distance <= limit)
                .collect();
            ranked.sort_unstable();
            ranked.truncate(NEAR_SHOWN);
            some = ranked.into_iter().map(|(_, name)| name).collect();
        }
        (some.into_iter().map(BString::from).collect(), all)
    }

    /// Says why a hard link leads nowhere: looks for its target in the whole layer.
    fn broken(&self, node: Node) -> TreeError {
        let entries = self.layers.get(node.layer).copied().flatten();
        let entries = entries.unwrap_or_default();
        let index = node.entry.unwrap_or(entries.len());
        let mut why = BrokenLink::Missing;
        let mut target = BString::default();
        if let Some(link) = entries.get(index) {
            target.clone_from(&link.linkname);
            let (mut wanted, mut own) = (Vec::new(), Vec::new());
            clean(&link.linkname, &mut wanted);
            clean(&link.name, &mut own);
            if wanted == own {
                why = BrokenLink::Itself;
            } else if wanted.is_empty() {
                why = BrokenLink::Directory;
            } else {
                for (number, entry) in entries.iter().enumerate() {
                    clean(&entry.name, &mut own);
                    if wanted != own {
                        if number < index && own.starts_with(&wanted) {
                            why = BrokenLink::Directory;
                        }
                        continue;
                    }
                    match (number < index, entry.kind) {
                        (true, EntryKind::Directory) => why = BrokenLink::Directory,
                        (true, _) => why = BrokenLink::Gone,
                        (false, _) if why == BrokenLink::Missing => why = BrokenLink::Later,
                        (false, _) => {}
                    }
                }
            }
        }
        TreeError::BrokenHardLink {
            path: self.path(node),
            target,
            layer: node.layer,
            why,
        }
    }
}

/// How many bytes must be changed, added or removed to turn one name into the other, upper and lower case being equal.
/// Names too long to be compared are far apart.
fn distance(a: &[u8], b: &[u8]) -> usize {
    if a.len().max(b.len()) > NEAR_LENGTH {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Names and nodes in a directory, sorted: see [`Tree::children`].
#[derive(Debug)]
pub struct Children<'t, 'a> {
    tree: &'t Tree<'a>,
    directory: Node,
    ids: std::vec::IntoIter<u32>,
}

impl<'a> Iterator for Children<'_, 'a> {
    type Item = (&'a BStr, Node);

    fn next(&mut self) -> Option<Self::Item> {
        let id = self.ids.next()?;
        let node = self
            .tree
            .node(id, self.directory.floor, self.directory.links);
        Some((self.tree.names.get(id).text.as_bstr(), node))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ids.size_hint()
    }
}

impl ExactSizeIterator for Children<'_, '_> {}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn entry(kind: EntryKind, name: impl AsRef<[u8]>, linkname: &str) -> Entry {
        Entry {
            name: name.as_ref().into(),
            kind,
            offset: 512,
            size: 0,
            linkname: linkname.into(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            uname: BString::default(),
            gname: BString::default(),
            mtime: None,
            devmajor: 0,
            devminor: 0,
            pax_records: Vec::new(),
        }
    }

    /// `name/` is a directory, `name -> target` a symbolic link, `name = target` a hard link, else it is a file.
    fn parse(text: &str) -> Entry {
        if let Some((name, target)) = text.split_once(" -> ") {
            entry(EntryKind::Symlink, name, target)
        } else if let Some((name, target)) = text.split_once(" = ") {
            entry(EntryKind::Hardlink, name, target)
        } else if text.ends_with('/') {
            entry(EntryKind::Directory, text, "")
        } else {
            entry(EntryKind::File, text, "")
        }
    }

    fn layer(texts: &[&str]) -> Vec<Entry> {
        texts.iter().map(|text| parse(text)).collect()
    }

    fn with<T>(layers: &[&[&str]], test: impl FnOnce(&Tree<'_>) -> T) -> T {
        let layers: Vec<Vec<Entry>> = layers.iter().map(|texts| layer(texts)).collect();
        let layers: Vec<Option<&[Entry]>> = layers.iter().map(|l| Some(l.as_slice())).collect();
        test(&Tree::merge(&layers).unwrap())
    }

    /// `path@layer.entry`, directories with a slash, implied ones without an entry.
    fn listing(tree: &Tree<'_>) -> Vec<String> {
        let mut out = Vec::new();
        let mut todo = vec![tree.root()];
        while let Some(directory) = todo.pop() {
            for (name, node) in tree.children(directory) {
                let path = tree.path(node);
                assert!(path.ends_with(name));
                let slash = if node.kind == EntryKind::Directory {
                    todo.push(node);
                    "/"
                } else {
                    ""
                };
                let entry = node
                    .entry
                    .map_or(String::new(), |entry| format!(".{entry}"));
                let text = format!("{path}{slash}@{}{entry}", node.layer);
                assert_eq!(tree.lookup(&path).unwrap(), node);
                out.push(text);
            }
        }
        out.sort_by(|a, b| a.split('@').cmp(b.split('@')));
        out
    }

    fn list(layers: &[&[&str]]) -> Vec<String> {
        with(layers, listing)
    }

    #[test]
    fn names_are_cleaned() {
        assert_eq!(
            list(&[&[
                "./", "./a", "/b", "../../c", "x/../d", "e//f", "g/./h/", "i/..", "/"
            ]]),
            [
                "/a@0.1",
                "/b@0.2",
                "/c@0.3",
                "/d@0.4",
                "/e/@0",
                "/e/f@0.5",
                "/g/@0",
                "/g/h/@0.6"
            ]
        );
        with(&[&["a", "./"]], |tree| {
            assert_eq!(tree.root().entry, Some(1));
        });
        with(&[&["a", "x/.."]], |tree| {
            assert_eq!(tree.left_out(), (1, Some((0, 1))), "a file as root");
        });
    }

    #[test]
    fn names_are_bytes() {
        let entries = [entry(EntryKind::File, b"d/\xff\xfe", "")];
        let tree = Tree::merge(&[Some(&entries)]).unwrap();
        let node = tree.lookup(b"/d/\xff\xfe").unwrap();
        assert_eq!(tree.path(node), b"/d/\xff\xfe".as_bstr());
        let error = tree.lookup(b"/d/\xff").unwrap_err().to_string();
        assert!(error.contains(r"\xff\xfe"), "{error}");
    }

    #[test]
    fn later_entries_replace_earlier_ones_of_a_layer() {
        assert_eq!(list(&[&["a", "a"]]), ["/a@0.1"]);
        assert_eq!(list(&[&["a/", "a/b", "a/"]]), ["/a/@0.2", "/a/b@0.1"]);
        assert_eq!(list(&[&["a/b/c", "a"]]), ["/a@0.1"]);
        assert_eq!(list(&[&["a/b/c", "a", "a/"]]), ["/a/@0.2"]);
        assert_eq!(
            list(&[&["a/b/c", "a", "a/", "a/b/d"]]),
            ["/a/@0.2", "/a/b/@0", "/a/b/d@0.3"]
        );
        assert_eq!(list(&[&["a", "a/b"]]), ["/a@0.0"], "no engine unpacks that");
        with(&[&["a", "a/b", "a/c"]], |tree| {
            assert_eq!(tree.left_out(), (2, Some((0, 1))));
        });
    }

    #[test]
    fn layers_are_stacked() {
        assert_eq!(
            list(&[&["a/", "a/x", "a/y"], &["a/y", "a/z"]]),
            ["/a/@0.0", "/a/x@0.1", "/a/y@1.0", "/a/z@1.1"],
            "an implied directory keeps its metadata"
        );
        assert_eq!(
            list(&[&["a/", "a/x"], &["a/"]]),
            ["/a/@1.0", "/a/x@0.1"],
            "a directory only changes its metadata"
        );
        assert_eq!(list(&[&["a/x"], &["a"]]), ["/a@1.0"]);
        assert_eq!(list(&[&["a/x"], &["a"], &["a/"]]), ["/a/@2.0"]);
        assert_eq!(
            list(&[&["a"], &["a/x"]]),
            ["/a/@1", "/a/x@1.0"],
            "a directory hides a file below"
        );
        assert_eq!(
            list(&[&["lib -> usr/lib", "usr/lib/x"], &["lib/y"]]),
            [
                "/lib/@1",
                "/lib/y@1.0",
                "/usr/@0",
                "/usr/lib/@0",
                "/usr/lib/x@0.1"
            ],
            "and a link below: overlayfs does not look through it"
        );
    }

    #[test]
    fn whiteouts_remove_what_is_below() {
        let below: &[&str] = &["d/", "d/a", "d/s/", "d/s/t/u", "e"];
        assert_eq!(
            list(&[below, &["d/.wh.a"]]),
            [
                "/d/@0.0",
                "/d/s/@0.2",
                "/d/s/t/@0",
                "/d/s/t/u@0.3",
                "/e@0.4"
            ]
        );
        assert_eq!(
            list(&[below, &["d/.wh.s", "./.wh.e", ".wh.nothing"]]),
            ["/d/@0.0", "/d/a@0.1"]
        );
        assert_eq!(list(&[below, &[".wh.d"]]), ["/e@0.4"]);
        assert_eq!(
            list(&[below, &[".wh.d"], &["d/b"]]),
            ["/d/@2", "/d/b@2.0", "/e@0.4"]
        );
        assert_eq!(
            list(&[below, &["x/y/.wh.a"]]).len(),
            8,
            "its directory is made"
        );
        for bad in [".wh.", ".wh..", ".wh..."] {
            let seen = with(&[below, &[bad]], |tree| (tree.left_out().0, listing(tree)));
            assert_eq!(seen, (1, list(&[below])), "{bad}");
        }
    }

    #[test]
    fn whiteouts_do_nothing_to_their_own_layer() {
        let below: &[&str] = &["d/", "d/a", "d/s/", "d/s/t"];
        for order in [
            ["d/a", "d/.wh.a", "d/s/n", "d/.wh.s"],
            ["d/.wh.a", "d/a", "d/.wh.s", "d/s/n"],
        ] {
            let got = list(&[below, &order]);
            assert_eq!(got.len(), 4, "{got:?}");
            assert!(got[1].starts_with("/d/a@1."));
            assert_eq!(got[2], "/d/s/@1", "implied, the lower metadata is gone");
            assert!(got[3].starts_with("/d/s/n@1."));
        }
        assert_eq!(
            list(&[below, &["d/s/", "d/.wh.s"]]),
            ["/d/@0.0", "/d/a@0.1", "/d/s/@1.0"]
        );
    }

    #[test]
    fn opaque_directories_hide_what_is_below() {
        let below: &[&str] = &["d/", "d/a", "d/s/t", "e"];
        for order in [
            &["d/", "d/.wh..wh..opq", "d/s/n"],
            &["d/s/n", "d/", "d/.wh..wh..opq"],
        ] {
            let got = list(&[below, order]);
            let layers: Vec<&str> = got
                .iter()
                .filter_map(|text| text.get(..text.find('.')?))
                .collect();
            assert_eq!(layers, ["/d/@1", "/d/s/n@1", "/e@0"], "{got:?}");
            assert!(got.contains(&"/d/s/@1".to_owned()), "{got:?}");
        }
        assert_eq!(list(&[below, &[".wh..wh..opq", "f"]]), ["/f@1.1"]);
        assert_eq!(
            list(&[below, &["d/.wh..wh..opq"]]),
            ["/d/@0.0", "/e@0.3"],
            "the directory stays as it was"
        );
        assert_eq!(list(&[below, &["e/.wh..wh..opq"]]).last().unwrap(), "/e/@1");
    }

    #[test]
    fn notes_of_aufs_are_hidden_but_hard_links_find_them() {
        let layers: &[&[&str]] = &[&[
            ".wh..wh.plnk/",
            ".wh..wh.plnk/1.2",
            ".wh..wh.aufs",
            "a = .wh..wh.plnk/1.2",
        ]];
        assert_eq!(list(layers), ["/a@0.3"]);
        with(layers, |tree| {
            let a = tree.lookup("a").unwrap();
            assert_eq!(tree.content(a), Ok((0, 1)));
            assert!(tree.lookup(".wh..wh.plnk").is_err());
            assert!(tree.lookup(".wh..wh.plnk/1.2").is_err());
        });
    }

    #[test]
    fn devices_with_numbers_0_0_are_devices() {
        let mut device = entry(EntryKind::CharDevice, "a", "");
        device.mode = 0;
        let (below, above) = (layer(&["a"]), [device]);
        let tree = Tree::merge(&[Some(&below), Some(&above)]).unwrap();
        let node = tree.lookup("a").unwrap();
        assert_eq!((node.layer, node.kind), (1, EntryKind::CharDevice));
        assert_eq!(
            tree.content(node).unwrap_err().to_string(),
            r#""/a" is a character device, not a regular file"#
        );
    }

    #[test]
    fn hard_links() {
        let layers: &[&[&str]] = &[
            &["low"],
            &[
                "a",              // 0
                "b = a",          // 1
                "d/c = ./b",      // 2: a chain
                "a",              // 3: another file; the links keep the first
                "l -> d",         // 4
                "m = l",          // 5: a link to a symbolic link
                "n = /l/c",       // 6: through a symbolic link
                "self = self",    // 7
                "x = later",      // 8
                "later",          // 9
                "y = low",        // 10: in a lower layer
                "z = d",          // 11
                "q = x",          // 12
                "r = ../nowhere", // 13
                "s = /",          // 14
            ],
        ];
        with(layers, |tree| {
            let content = |path: &str| tree.content(tree.lookup(path).unwrap());
            assert_eq!(content("a"), Ok((1, 3)));
            for link in ["b", "d/c", "n", "m/c", "/l/c"] {
                assert_eq!(content(link), Ok((1, 0)), "{link}");
            }
            let m = tree.lookup("m").unwrap();
            assert!(m.hard_link && m.kind == EntryKind::Symlink);
            assert_eq!((m.entry, tree.holder(m)), (Some(5), Some((1, 4))));
            assert_eq!(tree.link_target(m), Some("d".into()));
            for (link, text) in [
                (
                    "self",
                    r#""/self" is a hard link to "self" in layer 1 (counted from 0), that is to itself"#,
                ),
                ("x", "comes only behind"),
                ("y", "not in that layer"),
                ("z", "is a directory"),
                ("q", "itself such a link"),
                ("r", "not in that layer"),
                ("s", "is a directory"),
            ] {
                let error = content(link).unwrap_err().to_string();
                assert!(error.contains(text), "{link}: {error}");
                let node = tree.resolve(link).unwrap();
                assert_eq!(node.kind, EntryKind::Hardlink);
                assert_eq!(tree.holder(node), None);
            }
            assert!(matches!(
                tree.resolve("self/x"),
                Err(TreeError::NotADirectory { .. })
            ));
        });
        // The link takes the place of what it leads to.
        with(&[&["a/b", "a = a/b", "c", "c = c"]], |tree| {
            for path in ["a", "c"] {
                let node = tree.lookup(path).unwrap();
                assert!(matches!(
                    tree.content(node),
                    Err(TreeError::BrokenHardLink { .. })
                ));
            }
        });
    }

    #[test]
    fn entries_below_links_of_their_own_layer_go_where_these_lead() {
        assert_eq!(
            list(&[&["lib -> usr/lib", "lib/x", "abs -> /opt/./o/", "abs/y"]]),
            [
                "/abs@0.2",
                "/lib@0.0",
                "/opt/@0",
                "/opt/o/@0",
                "/opt/o/y@0.3",
                "/usr/@0",
                "/usr/lib/@0",
                "/usr/lib/x@0.1"
            ]
        );
        assert_eq!(
            list(&[&["a/b/up -> ../../../c", "a/b/up/x"]]),
            ["/a/@0", "/a/b/@0", "/a/b/up@0.0", "/c/@0", "/c/x@0.1"]
        );
        assert_eq!(
            list(&[&["usr/lib/y"], &["lib -> usr/lib", "lib/.wh.y"]]),
            ["/lib@1.0", "/usr/@0", "/usr/lib/@0"]
        );
        with(
            &[&["a -> b", "b -> a", "a/x", "f", "l -> f", "l/x"]],
            |tree| {
                assert_eq!(tree.left_out(), (2, Some((0, 2))));
            },
        );
    }

    #[test]
    fn paths_follow_links() {
        let layers: &[&[&str]] = &[
            &["bin -> usr/bin", "usr/bin/sh -> dash", "usr/bin/dash"],
            &[
                "abs -> /usr/bin/sh",
                "usr/up -> ../../../../bin",
                "dangling -> /no/where",
                "round -> round/x",
            ],
        ];
        with(layers, |tree| {
            let at = |node: Result<Node, TreeError>| node.map(|node| tree.path(node).to_string());
            assert_eq!(at(tree.lookup("/bin")), Ok("/bin".to_owned()));
            for directory in ["bin/", "/bin/.", "usr/up/.", "//bin//./", "bin/../bin"] {
                assert_eq!(
                    at(tree.lookup(directory)),
                    Ok("/usr/bin".to_owned()),
                    "{directory}"
                );
            }
            for root in ["", "/", ".", "..", "/../..", "bin/../.."] {
                assert_eq!(at(tree.resolve(root)), Ok("/".to_owned()), "{root}");
            }
            for path in ["abs", "bin/sh", "/usr/up/sh", "../bin/../bin/sh"] {
                assert_eq!(
                    at(tree.resolve(path)),
                    Ok("/usr/bin/dash".to_owned()),
                    "{path}"
                );
            }
            assert_eq!(at(tree.lookup("usr/up/sh")), Ok("/usr/bin/sh".to_owned()));
            assert_eq!(at(tree.lookup("dangling")), Ok("/dangling".to_owned()));
            for (path, text) in [
                (
                    "dangling",
                    r#""dangling": no such file or directory: the link "/dangling" leads to "/no", which is missing"#,
                ),
                (
                    "round",
                    r#""round": too many symbolic links (more than 40), "/round" at last"#,
                ),
                (
                    "bin/dash/x",
                    r#""bin/dash/x": "/usr/bin/dash" is a regular file, not a directory"#,
                ),
                (
                    "abs/",
                    r#""abs/": "/usr/bin/dash" is a regular file, not a directory"#,
                ),
                (
                    "abs/..",
                    r#""abs/..": "/usr/bin/dash" is a regular file, not a directory"#,
                ),
            ] {
                let error = tree.resolve(path).unwrap_err().to_string();
                assert!(error.starts_with(text), "{error}");
            }
            assert!(matches!(
                tree.content(tree.resolve("bin").unwrap()),
                Err(TreeError::IsADirectory { .. })
            ));
        });
    }

    #[test]
    fn forty_links_and_no_more() {
        let chain: Vec<String> = (0..=MAX_LINKS)
            .map(|i| format!("l{i} -> l{}", i + 1))
            .chain([format!("l{}", MAX_LINKS + 1)])
            .collect();
        let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
        with(&[&chain], |tree| {
            assert!(tree.resolve("l1").is_ok());
            assert!(matches!(tree.resolve("l0"), Err(TreeError::Loop { .. })));
        });
        let long = format!("l -> {}", "x/".repeat(2048));
        with(&[&[&long]], |tree| {
            assert!(matches!(
                tree.resolve("l"),
                Err(TreeError::LinkTooLong { length: 4096, .. })
            ));
        });
    }

    #[test]
    fn a_miss_says_what_there_is() {
        let many: Vec<String> = (0..20).map(|i| format!("many/name-{i:02}")).collect();
        let mut texts: Vec<&str> = many.iter().map(String::as_str).collect();
        texts.extend(["app/b", "app/a", "app/gone", "empty/"]);
        with(&[&texts, &["app/.wh.gone"]], |tree| {
            for (path, text) in [
                (
                    "/app/c",
                    r#""/app/c": no such file or directory; "/app" has "a", "b""#,
                ),
                (
                    "/app/c/d/",
                    r#""/app/c/d/": no such file or directory: "/app/c" is missing; "/app" has "a", "b""#,
                ),
                (
                    "empty/x",
                    r#""empty/x": no such file or directory; "/empty" is empty"#,
                ),
                (
                    "many/Name-7",
                    r#""many/Name-7": no such file or directory; like it in "/many": "name-07", "name-17", "name-00", "name-01", "name-02", "name-03""#,
                ),
                (
                    "many/quite else",
                    r#""many/quite else": no such file or directory"#,
                ),
                (
                    "ap",
                    r#""ap": no such file or directory; "/" has "app", "empty", "many""#,
                ),
            ] {
                assert_eq!(tree.lookup(path).unwrap_err().to_string(), text);
            }
            let Err(TreeError::NotFound { at, .. }) = tree.lookup("app/./c/d") else {
                panic!();
            };
            assert_eq!(at, "/app/c");
        });
    }

    #[test]
    fn unseen_layers_cast_doubt_on_what_they_might_change() {
        let layers = [
            Some(layer(&["a", "d/x", "l -> d", "w/y"])),
            None,
            Some(layer(&["d/z", "o/.wh..wh..opq", ".wh.w"])),
            None,
            Some(layer(&["top", "d/t"])),
        ];
        let layers: Vec<Option<&[Entry]>> = layers.iter().map(Option::as_deref).collect();
        let tree = Tree::merge(&layers).unwrap();
        let doubts = |path: &str| tree.doubts(tree.resolve(path).unwrap());
        let inside = |path: &str| tree.doubts_inside(tree.resolve(path).unwrap());
        assert_eq!(tree.unseen(), [1, 3]);
        assert_eq!(doubts("a"), [1, 3]);
        assert_eq!(doubts("d/z"), [3]);
        assert_eq!(doubts("top"), [0; 0]);
        assert_eq!(doubts("d/t"), [0; 0]);
        assert_eq!(doubts("l/t"), [1, 3], "the link may be another");
        assert_eq!(inside("/"), [1, 3]);
        assert_eq!(inside("d"), [1, 3]);
        assert_eq!(inside("o"), [3], "what layer 1 had in it is hidden");
        let link = tree.children(tree.lookup("l/").unwrap()).next().unwrap().1;
        assert_eq!(tree.doubts(link), [1, 3]);
        for (path, unseen) in [("nothing", &[1, 3][..]), ("w", &[3]), ("o/x", &[3])] {
            let Err(TreeError::NotFound { hint, .. }) = tree.lookup(path) else {
                panic!("{path}");
            };
            assert_eq!(hint.unseen, unseen, "{path}");
        }
        let error = tree.lookup("w").unwrap_err().to_string();
        assert!(
            error.ends_with(
                "; layer 3 (counted from 0) has no zTOC and cannot be seen, so this may be wrong"
            ),
            "{error}"
        );
        let error = tree.lookup("a/b").unwrap_err().to_string();
        assert!(
            error.contains("; layers 1, 3 (counted from 0) have no"),
            "{error}"
        );
    }

    #[test]
    fn deep_paths_need_no_deep_stack() {
        let deep = "d/".repeat(100_000);
        let entries = layer(&[&format!("{deep}f"), &deep, &format!("{deep}.wh.g")]);
        std::thread::Builder::new()
            .stack_size(128 << 10)
            .spawn(move || {
                let tree = Tree::merge(&[Some(&entries), Some(&entries)]).unwrap();
                let node = tree.resolve(format!("{deep}f")).unwrap();
                assert_eq!(tree.path(node).len(), deep.len() + 2);
                assert_eq!(tree.children(tree.lookup(&deep).unwrap()).len(), 1);
            })
            .unwrap()
            .join()
            .unwrap();
    }

    #[test]
    fn too_much_is_refused() {
        let too_large = |entries: &[Entry]| {
            let Err(TreeError::TooLarge { what, layer, .. }) = Tree::merge(&[None, Some(entries)])
            else {
                panic!();
            };
            assert_eq!(layer, 1);
            what
        };
        let long = "x".repeat(MAX_NAME + 1);
        assert_eq!(too_large(&layer(&[&long])), "bytes of an entry's name");
        let implied: Vec<String> = (0..3)
            .map(|i| format!("{i}/{}", "d/".repeat(MAX_NAME / 2 - 2)))
            .collect();
        let implied: Vec<&str> = implied.iter().map(String::as_str).collect();
        assert_eq!(too_large(&layer(&implied)), "implied directories");
        // 255 links of 4 KiB for every entry.
        let target = format!("{}l", "./".repeat(2000));
        let mut links: Vec<Entry> = (1..250)
            .map(|i| {
                entry(
                    EntryKind::Symlink,
                    format!("l{i}"),
                    &format!("{target}{}", i - 1),
                )
            })
            .collect();
        links.extend((0..1000).map(|_| entry(EntryKind::File, "l249/x", "")));
        assert_eq!(
            too_large(&links),
            "bytes of links followed to place entries"
        );
    }

    #[test]
    fn replacing_large_directories_again_and_again_is_cheap() {
        let mut entries: Vec<Entry> = (0..100_000)
            .map(|i| entry(EntryKind::File, format!("d/{i}"), ""))
            .collect();
        for _ in 0..50_000 {
            entries.push(entry(EntryKind::File, "d", ""));
            entries.push(entry(EntryKind::Directory, "d/", ""));
        }
        entries.push(entry(EntryKind::File, "d/7", ""));
        let white = layer(&[".wh.d", "d/8"]);
        let layers: Vec<Option<&[Entry]>> = vec![Some(&entries), Some(&white)];
        assert_eq!(
            listing(&Tree::merge(&layers[..1]).unwrap()),
            ["/d/@0.199999", "/d/7@0.200000"]
        );
        assert_eq!(
            listing(&Tree::merge(&layers).unwrap()),
            ["/d/@1", "/d/8@1.1"]
        );
    }

    /// Unpacks each layer, then stacks the results, in the simplest way.
    fn model(layers: &[Vec<Entry>]) -> Vec<String> {
        type Paths = BTreeMap<String, (EntryKind, usize, Option<usize>)>;
        fn remove(paths: &mut Paths, path: &str, itself: bool) {
            let inside = format!("{path}/");
            paths.retain(|p, _| !(p.starts_with(&inside) || itself && p == path));
        }
        let mut merged = Paths::new();
        for (number, entries) in layers.iter().enumerate() {
            let mut own = Paths::new();
            let (mut whiteouts, mut opaque) = (BTreeSet::new(), BTreeSet::new());
            'entries: for (index, entry) in entries.iter().enumerate() {
                let name = entry.name.to_string();
                let name = name.trim_end_matches('/');
                let mut parent = String::new();
                let (parents, base) = name.rsplit_once('/').unwrap_or(("", name));
                for component in parents.split('/').filter(|c| !c.is_empty()) {
                    parent.extend(["/", component]);
                    let implied = (EntryKind::Directory, number, None);
                    if own.entry(parent.clone()).or_insert(implied).0 != EntryKind::Directory {
                        continue 'entries;
                    }
                }
                let path = format!("{parent}/{base}");
                if base == ".wh..wh..opq" {
                    opaque.insert(parent);
                } else if let Some(target) = base.strip_prefix(".wh.") {
                    whiteouts.insert(format!("{parent}/{target}"));
                } else {
                    let both = entry.kind == EntryKind::Directory
                        && own.get(&path).is_some_and(|o| o.0 == entry.kind);
                    if !both {
                        remove(&mut own, &path, true);
                    }
                    if entry.kind != EntryKind::Directory {
                        whiteouts.insert(path.clone());
                    }
                    own.insert(path, (entry.kind, number, Some(index)));
                }
            }
            for path in whiteouts {
                remove(&mut merged, &path, true);
            }
            for path in opaque {
                remove(&mut merged, &path, false);
            }
            for (path, what) in own {
                if what.0 != EntryKind::Directory {
                    remove(&mut merged, &path, true);
                }
                let keep = what.2.is_none()
                    && merged
                        .get(&path)
                        .is_some_and(|m| m.0 == EntryKind::Directory);
                if !keep {
                    merged.insert(path, what);
                }
            }
        }
        let mut out: Vec<String> = merged
            .into_iter()
            .map(|(path, (kind, layer, entry))| {
                let slash = if kind == EntryKind::Directory {
                    "/"
                } else {
                    ""
                };
                let entry = entry.map_or(String::new(), |entry| format!(".{entry}"));
                format!("{path}{slash}@{layer}{entry}")
            })
            .collect();
        out.sort_by(|a, b| a.split('@').cmp(b.split('@')));
        out
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

        #[test]
        fn equal_to_unpacking_and_stacking(
            texts in proptest::collection::vec(
                proptest::collection::vec("([abc]/){0,3}([abc]|[abc]/|\\.wh\\.[abc]|\\.wh\\.\\.wh\\.\\.opq)", 0..8),
                0..5,
            )
        ) {
            let layers: Vec<Vec<Entry>> = texts
                .iter()
                .map(|texts| texts.iter().map(|text| parse(text)).collect())
                .collect();
            let slices: Vec<Option<&[Entry]>> = layers.iter().map(|l| Some(l.as_slice())).collect();
            proptest::prop_assert_eq!(listing(&Tree::merge(&slices).unwrap()), model(&layers));
        }

        #[test]
        fn nothing_panics(
            texts in proptest::collection::vec(
                proptest::collection::vec("[./ab]{0,6}(\\.wh\\.)?[./ab]{0,3}( (->|=) [./ab]{0,6})?", 0..12),
                0..4,
            ),
            paths in proptest::collection::vec("[./ab]{0,8}", 20),
        ) {
            let layers: Vec<Vec<Entry>> = texts
                .iter()
                .map(|texts| texts.iter().map(|text| parse(text)).collect())
                .collect();
            let mut slices: Vec<Option<&[Entry]>> = layers.iter().map(|l| Some(l.as_slice())).collect();
            slices.insert(slices.len() / 2, None);
            let tree = Tree::merge(&slices).unwrap();
            listing(&tree);
            for path in paths {
                for node in [tree.lookup(&path), tree.resolve(&path)] {
                    match node {
                        Ok(node) => {
                            let _ = (tree.content(node).map_err(|e| e.to_string()), tree.holder(node));
                            let _ = (tree.doubts(node), tree.doubts_inside(node), tree.entry(node));
                        }
                        Err(error) => proptest::prop_assert!(!error.to_string().is_empty()),
                    }
                }
            }
        }
    }
}
