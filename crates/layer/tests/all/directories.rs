//! Directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use sociable_layer::{PackError, pack_dir};
use sociable_policy::SizeSpans;
use sociable_tar::walk::{Options, Walk};
use sociable_ztoc::{EntryKind, LayerReader};

use crate::{assert_indexed, index_blob, options, text};

#[test]
fn a_directory_with_everything() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    fs::create_dir_all(root.join("a/b")).expect("a directory");
    fs::write(root.join("a/b/file"), text(1, 100_000)).expect("a file");
    fs::write(root.join("a/empty"), "").expect("a file");
    fs::hard_link(root.join("a/b/file"), root.join("z")).expect("a link");
    symlink("b/file", root.join("a/link")).expect("a link");
    let _socket = UnixListener::bind(root.join("socket")).expect("a socket");
    // A file with a hole.
    let sparse = fs::File::create(root.join("sparse")).expect("a file");
    sparse.set_len(3 << 20).expect("a hole");

    let (mut blob, mut skipped) = (Vec::new(), Vec::new());
    let mut planner = SizeSpans { span_size: 1 << 20 };
    let packed = pack_dir(
        Walk::new(root, Options::default()),
        &mut blob,
        options(&mut planner, 1 << 20),
        &mut |name, reason| skipped.push(format!("{name}: {reason}")),
    )
    .expect("packed");
    assert_eq!(skipped, ["socket: a socket"]);
    assert_indexed(&packed, &index_blob(&blob, &mut planner, 1 << 20));
    let names: Vec<_> = packed
        .ztoc
        .entries
        .iter()
        .map(|entry| (entry.name.to_string(), entry.kind))
        .collect();
    let expected = [
        ("a/", EntryKind::Directory),
        ("a/b/", EntryKind::Directory),
        ("a/b/file", EntryKind::File),
        ("a/empty", EntryKind::File),
        ("a/link", EntryKind::Symlink),
        ("sparse", EntryKind::File),
        ("z", EntryKind::Hardlink),
    ];
    assert_eq!(names, expected.map(|(name, kind)| (name.to_owned(), kind)));
    let mut layer = LayerReader::open(&packed.ztoc, &blob).expect("a readable zTOC");
    let mut out = Vec::new();
    layer
        .copy_entry(&packed.ztoc.entries[2], &mut out)
        .expect("a readable file");
    assert!(out == text(1, 100_000));
}

#[test]
fn an_empty_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut blob = Vec::new();
    let mut planner = SizeSpans::default();
    let walk = Walk::new(dir.path(), Options::default());
    let packed =
        pack_dir(walk, &mut blob, options(&mut planner, 1), &mut |_, _| {}).expect("packed");
    assert_eq!(packed.uncompressed_size, 1024);
    assert_indexed(&packed, &index_blob(&blob, &mut planner, 1));
}

#[test]
fn what_cannot_be_walked_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("missing");
    let mut planner = SizeSpans::default();
    let walk = Walk::new(&missing, Options::default());
    let error = pack_dir(
        walk,
        std::io::sink(),
        options(&mut planner, 1),
        &mut |_, _| {},
    )
    .expect_err("an error");
    assert!(matches!(error, PackError::Source(_)));
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn a_file_that_is_replaced_while_it_is_packed_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("a"), "old").expect("a file");
    let mut planner = SizeSpans::default();
    let walk = Walk::new(dir.path(), Options::default());
    let path = dir.path().join("a");
    let mut replace = |_| {
        let new = dir.path().join("new");
        fs::write(&new, "new").expect("a file");
        fs::rename(&new, &path).expect("replaced");
    };
    let options = sociable_layer::PackOptions {
        progress: Some(&mut replace),
        ..options(&mut planner, 1)
    };
    let error = pack_dir(walk, std::io::sink(), options, &mut |_, _| {}).expect_err("an error");
    assert!(error.to_string().contains("was replaced"), "{error}");
}
