//! Merging: entries are applied one after the other, the layers from the lowest up.
//!
//! All that the rules of layers ask for happens here: implied directories, whiteouts, hard links, links that an entry's
//! own name leads through, and the limits for layers that nobody made in earnest.

use sociable_ztoc::{Entry, EntryKind};

use super::layers::Layers;
use super::names::{Dir, NOTE, Name, Names, ROOT};
use super::way::{Way, clean};
use super::{MAX_IMPLIED, MAX_LINK_TARGET, MAX_NAME, Tree, TreeError};

/// Most links that an entry's own name leads through, as in containerd (`continuity/fs`, `RootPath`).
const MAX_LINKS_UNPACKING: u32 = 255;
/// Implied directories for each entry, beyond [`MAX_IMPLIED`].
const IMPLIED_EACH: u64 = 4;
/// Most bytes of links followed to place entries, beyond [`LINK_WORK_EACH`] for each entry.
const LINK_WORK: u64 = 64 << 20;
const LINK_WORK_EACH: u64 = 64;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// [`Tree::merge`].
pub(super) fn merge<'a>(layers: &[Option<&'a [Entry]>]) -> Result<Tree<'a>, TreeError> {
    let entries = layers.iter().flatten().map(|entries| entries.len()).sum();
    let names = Names::with_capacity(entries);
    let mut merge = Merge {
        layer: 0,
        start: 1,
        implied: Budget::new("implied directories", MAX_IMPLIED, IMPLIED_EACH, entries),
        link_work: Budget::new(
            "bytes of links followed to place entries",
            LINK_WORK,
            LINK_WORK_EACH,
            entries,
        ),
        components: Vec::new(),
        way: Way::from(names.root()),
        tree: Tree {
            layers: Layers::new(layers),
            names,
            left_out: 0,
            first_left_out: None,
        },
    };
    for (layer, entries) in layers.iter().enumerate() {
        merge.layer = layer;
        merge.apply(entries.unwrap_or_default())?;
    }
    Ok(merge.tree)
}

/// A tree in the making.
struct Merge<'a> {
    tree: Tree<'a>,
    /// The layer being merged.
    layer: usize,
    /// Number of its first entry.
    start: u32,
    implied: Budget,
    link_work: Budget,
    // Kept for their memory.
    components: Vec<&'a [u8]>,
    way: Way<'a>,
}

/// How much the layers may ask for.
struct Budget {
    what: &'static str,
    left: u64,
    limit: u64,
}

impl Budget {
    fn new(what: &'static str, some: u64, each: u64, entries: usize) -> Self {
        let limit = some.saturating_add((entries as u64).saturating_mul(each));
        Self {
            what,
            left: limit,
            limit,
        }
    }

    fn spend(&mut self, amount: u64, layer: usize) -> Result<(), TreeError> {
        let Some(left) = self.left.checked_sub(amount) else {
            return Err(TreeError::TooLarge {
                layer,
                what: self.what,
                limit: self.limit,
            });
        };
        self.left = left;
        Ok(())
    }
}

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

    /// Applies the entries of the next layer.
    fn apply(&mut self, entries: &'a [Entry]) -> Result<(), TreeError> {
        self.tree.layers.start(self.start);
        let next = u32::try_from(entries.len())
            .ok()
            .and_then(|length| self.start.checked_add(length)?.checked_add(1))
            .ok_or_else(|| self.too_large("entries in all layers", u64::from(u32::MAX)))?;
        for (index, (number, entry)) in (self.start..).zip(entries).enumerate() {
            if !self.entry(number, entry)? {
                self.tree.left_out += 1;
                let first = (self.layer, index);
                self.tree.first_left_out.get_or_insert(first);
            }
        }
        self.start = next;
        Ok(())
    }

    /// Applies one entry; says whether it could.
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
        let applied = self.place(number, entry, &components);
        self.components = components;
        applied
    }

    /// Places one entry whose name has these components; says whether it could.
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
        let Some(Dir { id: directory, .. }) = self.directory(parents, Some(number))? else {
            return Ok(false);
        };
        if base == OPAQUE {
            let below = self.start - 1;
            let name = self.name(directory);
            name.cleared = name.cleared.max(below);
            return Ok(true);
        }
        if let Some(target) = base.strip_prefix(WHITEOUT)
            && !base.starts_with(NOTE)
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

    /// Removes what lower layers have under a name.
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
        let Some(directory) = self.directory(parents, None)? else {
            return Ok(None);
        };
        let Some(id) = self.tree.names.find(directory.id, base) else {
            return Ok(None);
        };
        let target = self.tree.names.get(id);
        let usable = id != link
            && target.touched > directory.floor
            && target.touched >= self.start
            && !matches!(target.kind, EntryKind::Directory | EntryKind::Hardlink);
        Ok(usable.then_some((target.content, target.kind)))
    }

    /// Goes to the directory `components`, through links of this layer. With an entry's number it makes the directory;
    /// without, it stays in what this layer has. `None` where there is no way.
    fn directory(
        &mut self,
        components: &[&'a [u8]],
        make: Option<u32>,
    ) -> Result<Option<Dir>, TreeError> {
        let mut links = 0;
        self.way.restart(self.tree.names.root());
        self.way.prepend(components);
        while let Some(component) = self.way.next_name() {
            let Dir { id: parent, floor } = self.way.here;
            let id = match make {
                Some(_) => self.find_or_add(parent, component)?,
                None => match self.tree.names.find(parent, component) {
                    Some(id) => id,
                    None => return Ok(None),
                },
            };
            let name = self.tree.names.get(id);
            let exists = name.touched > floor;
            let ours = exists && name.touched >= self.start;
            let is_directory = exists && name.kind == EntryKind::Directory;
            if ours && name.kind == EntryKind::Symlink {
                links += 1;
                let target = self.tree.target(id).unwrap_or_default();
                if links > MAX_LINKS_UNPACKING || target.len() > MAX_LINK_TARGET {
                    return Ok(None);
                }
                self.link_work.spend(target.len() as u64 + 1, self.layer)?;
                self.way.follow(target);
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
            self.way.enter(self.tree.names.dir(id, floor));
        }
        Ok(Some(self.way.here))
    }

    /// Makes a name an implied directory.
    fn imply(&mut self, id: u32, number: u32) -> Result<(), TreeError> {
        self.implied.spend(1, self.layer)?;
        let name = self.name(id);
        name.described = number;
        name.content = number;
        name.kind = EntryKind::Directory;
        name.implied = true;
        Ok(())
    }
}
