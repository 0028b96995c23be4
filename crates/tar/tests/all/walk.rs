//! Walks through real directories.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use bstr::BStr;
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use sociable_tar::walk::{Found, Options, Owner, Walk, WalkError};
use sociable_tar::{Excludes, Header, Kind, TarWriter, Time, WalkEntry};

use crate::{go::note, read_whole};

/// Sets the time of something, not following it.
pub(crate) fn set_time(path: &Path, secs: i64, nanos: i64) {
    let time = Timespec {
        tv_sec: secs,
        tv_nsec: nanos,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(CWD, path, &times, flags).expect("utimensat");
}

fn walk(root: &Path, options: Options) -> Vec<WalkEntry> {
    Walk::new(root, options)
        .filter_map(|found| match found.expect("readable") {
            Found::Entry(entry) => Some(*entry),
            Found::Skipped { .. } => None,
        })
        .collect()
}

fn names(root: &Path, options: Options) -> Vec<String> {
    walk(root, options)
        .iter()
        .map(|entry| entry.header.name.to_string())
        .collect()
}

fn excludes(patterns: &[&str]) -> Options {
    let excludes = Excludes::new(patterns.iter().copied()).expect("patterns");
    Options {
        excludes,
        ..Options::default()
    }
}

#[test]
fn order_is_that_of_the_names_parents_first() {
    let root = tempfile::tempdir().expect("a directory");
    for directory in ["b/c", "b-c", "a", "é"] {
        fs::create_dir_all(root.path().join(directory)).expect("created");
    }
    for file in ["b/c/z", "b/a", "b-c/x", "B", "a.txt", "é/f"] {
        fs::write(root.path().join(file), file).expect("written");
    }
    let expected = [
        "B", "a/", "a.txt", "b/", "b/a", "b/c/", "b/c/z", "b-c/", "b-c/x", "é/", "é/f",
    ];
    assert_eq!(names(root.path(), Options::default()), expected);
    let excluded = excludes(&["/b", "!b/a", "x", "é/*"]);
    assert_eq!(
        names(root.path(), excluded),
        ["B", "a/", "a.txt", "b-c/", "é/"]
    );
}

#[test]
fn all_types_are_packed_as_they_are() {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name);
    fs::create_dir(path("d")).expect("created");
    fs::write(path("d/file"), "content").expect("written");
    fs::set_permissions(path("d/file"), fs::Permissions::from_mode(0o4751)).expect("set");
    fs::hard_link(path("d/file"), path("a-link")).expect("linked");
    fs::hard_link(path("d/file"), path("e-link")).expect("linked");
    symlink("/nowhere", path("s")).expect("linked");
    fs::hard_link(path("s"), path("s2")).expect("linked");
    symlink("d", path("to-d")).expect("linked");
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, path("fifo"), FileType::Fifo, mode, 0).expect("created");
    let _socket = UnixListener::bind(path("socket")).expect("bound");
    let device = rustix::fs::makedev(1, 3);
    let devices =
        rustix::fs::mknodat(CWD, path("null"), FileType::CharacterDevice, mode, device).is_ok();
    if !devices {
        note("SKIPPED: no right to make devices");
    }

    let entries = walk(root.path(), Options::default());
    let kind = |name: &str| {
        let entry = entries.iter().find(|entry| entry.header.name == name);
        entry.map(|entry| entry.header.kind.clone())
    };
    assert_eq!(kind("a-link"), Some(Kind::File { size: 7 }));
    assert_eq!(
        kind("d/file"),
        Some(Kind::HardLink {
            target: "a-link".into()
        })
    );
    assert_eq!(
        kind("e-link"),
        Some(Kind::HardLink {
            target: "a-link".into()
        })
    );
    assert_eq!(
        kind("s"),
        Some(Kind::Symlink {
            target: "/nowhere".into()
        })
    );
    assert_eq!(kind("s2"), Some(Kind::HardLink { target: "s".into() }));
    assert_eq!(kind("to-d"), Some(Kind::Symlink { target: "d".into() }));
    assert_eq!(kind("to-d/file"), None);
    assert_eq!(kind("fifo"), Some(Kind::Fifo));
    assert_eq!(kind("socket"), None);
    if devices {
        assert_eq!(kind("null"), Some(Kind::CharDevice { major: 1, minor: 3 }));
    }
    let metadata = fs::metadata(path("a-link")).expect("there");
    let expected = Header {
        mode: 0o4751,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: Time::from_secs(metadata.mtime()),
        ..Header::new("a-link", Kind::File { size: 7 })
    };
    assert_eq!(entries[0].header, expected);
    let skipped = Walk::new(root.path(), Options::default())
        .filter(|found| matches!(found, Ok(Found::Skipped { name, .. }) if name == "socket"));
    assert_eq!(skipped.count(), 1);

    // The first name counts only if it is packed.
    let entries = walk(root.path(), excludes(&["a-link"]));
    let first = entries
        .iter()
        .find(|entry| entry.header.name == "d/file")
        .expect("there");
    assert_eq!(first.header.kind, Kind::File { size: 7 });

    // All of it in an archive.
    let mut writer = TarWriter::new(Vec::new());
    let mut written = Vec::new();
    for entry in &entries {
        let (as_read, mut data) = writer.entry(&entry.header).expect("header");
        if let Kind::File { .. } = entry.header.kind {
            data.copy_from(&mut entry.open().expect("opened"))
                .expect("copied");
        }
        written.push(as_read);
    }
    let archive = writer.finish().expect("end");
    assert_eq!(read_whole(&archive), (written, Ok(archive.len() as u64)));
}

