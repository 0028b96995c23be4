//! Differences of real directories.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode};
use sociable_tar::diff::{Change, Diff};
use sociable_tar::{Header, Kind};

use crate::go::note;
use crate::walk::set_time;

/// Two directories, to be filled the same way and then changed.
struct Pair {
    dir: tempfile::TempDir,
}

impl Pair {
    fn new(fill: impl Fn(&Path)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let pair = Self { dir };
        for root in [pair.lower(), pair.upper()] {
            fs::create_dir(&root).expect("created");
            fill(&root);
            settle(&root);
        }
        pair
    }

    fn lower(&self) -> std::path::PathBuf {
        self.dir.path().join("lower")
    }

    fn upper(&self) -> std::path::PathBuf {
        self.dir.path().join("upper")
    }

    fn changes(&self) -> Vec<Change> {
        diff(Some(&self.lower()), &self.upper())
    }

    fn names(&self) -> Vec<String> {
        names(&self.changes())
    }
}

/// Gives everything the same time, in whole seconds, as files of an image have.
fn settle(path: &Path) {
    if path.symlink_metadata().expect("metadata").is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            settle(&entry.expect("an entry").path());
        }
    }
    set_time(path, 1_000_000, 0);
}

fn diff(lower: Option<&Path>, upper: &Path) -> Vec<Change> {
    Diff::new(lower.map(Path::to_owned), upper.to_owned(), None)
        .collect::<Result<_, _>>()
        .expect("readable")
}

fn names(changes: &[Change]) -> Vec<String> {
    let names = changes
        .iter()
        .map(|change| change.header().name.to_string());
    names.collect()
}

fn tree(root: &Path) {
    for directory in ["a/b", "c", "d/e"] {
        fs::create_dir_all(root.join(directory)).expect("created");
    }
    for file in ["a/b/x", "a/y", "c/z", "d/e/deep", "top"] {
        fs::write(root.join(file), file).expect("written");
    }
    symlink("y", root.join("a/link")).expect("a link");
}

#[test]
fn nothing_changed_is_nothing() {
    assert_eq!(Pair::new(tree).names(), [""; 0]);
}

#[test]
fn without_a_lower_directory_everything_is_new() {
    let pair = Pair::new(tree);
    let all = names(&diff(None, &pair.upper()));
    assert_eq!(
        all,
        [
            "a/", "a/b/", "a/b/x", "a/link", "a/y", "c/", "c/z", "d/", "d/e/", "d/e/deep", "top"
        ]
    );
}

#[test]
fn a_change_brings_its_parents() {
    let pair = Pair::new(tree);
    fs::write(pair.upper().join("a/b/x"), "other").expect("written");
    fs::write(pair.upper().join("d/new"), "new").expect("written");
    assert_eq!(pair.names(), ["a/", "a/b/", "a/b/x", "d/", "d/new"]);
}

#[test]
fn what_is_gone_gets_a_whiteout_in_its_place() {
    let pair = Pair::new(tree);
    fs::remove_file(pair.upper().join("a/y")).expect("removed");
    fs::remove_dir_all(pair.upper().join("d")).expect("removed");
    fs::write(pair.upper().join("e"), "").expect("written");
    let changes = pair.changes();
    assert_eq!(names(&changes), ["a/", "a/.wh.y", ".wh.d", "e"]);
    let whiteout = changes[1].header();
    let empty = Header {
        mode: 0,
        ..Header::new("a/.wh.y", Kind::File { size: 0 })
    };
    assert_eq!(*whiteout, empty);
    assert!(matches!(changes[1], Change::Whiteout(_)));
}

#[test]
fn a_directory_made_anew_loses_what_it_held() {
    let pair = Pair::new(tree);
    let directory = pair.upper().join("a");
    fs::remove_dir_all(&directory).expect("removed");
    fs::create_dir(&directory).expect("created");
    fs::write(directory.join("n"), "").expect("written");
    assert_eq!(
        pair.names(),
        ["a/", "a/.wh.b", "a/.wh.link", "a/n", "a/.wh.y"]
    );
}

#[test]
fn another_type_replaces_without_whiteouts() {
    let pair = Pair::new(tree);
    fs::remove_dir_all(pair.upper().join("a")).expect("removed");
    fs::write(pair.upper().join("a"), "").expect("written");
    fs::remove_file(pair.upper().join("top")).expect("removed");
    fs::create_dir(pair.upper().join("top")).expect("created");
    fs::write(pair.upper().join("top/in"), "").expect("written");
    assert_eq!(pair.names(), ["a", "top/", "top/in"]);
}

