//! Trees from layers written as text.

mod limits;
mod model;
mod paths;
mod rules;

use super::*;

fn entry(kind: EntryKind, name: impl AsRef<[u8]>, linkname: &str) -> Entry {
    Entry {
        name: name.as_ref().into(),
        kind,
        offset: 512,
        size: 0,
        linkname: linkname.into(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        uname: BString::default(),
        gname: BString::default(),
        mtime: None,
        devmajor: 0,
        devminor: 0,
        pax_records: Vec::new(),
    }
}

/// `name/` is a directory, `name -> target` a symbolic link, `name = target` a hard link, else it is a file.
fn parse(text: &str) -> Entry {
    if let Some((name, target)) = text.split_once(" -> ") {
        entry(EntryKind::Symlink, name, target)
    } else if let Some((name, target)) = text.split_once(" = ") {
        entry(EntryKind::Hardlink, name, target)
    } else if text.ends_with('/') {
        entry(EntryKind::Directory, text, "")
    } else {
        entry(EntryKind::File, text, "")
    }
}

fn layer(texts: &[&str]) -> Vec<Entry> {
    texts.iter().map(|text| parse(text)).collect()
}

fn with<T>(layers: &[&[&str]], test: impl FnOnce(&Tree<'_>) -> T) -> T {
    let layers: Vec<Vec<Entry>> = layers.iter().map(|texts| layer(texts)).collect();
    let layers: Vec<Option<&[Entry]>> = layers.iter().map(|l| Some(l.as_slice())).collect();
    test(&Tree::merge(&layers).unwrap())
}

/// `path@layer.entry`, directories with a slash, implied ones without an entry.
fn listing(tree: &Tree<'_>) -> Vec<String> {
    let mut out = Vec::new();
    let mut todo = vec![tree.root()];
    while let Some(directory) = todo.pop() {
        for (name, node) in tree.children(directory) {
            let path = tree.path(node);
            assert!(path.ends_with(name));
            let slash = if node.kind == EntryKind::Directory {
                todo.push(node);
                "/"
            } else {
                ""
            };
            let entry = node
                .entry
                .map_or(String::new(), |entry| format!(".{entry}"));
            let text = format!("{path}{slash}@{}{entry}", node.layer);
            assert_eq!(tree.lookup(&path).unwrap(), node);
            out.push(text);
        }
    }
    out.sort_by(|a, b| a.split('@').cmp(b.split('@')));
    out
}

fn list(layers: &[&[&str]]) -> Vec<String> {
    with(layers, listing)
}