#[test]
fn times_and_owners_can_be_set() {
    let root = tempfile::tempdir().expect("a directory");
    for (name, secs) in [("old", 100), ("new", 2000), ("older", -5)] {
        fs::write(root.path().join(name), "").expect("written");
        set_time(&root.path().join(name), secs, 250_000_000);
    }
    let times = |options| -> Vec<(i64, u32)> {
        walk(root.path(), options)
            .iter()
            .map(|entry| (entry.header.mtime.secs, entry.header.mtime.nanos))
            .collect()
    };
    assert_eq!(times(Options::default()), [(2000, 0), (100, 0), (-5, 0)]);
    let options = Options {
        epoch: Some(1000),
        subsecond: true,
        ..Options::default()
    };
    assert_eq!(
        times(options),
        [(1000, 0), (100, 250_000_000), (-5, 250_000_000)]
    );
    let options = Options {
        epoch: Some(2000),
        subsecond: true,
        ..Options::default()
    };
    assert_eq!(times(options)[0], (2000, 0));
    let owner = Owner {
        uid: 7,
        gid: 8,
        uname: "u".into(),
        gname: "g".into(),
    };
    let entries = walk(
        root.path(),
        Options {
            owner: Some(owner),
            ..Options::default()
        },
    );
    let header = &entries[0].header;
    assert_eq!((header.uid, header.gid), (7, 8));
    assert_eq!((&header.uname, &header.gname), (&"u".into(), &"g".into()));
}

#[test]
fn extended_attributes_are_packed() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("f");
    fs::write(&path, "").expect("written");
    let long = vec![b'v'; 3000];
    let value: &[(&str, &[u8])] = &[("user.empty", b""), ("user.long", &long)];
    for (name, value) in value {
        if rustix::fs::setxattr(&path, *name, value, XattrFlags::empty()).is_err() {
            note("SKIPPED: the file system has no extended attributes");
            return;
        }
    }
    let xattrs = |options| walk(root.path(), options)[0].header.xattrs.clone();
    let packed = xattrs(Options::default());
    assert_eq!(packed.len(), 2);
    assert_eq!(packed[BStr::new("user.long")], long);
    assert!(
        xattrs(Options {
            no_xattrs: true,
            ..Options::default()
        })
        .is_empty()
    );
}

#[test]
fn what_takes_a_files_place_is_not_opened() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("f");
    fs::write(&path, "").expect("written");
    let entry = walk(root.path(), Options::default()).remove(0);
    assert!(entry.open().is_ok());
    fs::rename(&path, root.path().join("g")).expect("moved");
    assert!(matches!(entry.open(), Err(WalkError::Io { .. })));
    symlink("g", &path).expect("linked");
    assert!(matches!(entry.open(), Err(WalkError::Replaced { .. })));
    fs::remove_file(&path).expect("removed");
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, mode, 0).expect("created");
    assert!(
        fs::symlink_metadata(&path)
            .expect("there")
            .file_type()
            .is_fifo()
    );
    assert!(matches!(entry.open(), Err(WalkError::Replaced { .. })));
}

#[test]
fn a_directory_that_is_none_is_an_error() {
    let root = tempfile::tempdir().expect("a directory");
    let mut walk = Walk::new(root.path().join("missing"), Options::default());
    assert!(matches!(walk.next(), Some(Err(WalkError::Io { .. }))));
    assert!(walk.next().is_none());

    // One that was replaced by a link after it was listed.
    fs::create_dir(root.path().join("d")).expect("created");
    fs::write(root.path().join("z"), "").expect("written");
    let mut walk = Walk::new(root.path(), Options::default());
    assert!(matches!(walk.next(), Some(Ok(Found::Entry(_)))));
    fs::remove_dir(root.path().join("d")).expect("removed");
    symlink("/", root.path().join("d")).expect("linked");
    assert!(matches!(walk.next(), Some(Err(_))));
    assert!(
        matches!(walk.next(), Some(Ok(Found::Entry(_)))),
        "it goes on"
    );
    assert!(walk.next().is_none());
}
