//! Go's `archive/tar` and [`sociable_tar::Reader`] must say the same about any bytes: the same
//! entries, field by field, the same positions, the same end or the same error.
//!
//! One thing is left out, because Go does not agree with itself about it: when the records of a
//! global header are invalid, it reports the entry without records, and whether `path` has been
//! applied by then depends on the random order of its maps.
//!
//! `TAR_DIFFERENTIAL_ROUNDS` multiplies the number of random archives, `TAR_DIFFERENTIAL_SEED`
//! makes them others.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use sociable_tar::{Entry, TarError};

use crate::generate::{self, Random};
use crate::go::{self, GoEntry, note};
use crate::{Verdict, read, read_whole};

#[derive(Default)]
struct Counts {
    archives: usize,
    accepted: usize,
    entries: usize,
    sparse: usize,
    errors: BTreeMap<String, usize>,
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn go_entry(entry: &Entry) -> GoEntry {
    let Entry {
        size,
        mode,
        uid,
        gid,
        mtime,
        devmajor,
        devminor,
        ..
    } = *entry;
    GoEntry {
        position: entry.offset_after_header,
        typeflag: entry.typeflag,
        numbers: [size, mode, uid, gid, mtime.secs, devmajor, devminor],
        nanos: mtime.nanos.into(),
        texts: [&entry.name, &entry.linkname, &entry.uname, &entry.gname].map(|text| text.to_vec()),
        pax: entry
            .pax
            .iter()
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect(),
    }
}

fn message(error: &TarError) -> String {
    error
        .kind
        .reference_message()
        .expect("default limits are not exceeded")
        .to_owned()
}

fn compare(what: &str, archives: &[Vec<u8>], counts: &mut Counts) {
    let Some(program) = go::program() else { return };
    let mut random = Random::new(1);
    go::read_all(program, archives, |index, theirs| {
        let archive = &archives[index];
        let (entries, end): Verdict = read_whole(archive);
        let save = || {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("differs.tar");
            std::fs::write(&path, archive).expect("written");
            format!("{what} {index}, kept as {}", path.display())
        };
        for (at, (ours, theirs)) in entries.iter().zip(&theirs.entries).enumerate() {
            let mut ours = go_entry(ours);
            if ours.typeflag == b'g' && theirs.typeflag == b'g' && theirs.pax.is_empty() {
                ours.texts[0].clone_from(&theirs.texts[0]);
            }
            assert_eq!(ours, *theirs, "entry {at} of {}", save());
        }
        assert_eq!(entries.len(), theirs.entries.len(), "entries of {}", save());
        assert_eq!(
            end.clone().map_err(|e| message(&e)),
            theirs.end,
            "end of {}",
            save()
        );
        let pieces = read(archive, || 1 + random.below(700));
        assert_eq!(
            pieces,
            (entries.clone(), end.clone()),
            "in pieces, {}",
            save()
        );

        counts.archives += 1;
        counts.entries += entries.len();
        counts.sparse += entries
            .iter()
            .filter(|entry| entry.sparse.is_some())
            .count();
        match end {
            Ok(_) => counts.accepted += 1,
            Err(error) => {
                let kind = format!("{:?}", error.kind);
                let kind = kind.split('(').next().unwrap_or_default().to_owned();
                *counts.errors.entry(kind).or_default() += 1;
            }
        }
    });
}

fn report(what: &str, counts: &Counts) {
    let Counts {
        archives,
        accepted,
        entries,
        sparse,
        errors,
    } = counts;
    note(&format!(
        "{what}: {archives} archives agree, {accepted} accepted, {entries} entries ({sparse} \
         sparse), refused: {errors:?}"
    ));
}

/// The layers that this project's other tests are about.
fn layers() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/layers");
    let Ok(listing) = std::fs::read_dir(&folder) else {
        note("SKIPPED: no layers among the vectors");
        return Vec::new();
    };
    let mut paths: Vec<_> = listing.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let mut layers = Vec::new();
    for path in paths {
        let tar = match path.extension().and_then(|extension| extension.to_str()) {
            Some("tar") => std::fs::read(&path).expect("readable"),
            Some("gz") => {
                let gzip = Command::new("gzip")
                    .arg("-dc")
                    .arg(&path)
                    .output()
                    .expect("gzip runs");
                gzip.stdout
            }
            _ => continue,
        };
        layers.push((
            path.file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned(),
            tar,
        ));
    }
    layers
}

#[test]
fn layers_of_the_vectors() {
    let layers = layers();
    let mut counts = Counts::default();
    // One by one, as they are large.
    let archives: Vec<_> = layers.into_iter().map(|(_, tar)| tar).collect();
    compare("layer", &archives, &mut counts);
    report("layers of the vectors", &counts);
}

#[test]
fn random_archives() {
    let mut random = Random::new(variable("TAR_DIFFERENTIAL_SEED", 7));
    let mut counts = Counts::default();
    for _ in 0..variable("TAR_DIFFERENTIAL_ROUNDS", 1) {
        let archives: Vec<_> = (0..4000).map(|_| generate::archive(&mut random)).collect();
        compare("random archive", &archives, &mut counts);
    }
    report("random archives", &counts);
}

