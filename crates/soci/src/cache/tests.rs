//! Caches in temporary directories: hits, damage, limits, errors, many threads.

use std::collections::BTreeMap;
use std::io::{BufWriter, Read};
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::time::Duration;

use sociable_oci::Digest;

use super::store::{Body, Failure};
use super::*;

fn key(n: u64) -> Key {
    Key::new(
        Digest::sha256_of(&n.to_le_bytes()),
        "span-size=4194304;tool=test",
    )
}

fn header() -> Header {
    Header {
        layer_size: 12_345,
        diff_id: Some(Digest::sha256_of(b"tar")),
        note: BTreeMap::from([("xattrs".to_owned(), "no".to_owned())]),
    }
}

fn put(cache: &Cache, key: &Key, bytes: &[u8]) -> Result<(), CacheError> {
    cache.put(key, &header(), |out| out.write_all(bytes))
}

fn got(cache: &Cache, key: &Key) -> Option<Vec<u8>> {
    cache.get(key).map(|cached| cached.read().unwrap())
}

fn new() -> (tempfile::TempDir, Cache) {
    let temp = tempfile::tempdir().unwrap();
    let cache = Cache::open(temp.path().join("a/cache"), DEFAULT_LIMIT).unwrap();
    (temp, cache)
}

fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    File::open(path).unwrap().set_modified(time).unwrap();
}

fn whole_error(error: &dyn std::error::Error) -> String {
    let errors = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}

#[test]
fn what_was_put_is_got() {
    let (_temp, cache) = new();
    let bytes: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    assert!(cache.get(&key(1)).is_none());
    cache
        .put(&key(1), &header(), |out| {
            for part in bytes.chunks(777) {
                out.write_all(part)?;
            }
            Ok(())
        })
        .unwrap();
    let cached = cache.get(&key(1)).unwrap();
    assert_eq!(cached.header(), &header());
    assert_eq!(cached.digest(), &Digest::sha256_of(&bytes));
    assert_eq!(cached.size(), bytes.len() as u64);
    assert!(cached.read().unwrap() == bytes);
    let mut streamed = Vec::new();
    cached.into_reader().read_to_end(&mut streamed).unwrap();
    assert!(streamed == bytes);
    let usage = cache.usage().unwrap();
    assert_eq!((usage.entries, usage.temporary), (1, 0));
    assert!(usage.bytes > bytes.len() as u64);
    put(&cache, &key(2), b"").unwrap();
    assert_eq!(got(&cache, &key(2)).unwrap(), b"");
    put(&cache, &key(1), b"new").unwrap();
    assert_eq!(got(&cache, &key(1)).unwrap(), b"new");
}

#[test]
fn only_the_owner_gets_in() {
    let (_temp, cache) = new();
    put(&cache, &key(1), b"ztoc").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(cache.dir()), 0o700);
    assert_eq!(mode(&cache.dir().join(key(1).file_name())), 0o600);
}

#[test]
fn another_layer_or_other_options_are_a_miss() {
    let (_temp, cache) = new();
    let layer = *key(1).layer();
    put(&cache, &key(1), b"ztoc").unwrap();
    assert!(cache.get(&key(2)).is_none());
    assert!(cache.get(&Key::new(layer, "")).is_none());
    assert!(got(&cache, &key(1)).is_some());
    // A file in another's place is not believed.
    let other = Key::new(layer, "other");
    let path = cache.dir().join(other.file_name());
    fs::copy(cache.dir().join(key(1).file_name()), &path).unwrap();
    assert!(cache.get(&other).is_none());
    assert!(!path.exists());
}

#[test]
fn damage_anywhere_is_a_miss_and_is_removed() {
    let (_temp, cache) = new();
    let path = cache.dir().join(key(1).file_name());
    put(&cache, &key(1), b"the bytes of a zTOC").unwrap();
    let good = fs::read(&path).unwrap();
    let mut bad: Vec<Vec<u8>> = Vec::new();
    for at in 0..good.len() {
        bad.push(good[..at].to_vec());
        for flip in [0x01, 0x80] {
            let mut bytes = good.clone();
            bytes[at] ^= flip;
            bad.push(bytes);
        }
    }
    bad.push([&good[..], b"x"].concat());
    bad.push(vec![0; good.len()]);
    bad.push([&good[..8], &[0xff; 200]].concat());
    for (number, bytes) in bad.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        assert!(cache.get(&key(1)).is_none(), "{number}");
        assert!(!path.exists(), "{number}");
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(got(&cache, &key(1)).unwrap(), b"the bytes of a zTOC");
}

