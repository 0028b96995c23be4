//! What was read of which file of a layer.

use std::collections::HashMap;

use sociable_policy_sdk::Entry;

use crate::trace::Trace;

/// What was read, to be looked up by file.
#[derive(Debug)]
pub(crate) struct Read {
    /// Paths as layers spell them, in the order in which they were first read.
    order: Vec<String>,
    /// Size, and offsets and lengths of what was read, in bytes.
    files: HashMap<String, (u64, Vec<(u64, u64)>)>,
}

impl Read {
    pub(crate) fn new(trace: Trace) -> Self {
        let order = trace.files.iter().map(|file| file.name().to_owned());
        Self {
            order: order.collect(),
            files: (trace.files.into_iter())
                .map(|file| (file.name().to_owned(), (file.size, file.ranges)))
                .collect(),
        }
    }

    /// Paths as layers spell them, in the order in which they were first read.
    pub(crate) fn order(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// Offsets and lengths of what was read of this file, in bytes. A file of another size is another file.
    pub(crate) fn of(&self, entry: &Entry) -> &[(u64, u64)] {
        match self.files.get(&entry.path) {
            Some((size, ranges)) if *size == entry.size => ranges,
            _ => &[],
        }
    }
}
