//! All names of all layers, existing or not: the tree that they make, and a hash table to find them.

use std::hash::{BuildHasher, RandomState};

use sociable_ztoc::EntryKind;

/// Number of the root's name.
pub(super) const ROOT: u32 = 0;

/// How AUFS's own notes begin: they are there, but not shown.
pub(super) const NOTE: &[u8] = b".wh..wh.";

/// One name in one directory, existing or not.
#[derive(Debug)]
pub(super) struct Name<'a> {
    pub(super) text: &'a [u8],
    pub(super) parent: u32,
    /// Some name in it, 0 for none: the root is in nothing.
    child: u32,
    /// The next name in the same directory, 0 for none.
    next: u32,
    /// Number of the last entry that needed it, 0 when it does not exist.
    pub(super) touched: u32,
    /// What was touched up to this number does not exist in it any more.
    pub(super) cleared: u32,
    /// Number of the entry that describes it, or that implied it.
    pub(super) described: u32,
    /// Number of the entry that holds its content: another than `described` for a hard link; 0 for a broken one.
    pub(super) content: u32,
    pub(super) kind: EntryKind,
    pub(super) implied: bool,
}

impl<'a> Name<'a> {
    /// A name that does not exist yet.
    fn new(text: &'a [u8], parent: u32, next: u32) -> Self {
        Self {
            text,
            parent,
            child: 0,
            next,
            touched: 0,
            cleared: 0,
            described: 0,
            content: 0,
            kind: EntryKind::Directory,
            implied: true,
        }
    }

    /// Whether it exists, and is shown, in a directory in which things exist after `floor`.
    pub(super) fn is_visible(&self, floor: u32) -> bool {
        self.touched > floor && !self.text.starts_with(NOTE)
    }
}

/// A directory that has been walked into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dir {
    /// Number of its name.
    pub(super) id: u32,
    /// What is in it exists if touched later than this.
    pub(super) floor: u32,
}

/// All names, and a hash table of them.
#[derive(Debug)]
pub(super) struct Names<'a> {
    all: Vec<Name<'a>>,
    /// A power of two of places: number and hash of a name. Number 0, the root's, is a free place.
    table: Vec<(u32, u32)>,
    hasher: RandomState,
}

impl<'a> Names<'a> {
    pub(super) fn with_capacity(names: usize) -> Self {
        let mut all = Vec::with_capacity(names.saturating_add(1));
        all.push(Name::new(b"", ROOT, 0));
        let places = names.saturating_mul(4) / 3;
        Self {
            all,
            table: vec![(0, 0); places.next_power_of_two().max(64)],
            hasher: RandomState::new(),
        }
    }

    pub(super) fn get(&self, id: u32) -> &Name<'a> {
        &self.all[id as usize]
    }

    pub(super) fn get_mut(&mut self, id: u32) -> &mut Name<'a> {
        &mut self.all[id as usize]
    }

    pub(super) fn root(&self) -> Dir {
        self.dir(ROOT, 0)
    }

    /// A name that is in a directory in which things exist after `floor`, as a directory.
    pub(super) fn dir(&self, id: u32, floor: u32) -> Dir {
        Dir {
            id,
            floor: floor.max(self.get(id).cleared),
        }
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

    pub(super) fn find(&self, parent: u32, name: &[u8]) -> Option<u32> {
        self.place(parent, name, self.hash(parent, name)).ok()
    }

    /// The name's number, a new one if need be. `None` when there are too many.
    pub(super) fn find_or_add(&mut self, parent: u32, name: &'a [u8]) -> Option<u32> {
        let hash = self.hash(parent, name);
        let place = match self.place(parent, name, hash) {
            Ok(id) => return Some(id),
            Err(place) => place,
        };
        let id = u32::try_from(self.all.len()).ok()?;
        let next = std::mem::replace(&mut self.get_mut(parent).child, id);
        self.all.push(Name::new(name, parent, next));
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
    pub(super) fn children(&self, parent: u32) -> impl Iterator<Item = u32> {
        let some = |id: u32| (id != 0).then_some(id);
        std::iter::successors(some(self.get(parent).child), move |&id| {
            some(self.get(id).next)
        })
    }
}
