//! In which order a layer's entries are packed.

use std::collections::HashMap;
use std::fmt;

use crate::{Entry, Kind, Layer, PolicyError, Trace};

/// Orders the entries of layers.
pub trait OrderPolicy: Send + Sync + fmt::Debug {
    /// The indices of all entries in the order in which they shall be packed. Directories stay before what is in them,
    /// and targets before their hard links; [`check`] tells.
    ///
    /// # Errors
    /// The policy's.
    fn arrange(&self, layer: &Layer, entries: &[Entry<'_>]) -> Result<Vec<u32>, PolicyError>;

    /// What it is called, with a component's version.
    fn name(&self) -> &str;

    /// Names the policy and everything that its answers depend on.
    fn identity(&self) -> String;
}

/// Asks a policy, and checks its answer.
///
/// # Errors
/// The policy's; or its answer is none that can be followed: see [`check`].
pub fn arrange(
    policy: &dyn OrderPolicy,
    layer: &Layer,
    entries: &[Entry<'_>],
) -> Result<Vec<u32>, PolicyError> {
    let order = policy.arrange(layer, entries)?;
    check(entries, &order).map_err(|why| PolicyError::new(policy.name(), "order.arrange", why))?;
    Ok(order)
}

/// What starts have read comes first, in the order in which they read it; the rest stays as it is.
#[derive(Debug, Clone)]
pub struct ProfileOrder {
    paths: Vec<String>,
}

impl ProfileOrder {
    /// Follows a trace.
    #[must_use]
    pub fn new(trace: &Trace) -> Self {
        let path = |path: &str| path.trim_start_matches('/').to_owned();
        Self {
            paths: trace.files.iter().map(|file| path(&file.path)).collect(),
        }
    }
}

impl OrderPolicy for ProfileOrder {
    fn arrange(&self, _: &Layer, entries: &[Entry<'_>]) -> Result<Vec<u32>, PolicyError> {
        let places: HashMap<&str, usize> = (entries.iter().enumerate())
            .map(|(place, entry)| (entry.path.as_ref(), place))
            .collect();
        let first = (self.paths.iter()).filter_map(|path| places.get(path.as_str()).copied());
        Ok(settled(entries, first))
    }

    fn name(&self) -> &'static str {
        "profile"
    }

    fn identity(&self) -> String {
        format!("profile:{}", self.paths.join("\n"))
    }
}

/// What has to come before an entry: the directories it is in and, of a hard link, its target.
struct Needs<'a> {
    entries: &'a [Entry<'a>],
    /// Where entries of each name are, rising.
    places: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Needs<'a> {
    fn new(entries: &'a [Entry<'a>]) -> Self {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, entry) in entries.iter().enumerate() {
            places.entry(&entry.path).or_default().push(place);
        }
        Self { entries, places }
    }

    /// What `place` needs, as it was before it: the entries called like its parent directories, an earlier entry of its own name,
    /// and a hard link's target.
    fn of(&self, place: usize) -> impl Iterator<Item = usize> {
        let entry = &self.entries[place];
        let path: &str = &entry.path;
        let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
        let target = match (&entry.link, entry.kind) {
            (Some(link), Kind::HardLink) => Some(crate::facts::path(link.as_bytes()).into_owned()),
            _ => None,
        };
        let mut needed: Vec<usize> = Vec::new();
        for parent in ["", path].into_iter().chain(parents) {
            needed.extend(self.before(parent, place));
        }
        needed.extend(target.and_then(|target| self.before(&target, place)));
        needed.into_iter()
    }

    /// The last entry of that name before `place`.
    fn before(&self, path: &str, place: usize) -> Option<usize> {
        let places = self.places.get(path)?;
        let earlier = places.partition_point(|&other| other < place);
        Some(places[earlier.checked_sub(1)?])
    }
}

