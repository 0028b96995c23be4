//! The layers' entries, the number of each, and which layers are unseen.

use sociable_ztoc::Entry;

/// The layers of a tree, the lowest first.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    all: Vec<Option<&'a [Entry]>>,
    /// Number of each layer's first entry. Each layer also has a number behind its last entry.
    starts: Vec<u32>,
    unseen: Vec<usize>,
}

impl<'a> Layers<'a> {
    /// Layers whose entries have no numbers yet.
    pub(super) fn new(all: &[Option<&'a [Entry]>]) -> Self {
        let numbered = all.iter().enumerate();
        Self {
            all: all.to_vec(),
            starts: Vec::with_capacity(all.len()),
            unseen: numbered
                .filter(|(_, entries)| entries.is_none())
                .map(|(layer, _)| layer)
                .collect(),
        }
    }

    /// The entries of the next layer have numbers from this on.
    pub(super) fn start(&mut self, number: u32) {
        self.starts.push(number);
    }

    /// The entries of a layer, none for one that is unseen.
    pub(super) fn entries(&self, layer: usize) -> &'a [Entry] {
        self.all.get(layer).copied().flatten().unwrap_or_default()
    }

    /// The entry in that place, layer and index.
    pub(super) fn entry(&self, (layer, index): (usize, usize)) -> Option<&'a Entry> {
        self.entries(layer).get(index)
    }

    /// Layer and index of the entry with that number.
    pub(super) fn place_of(&self, number: u32) -> (usize, usize) {
        let layer = self.starts.partition_point(|&start| start <= number);
        let layer = layer.saturating_sub(1);
        let start = self.starts.get(layer).copied().unwrap_or(0);
        (layer, number.saturating_sub(start) as usize)
    }

    /// The layers without a zTOC, rising.
    pub(super) fn unseen(&self) -> &[usize] {
        &self.unseen
    }

    /// Unseen layers above a layer; all of them above none.
    pub(super) fn unseen_above(&self, layer: Option<usize>) -> &[usize] {
        let seen = |unseen: &usize| layer.is_some_and(|layer| *unseen <= layer);
        &self.unseen[self.unseen.partition_point(seen)..]
    }

    /// Unseen layers that come after the entry `floor`, or above the layer `links`.
    pub(super) fn unseen_since(&self, floor: u32, links: u32) -> &[usize] {
        let layer = (floor > 0).then(|| self.place_of(floor).0.min(links as usize));
        self.unseen_above(layer)
    }
}
