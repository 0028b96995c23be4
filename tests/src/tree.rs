//! Random directory trees, as odd as a file system allows.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use sha2::{Digest as _, Sha256};

use crate::rng::Rng;

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many entries.
    pub entries: usize,
    /// The largest file.
    pub largest: usize,
    /// Only what every tar dialect can hold: short ASCII names, files, directories and links.
    pub plain: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            entries: 60,
            largest: 200_000,
            plain: false,
        }
    }
}

/// Fills an existing directory at random. What this user or file system does not permit is left out.
pub fn grow(root: &Path, shape: Shape, rng: &mut Rng) {
    let mut dirs = vec![root.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    for number in 0..shape.entries {
        let dir = rng.pick(&dirs).clone();
        let path = dir.join(OsStr::from_bytes(&name(number, shape.plain, rng)));
        match rng.below(if shape.plain { 10 } else { 12 }) {
            0 | 1 => {
                // Deep paths end somewhere: PATH_MAX is 4,096.
                if path.as_os_str().len() < 2_000 && fs::create_dir(&path).is_ok() {
                    dirs.push(path);
                }
                continue;
            }
            2 => {
                let target = [
                    &b"../up/and/away"[..],
                    b"/absolute/\xff",
                    b".",
                    b"x",
                    &[b'l'; 300],
                ];
                let target = if shape.plain {
                    target[0]
                } else {
                    *rng.pick(&target)
                };
                symlink(OsStr::from_bytes(target), &path).expect("symlink");
                continue;
            }
            3 if !files.is_empty() => {
                fs::hard_link(rng.pick(&files), &path).expect("hard link");
                continue;
            }
            10 => {
                // Not every file system has them, and nothing depends on one.
                let _ = mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o640), 0);
                continue;
            }
            _ => {
                let len = if rng.one_in(6) {
                    0
                } else {
                    rng.below(shape.largest.max(1)) >> rng.below(8)
                };
                fs::write(&path, rng.content(len)).expect("write a file");
            }
        }
        if !shape.plain && rng.one_in(4) {
            // user.* attributes need a file system that has them.
            let _ = setxattr(&path, "user.sociable", &rng.noise(5), XattrFlags::empty());
            let _ = setxattr(&path, "user.text", b"a=b\nc", XattrFlags::empty());
        }
        let modes = [0o644, 0o755, 0o600, 0o444, 0o4755, 0o2755, 0o1777];
        fs::set_permissions(&path, Permissions::from_mode(*rng.pick(&modes))).expect("chmod");
        set_time(&path, shape.plain, rng);
        files.push(path);
    }
    // Last, as every new entry changes its directory's time.
    for dir in dirs.iter().rev() {
        set_time(dir, shape.plain, rng);
    }
}

fn set_time(path: &Path, plain: bool, rng: &mut Rng) {
    let nanos = if plain || rng.one_in(3) {
        0
    } else {
        u32::try_from(rng.below(1_000_000_000)).expect("small")
    };
    let time = UNIX_EPOCH + Duration::new(rng.number() % 4_000_000_000, nanos);
    // Another owner's file keeps its time.
    let _ = File::open(path).and_then(|f| f.set_times(FileTimes::new().set_modified(time)));
}

fn name(number: usize, plain: bool, rng: &mut Rng) -> Vec<u8> {
    let mut name = format!("{number}").into_bytes();
    if plain {
        name.extend_from_slice(rng.pick(&["", ".txt", "-a_b"]).as_bytes());
        return name;
    }
    match rng.below(10) {
        0 => name.extend(vec![b'n'; 99 - name.len() + rng.below(4)]), // around the 100 bytes of a tar header
        1 => name.extend(vec![b'm'; 230]),
        2 => name.extend_from_slice("-é-日本-🦀".as_bytes()),
        3 => name.extend_from_slice(b"-\xff\xfe\x80"),
        4 => name.extend_from_slice(b" a\\b\"c'\t<&>"),
        5 => name.extend_from_slice(b"line\nbreak=1"),
        6 => name.splice(0..0, *b".wh.").for_each(drop),
        7 => name.splice(0..0, *b".").for_each(drop),
        8 => name.splice(0..0, *b"-").for_each(drop),
        _ => {}
    }
    name
}

/// A regular file of a tree.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its size.
    pub size: u64,
    /// sha256 of its content, in hex.
    pub sha256: String,
    /// Names of one file have the same inode.
    pub inode: u64,
}

/// Every regular file under `root`, by its path from there.
pub fn files(root: &Path) -> BTreeMap<Vec<u8>, Known> {
    fn walk(root: &Path, dir: &Path, into: &mut BTreeMap<Vec<u8>, Known>) {
        for entry in fs::read_dir(dir).expect("list a directory") {
            let path = entry.expect("list a directory").path();
            let meta = fs::symlink_metadata(&path).expect("stat");
            if meta.is_dir() {
                walk(root, &path, into);
            } else if meta.is_file() {
                let sha256 = hex::encode(Sha256::digest(fs::read(&path).expect("read a file")));
                let key = path
                    .strip_prefix(root)
                    .expect("below the root")
                    .as_os_str()
                    .as_bytes()
                    .to_vec();
                into.insert(
                    key,
                    Known {
                        size: meta.len(),
                        sha256,
                        inode: meta.ino(),
                    },
                );
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}