#[test]
fn a_time_of_a_file_is_a_change_and_of_a_directory_none() {
    let pair = Pair::new(tree);
    set_time(&pair.upper().join("top"), 2_000_000, 0);
    set_time(&pair.upper().join("c"), 2_000_000, 0);
    set_time(&pair.upper().join("a/link"), 2_000_000, 0);
    assert_eq!(pair.names(), ["a/", "a/link", "top"]);
}

#[test]
fn the_same_whole_second_needs_a_look_at_the_content() {
    let pair = Pair::new(tree);
    let top = pair.upper().join("top");
    fs::write(&top, "TOP").expect("written");
    set_time(&top, 1_000_000, 0);
    assert_eq!(pair.names(), ["top"]);
    // With fractions, time and size are enough.
    fs::write(&top, "pot").expect("written");
    for root in [pair.lower(), pair.upper()] {
        set_time(&root.join("top"), 1_000_000, 5);
    }
    assert_eq!(pair.names(), [""; 0]);
    let link = pair.upper().join("a/link");
    fs::remove_file(&link).expect("removed");
    symlink("z", &link).expect("a link");
    set_time(&link, 1_000_000, 0);
    assert_eq!(pair.names(), ["a/", "a/link"]);
}

#[test]
fn modes_are_changes() {
    let pair = Pair::new(tree);
    let set = |name: &str, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(pair.upper().join(name), mode).expect("set");
    };
    set("a", 0o1777);
    set("c/z", 0o4755);
    let changes = pair.changes();
    assert_eq!(names(&changes), ["a/", "c/", "c/z"]);
    assert_eq!(changes[0].header().mode, 0o1777);
    assert_eq!(changes[2].header().mode, 0o4755);
}

#[test]
fn names_of_one_inode_are_links_to_the_first_that_changed() {
    let pair = Pair::new(tree);
    let upper = pair.upper();
    fs::write(upper.join("c/one"), "new").expect("written");
    fs::hard_link(upper.join("c/one"), upper.join("a/two")).expect("linked");
    // A new name of an old file: the old name did not change, so the file is there once more.
    fs::hard_link(upper.join("top"), upper.join("zzz")).expect("linked");
    let changes = pair.changes();
    assert_eq!(names(&changes), ["a/", "a/two", "c/", "c/one", "zzz"]);
    assert_eq!(changes[1].header().kind, Kind::File { size: 3 });
    let target = "a/two".into();
    assert_eq!(changes[3].header().kind, Kind::HardLink { target });
    assert_eq!(changes[4].header().kind, Kind::File { size: 3 });
}

#[test]
fn special_files_are_kept_and_sockets_left_out() {
    let pair = Pair::new(tree);
    let upper = pair.upper();
    let fifo = rustix::fs::mknodat(
        CWD,
        upper.join("fifo"),
        FileType::Fifo,
        Mode::from(0o600),
        0,
    );
    fifo.expect("a FIFO");
    let _socket = UnixListener::bind(upper.join("socket")).expect("a socket");
    fs::write(upper.join(OsStr::from_bytes(b"\xff\n")), "").expect("written");
    let changes = pair.changes();
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0].header().kind, Kind::Fifo);
    assert_eq!(&changes[1].header().name[..], b"\xff\n");
    let device = rustix::fs::mknodat(
        CWD,
        upper.join("device"),
        FileType::CharacterDevice,
        Mode::from(0o600),
        rustix::fs::makedev(1, 3),
    );
    if device.is_err() {
        note("devices: this needs root");
        return;
    }
    assert_eq!(
        pair.changes()[0].header().kind,
        Kind::CharDevice { major: 1, minor: 3 }
    );
}

#[test]
fn times_are_whole_seconds_and_not_after_the_epoch() {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, secs) in [("early", 10), ("late", 1_000)] {
        fs::write(dir.path().join(name), "").expect("written");
        set_time(&dir.path().join(name), secs, 5);
    }
    let all = Diff::new(None, dir.path().to_owned(), Some(100));
    let times: Vec<_> = all
        .map(|change| change.expect("readable").header().mtime)
        .map(|time| (time.secs, time.nanos))
        .collect();
    assert_eq!(times, [(10, 0), (100, 0)]);
}

#[test]
fn content_is_that_of_the_upper_file() {
    let pair = Pair::new(tree);
    fs::write(pair.upper().join("top"), "other").expect("written");
    let changes = pair.changes();
    let mut content = String::new();
    let mut file = changes[0].open().expect("opened");
    std::io::Read::read_to_string(&mut file, &mut content).expect("read");
    assert_eq!(content, "other");
}