/// All entries, `first` before others as far as possible: what they need comes before them, the rest stays in its order.
///
/// # Panics
/// Where `first` has something that is no index of `entries`.
#[must_use]
pub fn settled(entries: &[Entry<'_>], first: impl IntoIterator<Item = usize>) -> Vec<u32> {
    let needs = Needs::new(entries);
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
            let needed: Vec<_> = needs.of(place).filter(|&needed| !placed[needed]).collect();
            missing.extend(needed.into_iter().rev().map(|needed| (needed, false)));
        }
    }
    order
}

/// Checks an answer.
///
/// # Errors
/// What is wrong with it.
pub fn check(entries: &[Entry<'_>], order: &[u32]) -> Result<(), String> {
    if order.len() != entries.len() {
        return Err(format!(
            "{} entries are to be ordered, and {} came back",
            entries.len(),
            order.len()
        ));
    }
    let mut placed = vec![false; entries.len()];
    let needs = Needs::new(entries);
    if let Some(twice) = needs.places.values().find(|places| places.len() > 1) {
        // What lies between them may need the first, or the second.
        let path = &entries[twice[0]].path;
        return Err(format!(
            "{path:?} is there twice, and such entries are not ordered"
        ));
    }
    for &place in order {
        let index = place as usize;
        let Some(entry) = entries.get(index) else {
            return Err(format!("there is no entry {place}, only {}", entries.len()));
        };
        if placed[index] {
            return Err(format!("entry {place}, {:?}, came back twice", entry.path));
        }
        for needed in needs.of(index) {
            if !placed[needed] {
                return Err(format!(
                    "{:?} comes before {:?}, which it needs",
                    entry.path, entries[needed].path
                ));
            }
        }
        placed[index] = true;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TracedFile;

    fn entry(path: &str, kind: Kind, link: Option<&str>) -> Entry<'static> {
        Entry {
            path: path.to_owned().into(),
            kind,
            header: 0,
            data: 0,
            size: 0,
            mode: 0,
            link: link.map(|link| link.to_owned().into()),
        }
    }

    fn entries() -> Vec<Entry<'static>> {
        vec![
            entry("", Kind::Directory, None),
            entry("a", Kind::Directory, None),
            entry("a/x", Kind::File, None),
            entry("b", Kind::Directory, None),
            entry("b/c", Kind::Directory, None),
            entry("b/c/link", Kind::HardLink, Some("./a/x")),
            entry("b/c/z", Kind::File, None),
        ]
    }

    #[test]
    fn what_is_needed_comes_along() {
        let files = ["/b/c/z", "/nowhere", "/b/c/link"];
        let trace = Trace {
            workloads: Vec::new(),
            files: files
                .map(|path| TracedFile::new(path.to_owned(), 0, Vec::new()))
                .into(),
        };
        let entries = entries();
        let layer = Layer::packed("", 1);
        let order = ProfileOrder::new(&trace).arrange(&layer, &entries).unwrap();
        assert_eq!(order, [0, 3, 4, 6, 1, 2, 5]);
        check(&entries, &order).unwrap();
    }

    #[test]
    fn a_file_that_comes_twice_stays_in_order() {
        let entries = [
            entry("a", Kind::File, None),
            entry("b", Kind::File, None),
            entry("a", Kind::File, None),
        ];
        assert_eq!(settled(&entries, [2]), [0, 2, 1]);
        assert!(check(&entries, &[2, 0, 1]).is_err());
    }

    #[test]
    fn wrong_answers() {
        let entries = entries();
        for (order, why) in [
            (&[0, 1, 2, 3, 4, 5][..], "6 came back"),
            (&[0, 1, 2, 3, 4, 5, 5], "twice"),
            (&[0, 1, 2, 3, 4, 5, 7], "no entry 7"),
            (&[0, 2, 1, 3, 4, 5, 6], "comes before"),
            (&[0, 1, 3, 4, 5, 2, 6], "comes before \"a/x\""),
            (&[1, 0, 2, 3, 4, 5, 6], "comes before \"\""),
        ] {
            let error = check(&entries, order).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        check(&entries, &[0, 1, 2, 3, 4, 5, 6]).unwrap();
    }
}