#[test]
fn what_is_no_file_is_a_miss() {
    let (temp, cache) = new();
    let path = cache.dir().join(key(1).file_name());
    fs::create_dir(&path).unwrap();
    assert!(cache.get(&key(1)).is_none());
    assert!(put(&cache, &key(1), b"ztoc").is_err());
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink(temp.path().join("nowhere"), &path).unwrap();
    assert!(cache.get(&key(1)).is_none());
    put(&cache, &key(1), b"ztoc").unwrap();
    assert_eq!(got(&cache, &key(1)).unwrap(), b"ztoc");
    assert_eq!(cache.usage().unwrap().temporary, 0);
}

#[test]
fn the_least_recently_used_is_removed_first() {
    let (_temp, cache) = new();
    let path = |n| cache.dir().join(key(n).file_name());
    for n in 1..=4 {
        put(&cache, &key(n), &[0; 1000]).unwrap();
        age(&path(n), 1000 - n);
    }
    let each = cache.usage().unwrap().bytes / 4;
    assert!(cache.get(&key(1)).is_some(), "used: the newest now");
    let foreign = cache.dir().join("notes.txt");
    fs::write(&foreign, [0; 9999]).unwrap();
    let small = Cache::open(cache.dir(), each * 4).unwrap();
    assert_eq!(small.trim().unwrap(), Usage::default(), "all fit");
    let small = Cache::open(cache.dir(), each * 3 + 1).unwrap();
    let removed = small.trim().unwrap();
    assert_eq!((removed.entries, removed.bytes), (1, each));
    assert!(!path(2).exists() && path(1).exists());
    put(&small, &key(5), &[0; 1000]).unwrap();
    assert!(!path(3).exists() && path(1).exists() && path(5).exists());
    assert!(small.usage().unwrap().bytes <= small.limit());
    assert_eq!(small.clear().unwrap().entries, 3);
    assert_eq!(small.usage().unwrap(), Usage::default());
    assert!(foreign.exists(), "not ours");
}

#[test]
fn one_trims_at_a_time() {
    let (_temp, cache) = new();
    put(&cache, &key(1), b"ztoc").unwrap();
    let none = Cache::open(cache.dir(), 0).unwrap();
    let lock = File::open(cache.dir().join(LOCK_FILE)).unwrap();
    lock.lock().unwrap();
    assert_eq!(none.trim().unwrap(), Usage::default());
    assert!(cache.get(&key(1)).is_some());
    drop(lock);
    assert_eq!(none.trim().unwrap().entries, 1);
}

#[test]
fn what_is_removed_can_be_read_to_its_end() {
    let (_temp, cache) = new();
    put(&cache, &key(1), &vec![7; 500_000]).unwrap();
    let mut reader = cache.get(&key(1)).unwrap().into_reader();
    let mut bytes = vec![0; 1000];
    reader.read_exact(&mut bytes).unwrap();
    cache.clear().unwrap();
    assert!(cache.get(&key(1)).is_none());
    reader.read_to_end(&mut bytes).unwrap();
    assert!(bytes[1000..] == vec![7; 499_000]);
}

#[test]
fn a_file_cut_off_while_it_is_read_is_an_error() {
    let (_temp, cache) = new();
    put(&cache, &key(1), &[7; 5000]).unwrap();
    let cached = cache.get(&key(1)).unwrap();
    let path = cache.dir().join(key(1).file_name());
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(1000).unwrap();
    assert!(cached.read().is_err());
    let error = cached.into_reader().read_to_end(&mut Vec::new());
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn what_does_not_fit_is_not_stored() {
    let (_temp, cache) = new();
    let small = Cache::open(cache.dir(), 2000).unwrap();
    put(&small, &key(1), &[0; 100]).unwrap();
    let error = put(&small, &key(2), &[0; 2000]).unwrap_err();
    assert!(matches!(error, CacheError::TooLarge { limit: 2000 }));
    assert_eq!(small.usage().unwrap().entries, 1, "the others stay");
    let none = Cache::open(cache.dir(), 0).unwrap();
    assert!(matches!(
        put(&none, &key(1), b""),
        Err(CacheError::TooLarge { limit: 0 })
    ));
    assert!(none.get(&key(1)).is_some(), "what is there stays");
    let long = Key::new(*key(1).layer(), "x".repeat(MAX_HEADER));
    assert!(matches!(
        put(&cache, &long, b""),
        Err(CacheError::HeaderTooLong { .. })
    ));
    assert_eq!(cache.usage().unwrap().temporary, 0);
}

#[test]
fn what_the_caller_cannot_produce_is_not_stored() {
    let (_temp, cache) = new();
    let error = cache
        .put(&key(1), &header(), |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("layer ends early"))
        })
        .unwrap_err();
    assert_eq!(
        whole_error(&error),
        "the zTOC is not cached: its bytes could not be produced: layer ends early"
    );
    assert!(cache.get(&key(1)).is_none());
    assert_eq!(cache.usage().unwrap(), Usage::default());
}

