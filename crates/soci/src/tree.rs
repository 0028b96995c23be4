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
//!
//! | to change | file |
//! |---|---|
//! | what can be asked | `tree.rs` |
//! | the rules of layers: whiteouts, hard links, limits | `tree/merge.rs` |
//! | how paths are followed | `tree/walk.rs`; taken apart: `tree/way.rs` |
//! | how names are kept and found | `tree/names.rs` |
//! | how entries are numbered, unseen layers | `tree/layers.rs` |
//! | what is said on a miss | `tree/error.rs`; names to suggest: `tree/near.rs` |
//! | what is said of broken hard links | `tree/broken_link.rs` |

mod broken_link;
mod error;
mod layers;
mod merge;
mod names;
mod near;
#[cfg(test)]
mod tests;
mod walk;
mod way;

pub(crate) use way::clean;

use bstr::{BStr, BString, ByteSlice};
use sociable_ztoc::{Entry, EntryKind};

use layers::Layers;
use names::{Names, ROOT};

pub use error::{BrokenLink, Hint, TreeError};

/// Most symbolic links followed for one path, as in Linux (`path_resolution(7)`).
pub const MAX_LINKS: u32 = 40;
/// Longest target of a symbolic link in bytes: Linux's `PATH_MAX` less the final NUL.
pub const MAX_LINK_TARGET: usize = 4095;
/// Longest name of an entry in bytes: Go's tar reader, and so the reference, takes none longer.
pub const MAX_NAME: usize = 1 << 20;
/// Most directories that are only implied, beyond four for each entry.
pub const MAX_IMPLIED: u64 = 1_000_000;

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
    layers: Layers<'a>,
    names: Names<'a>,
    left_out: u64,
    first_left_out: Option<(usize, usize)>,
}

impl<'a> Tree<'a> {
    /// Merges layers, the lowest first. `None` is a layer without a zTOC.
    ///
    /// # Errors
    /// [`TreeError::TooLarge`], for layers that nobody made in earnest.
    pub fn merge(layers: &[Option<&'a [Entry]>]) -> Result<Self, TreeError> {
        merge::merge(layers)
    }

    /// The layers without a zTOC, counted from 0, rising.
    #[must_use]
    pub fn unseen(&self) -> &[usize] {
        self.layers.unseen()
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
            let visible = |id: &u32| self.names.get(*id).is_visible(node.floor);
            ids.extend(self.names.children(node.id).filter(visible));
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
        self.layers.entry((node.layer, node.entry?))
    }

    /// Layer and index of the entry that holds what a node is: for a hard link that which it leads to, else its own.
    /// `None` for an implied directory and for a hard link that leads nowhere.
    #[must_use]
    pub fn holder(&self, node: Node) -> Option<(usize, usize)> {
        match node.kind {
            EntryKind::Directory => Some((node.layer, node.entry?)),
            EntryKind::Hardlink => None,
            _ => Some(self.layers.place_of(self.names.get(node.id).content)),
        }
    }

    /// Layer and index of the entry of the regular file with a node's data.
    ///
    /// # Errors
    /// [`TreeError::IsADirectory`], [`TreeError::NotAFile`], [`TreeError::BrokenHardLink`].
    pub fn content(&self, node: Node) -> Result<(usize, usize), TreeError> {
        let name = self.names.get(node.id);
        match name.kind {
            EntryKind::File => Ok(self.layers.place_of(name.content)),
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
        self.layers.entry(self.holder(node)?)
    }

    /// The target of a symbolic link, as its layer spells it. `None` for anything else.
    #[must_use]
    pub fn link_target(&self, node: Node) -> Option<&'a BStr> {
        self.target(node.id)
    }

    /// The path of a node, absolute and without links.
    #[must_use]
    pub fn path(&self, node: Node) -> BString {
        self.path_of(node.id)
    }

    /// Layers without a zTOC that might have removed or replaced this node, or a link on the way to it.
    #[must_use]
    pub fn doubts(&self, node: Node) -> &[usize] {
        self.layers
            .unseen_above(Some(node.layer.min(node.links as usize)))
    }

    /// Layers without a zTOC that might have put something into this directory, or removed something from it.
    #[must_use]
    pub fn doubts_inside(&self, node: Node) -> &[usize] {
        if node.kind != EntryKind::Directory {
            return self.doubts(node);
        }
        self.layers.unseen_since(node.floor, node.links)
    }

    /// A name as a node; `floor` is that of the directory it is in.
    fn node(&self, id: u32, floor: u32, links: u32) -> Node {
        let name = self.names.get(id);
        let (mut layer, index) = self.layers.place_of(name.described);
        // A layer put something into a lower directory, and then removed what the directory above had in lower layers:
        // only what it implied itself is left.
        let removed = floor > 0 && name.described <= floor;
        if removed {
            layer = self.layers.place_of(floor).0 + 1;
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

    /// [`Tree::path`] of a name.
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

    /// [`Tree::link_target`] of a name.
    fn target(&self, id: u32) -> Option<&'a BStr> {
        let name = self.names.get(id);
        (name.kind == EntryKind::Symlink)
            .then(|| self.layers.entry(self.layers.place_of(name.content)))
            .flatten()
            .map(|entry| entry.linkname.as_bstr())
    }

    fn broken(&self, node: Node) -> TreeError {
        let entries = self.layers.entries(node.layer);
        let index = node.entry.unwrap_or(entries.len());
        TreeError::BrokenHardLink {
            path: self.path(node),
            target: entries
                .get(index)
                .map(|link| link.linkname.clone())
                .unwrap_or_default(),
            layer: node.layer,
            why: broken_link::why_broken(entries, index),
        }
    }
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
