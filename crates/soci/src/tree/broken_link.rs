//! Why a hard link leads nowhere.

use sociable_ztoc::{Entry, EntryKind};

use super::BrokenLink;
use super::way::clean;

/// Looks for the target of a layer's entry `index`, a hard link, in the whole layer.
pub(super) fn why_broken(entries: &[Entry], index: usize) -> BrokenLink {
    let mut why = BrokenLink::Missing;
    let Some(link) = entries.get(index) else {
        return why;
    };
    let (mut wanted, mut name) = (Vec::new(), Vec::new());
    clean(&link.linkname, &mut wanted);
    clean(&link.name, &mut name);
    if wanted == name {
        return BrokenLink::Itself;
    }
    if wanted.is_empty() {
        return BrokenLink::Directory;
    }
    for (number, entry) in entries.iter().enumerate() {
        clean(&entry.name, &mut name);
        if wanted == name {
            match (number < index, entry.kind) {
                (true, EntryKind::Directory) => why = BrokenLink::Directory,
                (true, _) => why = BrokenLink::Gone,
                (false, _) if why == BrokenLink::Missing => why = BrokenLink::Later,
                (false, _) => {}
            }
        } else if number < index && name.starts_with(&wanted) {
            why = BrokenLink::Directory;
        }
    }
    why
}
