//! The spans of one layer: cut where what was read begins and ends, coarse elsewhere.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use sociable_policy_sdk::{Ask, Candidate, Decision, Entry, Kind, Planner, Result};

use crate::Sizes;
use crate::read::Read;

#[derive(Debug)]
pub(crate) struct StartPlanner {
    read: Rc<Read>,
    sizes: Sizes,
    packing: bool,
    /// What was read, in bytes of the tar, rising; what lies behind is forgotten.
    ahead: VecDeque<Range<u64>>,
    /// Where the last of what was forgotten ends.
    last_end: u64,
    /// Header and beginning of the data of the last entry.
    entry: (u64, u64),
    /// Whether the current span holds what was read.
    reading: bool,
}

impl StartPlanner {
    pub(crate) fn new(read: Rc<Read>, sizes: Sizes, packing: bool) -> Self {
        Self {
            read,
            sizes,
            packing,
            ahead: VecDeque::new(),
            last_end: 0,
            entry: (0, 0),
            reading: false,
        }
    }

    fn learn(&mut self, entry: &Entry) {
        self.entry = (entry.header, entry.data);
        if entry.kind == Kind::File {
            let ranges = self.read.of(entry).iter();
            let place = |&(offset, length): &(u64, u64)| {
                let start = entry.data.saturating_add(offset);
                start..start.saturating_add(length)
            };
            self.ahead.extend(ranges.map(place));
        }
    }

    fn forget(&mut self, before: u64) {
        while let Some(range) = self.ahead.front()
            && range.end <= before
        {
            self.last_end = range.end;
            self.ahead.pop_front();
        }
    }

    /// Whether anything in `range` was read. Not for what was forgotten.
    fn is_read(&self, range: Range<u64>) -> bool {
        let first = self.ahead.iter().find(|read| read.end > range.start);
        first.is_some_and(|read| read.start < range.end)
    }

    /// Whether a span that begins at `at` is one of what was read.
    fn reads(&self, at: &Candidate) -> bool {
        let here = at.uncompressed;
        let bridge = self.sizes.bridge;
        if self.packing {
            // Any place can be asked about. A header belongs to its file.
            let (header, data) = self.entry;
            let end = if here == header { data } else { here };
            // What comes behind this entry is not known: a gap is bridged by waiting for its end.
            self.is_read(here..end.saturating_add(1))
                || self.reading && here < self.last_end.saturating_add(bridge)
        } else if self.reading {
            let bridged = here.saturating_add(bridge).min(at.known);
            self.is_read(here..at.next.max(bridged))
        } else {
            self.is_read(here..at.next)
        }
    }

    fn limit(&self) -> u64 {
        if self.reading {
            self.sizes.read
        } else {
            self.sizes.unread
        }
    }

    /// When to ask again, at `here`, `since_cut` bytes behind the beginning of a span.
    pub(crate) fn ask(&self, here: u64, since_cut: u64) -> Ask {
        let mut after = self.limit().saturating_sub(since_cut).max(1);
        if self.packing {
            let ends = self.ahead.iter().map(|read| read.end);
            let ends = ends.chain([self.last_end]);
            let bridged = ends.map(|end| end.saturating_add(self.sizes.bridge));
            let edges = self.ahead.iter().map(|read| read.start).chain(bridged);
            if let Some(edge) = edges.filter(|&edge| edge > here).min() {
                after = after.min(edge - here);
            }
        }
        Ask {
            after,
            at_entries: true,
        }
    }
}

impl Planner for StartPlanner {
    fn decide(&mut self, entries: &[Entry], at: &Candidate) -> Result<Decision> {
        for entry in entries {
            self.learn(entry);
        }
        self.forget(at.uncompressed);
        let reads = self.reads(at);
        let with_next = at.since_cut.saturating_add(at.next - at.uncompressed);
        let full = with_next > self.limit() || at.since_cut == self.limit();
        let cut = reads != self.reading || full;
        self.reading = reads;
        let since_cut = if cut { 0 } else { at.since_cut };
        Ok(Decision {
            cut,
            ask: self.ask(at.uncompressed, since_cut),
        })
    }
}
