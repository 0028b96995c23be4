//! Suggestions on a miss: names that resemble the one that is missing.

use bstr::BString;

use super::Hint;
use super::names::{Dir, Names};

/// At most so many names are suggested, chosen among at most so many.
const SHOWN: usize = 6;
const LOOKED_AT: usize = 10_000;
/// Names longer than this are not compared.
const LENGTH: usize = 64;

/// A hint with the names in a directory that resemble one; or all, if they are few.
pub(super) fn near(names: &Names<'_>, directory: Dir, wanted: &[u8]) -> Hint {
    let mut ids = names.children(directory.id);
    let mut some: Vec<&[u8]> = ids
        .by_ref()
        .take(LOOKED_AT)
        .map(|id| names.get(id))
        .filter(|name| name.is_visible(directory.floor))
        .map(|name| name.text)
        .collect();
    let all = ids.next().is_none() && some.len() <= SHOWN;
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
        ranked.truncate(SHOWN);
        some = ranked.into_iter().map(|(_, name)| name).collect();
    }
    Hint {
        near: some.into_iter().map(BString::from).collect(),
        all,
        ..Hint::default()
    }
}

/// How many bytes must be changed, added or removed to turn one name into the other, upper and lower case being equal.
/// Names too long to be compared are far apart.
fn distance(a: &[u8], b: &[u8]) -> usize {
    if a.len().max(b.len()) > LENGTH {
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
