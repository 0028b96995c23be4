//! In which order a layer's entries are packed.

use std::collections::HashMap;

use crate::{Entry, Kind, Layer, Plugin, Result};

/// Orders the entries of layers.
pub trait Order: Plugin {
    /// The indices of all entries in the order in which they shall be packed. Directories stay before what is in them and
    /// targets before their hard links: an answer that breaks this, leaves an index out or repeats one is refused.
    /// [`settled`] makes such an answer of what shall come first.
    ///
    /// # Errors
    /// The policy's.
    fn arrange(&self, layer: &Layer, entries: &[Entry]) -> Result<Vec<u32>>;
}

/// All entries, `first` before others as far as possible: what they need comes before them, the rest stays in its order.
///
/// # Panics
/// Where `first` has something that is no index of `entries`.
#[must_use]
pub fn settled(entries: &[Entry], first: impl IntoIterator<Item = usize>) -> Vec<u32> {
    let needs = needs(entries);
    let mut placed = vec![false; entries.len()];
    let mut order = Vec::with_capacity(entries.len());
    for wanted in first.into_iter().chain(0..entries.len()) {
        let mut missing = vec![(wanted, false)];
        while let Some((place, ready)) = missing.pop() {
            if placed[place] {
                continue;
            }
            if ready {
                placed[place] = true;
                order.push(u32::try_from(place).unwrap_or(u32::MAX));
                continue;
            }
            missing.push((place, true));
            // What is needed lies before: this ends. The first needed comes to lie on top.
            let needed = needs[place].iter().rev();
            missing.extend(needed.map(|&needed| (needed, false)));
        }
    }
    order
}

/// What has to come before each entry: the entries called like the directories it is in, an earlier one of its own name and, of a
/// hard link, its target; of several with one name the last before it.
fn needs(entries: &[Entry]) -> Vec<Vec<usize>> {
    let mut last: HashMap<&str, usize> = HashMap::new();
    let mut needs = Vec::with_capacity(entries.len());
    for (place, entry) in entries.iter().enumerate() {
        let path = entry.path.as_str();
        let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
        let target = entry.link.as_deref().map(spelled);
        let target = target.filter(|_| entry.kind == Kind::HardLink);
        let names = ["", path].into_iter().chain(parents).chain(target);
        needs.push(names.filter_map(|name| last.get(name).copied()).collect());
        last.insert(path, place);
    }
    needs
}

/// A link's target, spelled as paths of entries are.
fn spelled(mut target: &str) -> &str {
    while let Some(rest) = target.strip_prefix('/').or(target.strip_prefix("./")) {
        target = rest;
    }
    target.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial;

    #[test]
    fn what_is_needed_comes_along() {
        let entries = [
            trial::directory(""),
            trial::directory("a"),
            trial::file("a/x", 1),
            trial::directory("b"),
            trial::directory("b/c"),
            trial::hard_link("b/c/link", "./a/x"),
            trial::file("b/c/z", 1),
        ];
        assert_eq!(settled(&entries, [6, 5]), [0, 3, 4, 6, 1, 2, 5]);
        assert_eq!(settled(&entries, []), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_file_that_comes_twice_stays_in_order() {
        let entries = ["a", "b", "a"].map(|path| trial::file(path, 1));
        assert_eq!(settled(&entries, [2]), [0, 2, 1]);
    }
}