#[test]
fn mutated_archives() {
    let mut random = Random::new(variable("TAR_DIFFERENTIAL_SEED", 8));
    let mut originals: Vec<_> = layers().into_iter().map(|(_, tar)| tar).collect();
    originals.retain(|tar| tar.len() < 50_000);
    originals.dedup();
    let mut counts = Counts::default();
    for _ in 0..variable("TAR_DIFFERENTIAL_ROUNDS", 1) {
        let mut archives = Vec::new();
        for _ in 0..6000 {
            let mut archive = if random.once_in(10) && !originals.is_empty() {
                originals[random.below(originals.len())].clone()
            } else {
                generate::archive(&mut random)
            };
            generate::mutate(&mut random, &mut archive);
            archives.push(archive);
        }
        compare("mutated archive", &archives, &mut counts);
    }
    report("mutated archives", &counts);
}

#[test]
fn truncated_archives() {
    let mut random = Random::new(9);
    let mut counts = Counts::default();
    let mut archives = Vec::new();
    while archives.len() < 20_000 {
        let archive = generate::archive(&mut random);
        let (entries, end) = read_whole(&archive);
        let sparse = entries
            .iter()
            .filter(|entry| entry.sparse.is_some())
            .count();
        if end.is_ok() && sparse > 0 && entries.len() > 2 && archive.len() < 8_000 {
            archives.extend((0..archive.len()).map(|length| archive[..length].to_vec()));
        }
    }
    compare("truncated archive", &archives, &mut counts);
    report("truncated archives", &counts);
}

/// What the random ones are too small for: the limit of 1 MiB on everything special.
#[test]
fn archives_at_the_limits() {
    const MIB: usize = 1 << 20;
    let mut archives = Vec::new();
    let mut add = |parts: &[&[u8]], end: usize| {
        let mut archive = Vec::new();
        for part in parts {
            archive.extend_from_slice(part);
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
        archive.truncate(end);
        archives.push(archive);
    };
    let header = |flag: u8, size: usize| {
        let mut block = vec![0; 512];
        block[0] = b'n';
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[156] = flag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        generate::fix_checksum(&mut block, false);
        block
    };
    let plain = header(b'0', 0);
    for size in [MIB - 1, MIB, MIB + 1, MIB + 512, 3 * MIB] {
        for flag in *b"xgLK" {
            // One record of that size.
            let digits = 7;
            let value = vec![b'v'; size - digits - 4];
            let payload = generate::record(b"k", &value);
            assert_eq!(payload.len(), size);
            let block = header(flag, size);
            add(&[&block, &payload, &plain], usize::MAX);
            add(&[&block, &payload, &plain], 512 + MIB);
            add(&[&block, &payload, &plain], 512 + MIB + 1);
            add(&[&block, &payload, &plain], 512 + size);
        }
    }
    // GNU maps, empty but long.
    for blocks in [1, 2046, 2047, 2048, 2049] {
        let mut block = header(b'S', 0);
        block[257..265].copy_from_slice(b"ustar  \0");
        block[345..500].fill(0);
        block[482] = 1;
        generate::fix_checksum(&mut block, false);
        let mut map = vec![0; blocks * 512];
        for index in 0..blocks - 1 {
            map[index * 512 + 504] = 1;
        }
        add(&[&block, &map, &plain], usize::MAX);
        add(&[&block, &map, &plain], 512 + blocks * 512 - 1);
    }
    // PAX 1.0 maps.
    for count in [
        0,
        1,
        127,
        128,
        100_000,
        262_143,
        262_144,
        1 << 20,
        1 << 61,
        1 << 62,
        (1 << 63) - 1,
    ] {
        let records = [
            generate::record(b"GNU.sparse.major", b"1"),
            generate::record(b"GNU.sparse.minor", b"0"),
        ]
        .concat();
        let extended = header(b'x', records.len());
        for number in ["0", "00", "0000000"] {
            let mut map = format!("{count}\n").into_bytes();
            for _ in 0..2 * count.min(300_000u64) {
                map.extend_from_slice(number.as_bytes());
                map.push(b'\n');
            }
            map.resize(map.len().next_multiple_of(512), b'\n');
            let file = header(b'0', map.len());
            add(&[&extended, &records, &file, &map, &plain], usize::MAX);
            let file = header(b'0', map.len() - 1);
            add(&[&extended, &records, &file, &map, &plain], usize::MAX);
        }
    }
    let mut counts = Counts::default();
    compare("archive at the limits", &archives, &mut counts);
    report("archives at the limits", &counts);
}

/// What [`sociable_tar::TarWriter`] says of an entry is also what Go says.
#[test]
fn written_archives() {
    let archives = crate::roundtrip::samples(600);
    let mut counts = Counts::default();
    compare("written archive", &archives, &mut counts);
    assert!(counts.errors.is_empty(), "{:?}", counts.errors);
    report("written archives", &counts);
}