/// What is done to a tree at random.
#[derive(Clone, Debug)]
enum Act {
    Write(usize, u8),
    Remove(usize),
    Directory(usize),
    Link(usize),
    Mode(usize, u32),
}

/// Paths that acts are about: few, so that they meet.
const PATHS: [&str; 8] = ["a", "a/b", "a/b/c", "a/d", "e", "e/f", "e/f/g", "h"];

fn act() -> impl Strategy<Value = Act> {
    let path = 0..PATHS.len();
    prop_oneof![
        (path.clone(), any::<u8>()).prop_map(|(path, byte)| Act::Write(path, byte)),
        path.clone().prop_map(Act::Remove),
        path.clone().prop_map(Act::Directory),
        path.clone().prop_map(Act::Link),
        (path, 0_u32..0o7777).prop_map(|(path, mode)| Act::Mode(path, mode | 0o700)),
    ]
}

fn perform(root: &Path, acts: &[Act]) {
    let clear = |path: &Path| {
        // What is not there need not be removed.
        let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
    };
    for act in acts {
        // Acts below what is no directory come to nothing.
        let _ = match act {
            Act::Write(path, byte) => {
                let path = root.join(PATHS[*path]);
                clear(&path);
                fs::write(path, vec![*byte; usize::from(*byte)])
            }
            Act::Remove(path) => {
                clear(&root.join(PATHS[*path]));
                Ok(())
            }
            Act::Directory(path) => fs::create_dir_all(root.join(PATHS[*path])),
            Act::Link(path) => {
                let path = root.join(PATHS[*path]);
                clear(&path);
                symlink("target", path)
            }
            Act::Mode(path, mode) => {
                let path = root.join(PATHS[*path]);
                match path.symlink_metadata() {
                    Ok(metadata) if !metadata.is_symlink() => {
                        fs::set_permissions(path, fs::Permissions::from_mode(*mode))
                    }
                    _ => Ok(()),
                }
            }
        };
    }
}

/// Everything in a tree: name, mode, and content or target.
fn listing(root: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut all = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let metadata = path.symlink_metadata().expect("metadata");
            let content = if metadata.is_symlink() {
                let target = fs::read_link(&path).expect("a target");
                target.as_os_str().as_bytes().to_vec()
            } else if metadata.is_dir() {
                open.push(path.clone());
                Vec::new()
            } else {
                fs::read(&path).expect("content")
            };
            let name = path
                .strip_prefix(root)
                .expect("below")
                .display()
                .to_string();
            all.push((name, metadata.mode(), content));
        }
    }
    all.sort();
    all
}

/// Applies changes as whoever unpacks a layer does.
fn apply(changes: &[Change], root: &Path) {
    for change in changes {
        let header = change.header();
        let name = header.name.to_string();
        let path = root.join(name.trim_end_matches('/'));
        let clear = |path: &Path| {
            let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
        };
        if let Change::Whiteout(_) = change {
            let file = path.file_name().expect("a name").to_str().expect("UTF-8");
            let gone = file.strip_prefix(".wh.").expect("a whiteout");
            clear(&path.with_file_name(gone));
            continue;
        }
        let is_directory = path.symlink_metadata().is_ok_and(|m| m.is_dir());
        match &header.kind {
            Kind::Directory if is_directory => {}
            Kind::Directory => {
                clear(&path);
                fs::create_dir(&path).expect("created");
            }
            Kind::Symlink { target } => {
                clear(&path);
                symlink(OsStr::from_bytes(target), &path).expect("a link");
                continue;
            }
            _ => {
                clear(&path);
                let mut file = fs::File::create(&path).expect("created");
                let mut content = change.open().expect("opened");
                std::io::copy(&mut content, &mut file).expect("copied");
            }
        }
        let mode = fs::Permissions::from_mode(header.mode);
        fs::set_permissions(&path, mode).expect("set");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens to a tree: its changes, applied to what it was, make it what it is.
    #[test]
    fn changes_lead_from_lower_to_upper(before in prop::collection::vec(act(), 0..12), after in prop::collection::vec(act(), 0..12)) {
        let pair = Pair::new(|root| perform(root, &before));
        perform(&pair.upper(), &after);
        apply(&pair.changes(), &pair.lower());
        prop_assert_eq!(listing(&pair.lower()), listing(&pair.upper()));
    }
}
