//! Random layers: the tree against a simple model, and whether anything panics.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Unpacks each layer, then stacks the results, in the simplest way.
fn model(layers: &[Vec<Entry>]) -> Vec<String> {
    type Paths = BTreeMap<String, (EntryKind, usize, Option<usize>)>;
    fn remove(paths: &mut Paths, path: &str, itself: bool) {
        let inside = format!("{path}/");
        paths.retain(|p, _| !(p.starts_with(&inside) || itself && p == path));
    }
    let mut merged = Paths::new();
    for (number, entries) in layers.iter().enumerate() {
        let mut own = Paths::new();
        let (mut whiteouts, mut opaque) = (BTreeSet::new(), BTreeSet::new());
        'entries: for (index, entry) in entries.iter().enumerate() {
            let name = entry.name.to_string();
            let name = name.trim_end_matches('/');
            let mut parent = String::new();
            let (parents, base) = name.rsplit_once('/').unwrap_or(("", name));
            for component in parents.split('/').filter(|c| !c.is_empty()) {
                parent.extend(["/", component]);
                let implied = (EntryKind::Directory, number, None);
                if own.entry(parent.clone()).or_insert(implied).0 != EntryKind::Directory {
                    continue 'entries;
                }
            }
            let path = format!("{parent}/{base}");
            if base == ".wh..wh..opq" {
                opaque.insert(parent);
            } else if let Some(target) = base.strip_prefix(".wh.") {
                whiteouts.insert(format!("{parent}/{target}"));
            } else {
                let both = entry.kind == EntryKind::Directory
                    && own.get(&path).is_some_and(|o| o.0 == entry.kind);
                if !both {
                    remove(&mut own, &path, true);
                }
                if entry.kind != EntryKind::Directory {
                    whiteouts.insert(path.clone());
                }
                own.insert(path, (entry.kind, number, Some(index)));
            }
        }
        for path in whiteouts {
            remove(&mut merged, &path, true);
        }
        for path in opaque {
            remove(&mut merged, &path, false);
        }
        for (path, what) in own {
            if what.0 != EntryKind::Directory {
                remove(&mut merged, &path, true);
            }
            let keep = what.2.is_none()
                && merged
                    .get(&path)
                    .is_some_and(|m| m.0 == EntryKind::Directory);
            if !keep {
                merged.insert(path, what);
            }
        }
    }
    let mut out: Vec<String> = merged
        .into_iter()
        .map(|(path, (kind, layer, entry))| {
            let slash = if kind == EntryKind::Directory {
                "/"
            } else {
                ""
            };
            let entry = entry.map_or(String::new(), |entry| format!(".{entry}"));
            format!("{path}{slash}@{layer}{entry}")
        })
        .collect();
    out.sort_by(|a, b| a.split('@').cmp(b.split('@')));
    out
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

    #[test]
    fn equal_to_unpacking_and_stacking(
        texts in proptest::collection::vec(
            proptest::collection::vec("([abc]/){0,3}([abc]|[abc]/|\\.wh\\.[abc]|\\.wh\\.\\.wh\\.\\.opq)", 0..8),
            0..5,
        )
    ) {
        let layers: Vec<Vec<Entry>> = texts
            .iter()
            .map(|texts| texts.iter().map(|text| parse(text)).collect())
            .collect();
        let slices: Vec<Option<&[Entry]>> = layers.iter().map(|l| Some(l.as_slice())).collect();
        proptest::prop_assert_eq!(listing(&Tree::merge(&slices).unwrap()), model(&layers));
    }

    #[test]
    fn nothing_panics(
        texts in proptest::collection::vec(
            proptest::collection::vec("[./ab]{0,6}(\\.wh\\.)?[./ab]{0,3}( (->|=) [./ab]{0,6})?", 0..12),
            0..4,
        ),
        paths in proptest::collection::vec("[./ab]{0,8}", 20),
    ) {
        let layers: Vec<Vec<Entry>> = texts
            .iter()
            .map(|texts| texts.iter().map(|text| parse(text)).collect())
            .collect();
        let mut slices: Vec<Option<&[Entry]>> = layers.iter().map(|l| Some(l.as_slice())).collect();
        slices.insert(slices.len() / 2, None);
        let tree = Tree::merge(&slices).unwrap();
        listing(&tree);
        for path in paths {
            for node in [tree.lookup(&path), tree.resolve(&path)] {
                match node {
                    Ok(node) => {
                        let _ = (tree.content(node).map_err(|e| e.to_string()), tree.holder(node));
                        let _ = (tree.doubts(node), tree.doubts_inside(node), tree.entry(node));
                    }
                    Err(error) => proptest::prop_assert!(!error.to_string().is_empty()),
                }
            }
        }
    }
}