#[test]
fn a_full_disk_is_said() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut body = Body::new(BufWriter::with_capacity(4, Full(10)), 100);
    body.write_all(b"12345678").unwrap();
    let outcome = body
        .write_all(b"90")
        .and_then(|()| body.write_all(b"12345"));
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::StorageFull);
    let Some(Failure::Io(kind)) = body.failure else {
        panic!("taken for an error of the caller");
    };
    assert_eq!(kind, io::ErrorKind::StorageFull);
}

#[test]
fn a_place_that_cannot_be_used_is_said() {
    let (temp, cache) = new();
    let file = temp.path().join("file");
    fs::write(&file, "").unwrap();
    for dir in [file.clone(), file.join("below")] {
        let error = whole_error(&Cache::open(&dir, 1000).unwrap_err());
        let start = format!(
            "the cache of zTOCs is unusable: cannot create {}: ",
            dir.display()
        );
        assert!(error.starts_with(&start), "{error}");
    }
    // Gone, and made again.
    fs::remove_dir_all(cache.dir()).unwrap();
    assert!(cache.get(&key(1)).is_none());
    assert_eq!(cache.usage().unwrap(), Usage::default());
    assert_eq!(cache.trim().unwrap(), Usage::default());
    put(&cache, &key(1), b"ztoc").unwrap();
    assert!(cache.get(&key(1)).is_some());
    // Gone, with something else in its place.
    fs::remove_dir_all(cache.dir()).unwrap();
    fs::write(cache.dir(), "").unwrap();
    assert!(cache.get(&key(1)).is_none());
    assert!(matches!(
        put(&cache, &key(1), b"ztoc"),
        Err(CacheError::Io { .. })
    ));
    assert!(cache.usage().is_err() && cache.trim().is_err() && cache.clear().is_err());
}

#[test]
fn a_read_only_directory_gives_hits() {
    let (_temp, cache) = new();
    put(&cache, &key(1), b"ztoc").unwrap();
    fs::set_permissions(cache.dir(), fs::Permissions::from_mode(0o500)).unwrap();
    let cache = Cache::open(cache.dir(), DEFAULT_LIMIT).unwrap();
    assert!(cache.get(&key(1)).is_some());
    // To root everything is writable.
    if let Err(e) = put(&cache, &key(2), b"ztoc") {
        let error = whole_error(&e);
        assert!(error.contains("cannot write to"), "{error}");
        assert!(cache.get(&key(2)).is_none());
    }
    fs::set_permissions(cache.dir(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn stale_temporary_files_are_swept() {
    let (_temp, cache) = new();
    let (old, young) = (cache.dir().join(".tmp-old"), cache.dir().join(".tmp-young"));
    fs::write(&old, [0; 10]).unwrap();
    fs::write(&young, [0; 20]).unwrap();
    age(&old, 25 * 3600);
    age(&young, 23 * 3600);
    assert_eq!(cache.usage().unwrap().temporary, 30);
    put(&cache, &key(1), b"ztoc").unwrap();
    assert!(!old.exists() && young.exists());
    assert!(cache.get(&key(1)).is_some());
    age(&young, 25 * 3600);
    let removed = cache.clear().unwrap();
    assert_eq!((removed.entries, removed.temporary), (1, 20));
}

#[test]
fn two_threads_put_the_same() {
    let (_temp, cache) = new();
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        for byte in [1u8, 2] {
            let (cache, barrier) = (&cache, &barrier);
            scope.spawn(move || {
                for _ in 0..50 {
                    cache
                        .put(&key(1), &header(), |out| {
                            out.write_all(&vec![byte; 300_000])?;
                            barrier.wait();
                            out.write_all(&vec![byte; 300_000])
                        })
                        .unwrap();
                    let bytes = got(cache, &key(1)).unwrap();
                    assert_eq!(bytes.len(), 600_000);
                    assert!(bytes.iter().all(|b| *b == bytes[0]));
                }
            });
        }
    });
    let usage = cache.usage().unwrap();
    assert_eq!((usage.entries, usage.temporary), (1, 0));
}

#[test]
fn many_threads_in_a_small_cache_see_nothing_but_whole_ztocs() {
    let (_temp, cache) = new();
    let cache = Cache::open(cache.dir(), 30_000).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let cache = &cache;
            scope.spawn(move || {
                for round in 0..200u64 {
                    let n = (thread * 7 + round * 3) % 11;
                    let bytes = vec![u8::try_from(n).unwrap(); 5000];
                    match got(cache, &key(n)) {
                        Some(found) => assert!(found == bytes),
                        None => put(cache, &key(n), &bytes).unwrap(),
                    }
                    if round % 50 == 49 {
                        cache.clear().unwrap();
                    }
                }
            });
        }
    });
    cache.trim().unwrap();
    let usage = cache.usage().unwrap();
    assert!(usage.bytes <= 30_000 && usage.temporary == 0, "{usage:?}");
}
