//! Layers that are not gzip.

use std::io;

use sociable_layer::pack::{pack_plain, pack_zstd};
use sociable_layer::{Compression, IndexOptions, Limits, PackError, PackOptions, Packed, index};
use sociable_policy::SizeSpans;
use sociable_tar::{Header, Kind};
use sociable_ztoc::LayerReader;

use crate::failures::Disk;
use crate::{Item, entries, file, gunzip, noise, options, pack_items, text};

const SPAN: u64 = 50_000;

fn items() -> Vec<Item> {
    let mut items = vec![(Header::new("d", Kind::Directory), Vec::new())];
    items.push(file("d/a", text(1, 200_000)));
    items.push(file("d/empty", ""));
    items.push(file("d/b", noise(2, 300_001)));
    items
}

fn plain(items: &[Item], limits: Limits) -> Result<(Packed, Vec<u8>), PackError> {
    let (mut blob, mut planner) = (Vec::new(), SizeSpans { span_size: SPAN });
    let options = PackOptions {
        limits,
        ..options(&mut planner, SPAN)
    };
    Ok((pack_plain(entries(items), &mut blob, options)?, blob))
}

fn zstd(items: &[Item], level: u8, jobs: usize) -> Result<Vec<u8>, PackError> {
    let (mut blob, mut planner) = (Vec::new(), SizeSpans { span_size: SPAN });
    let options = PackOptions {
        level,
        jobs,
        ..options(&mut planner, SPAN)
    };
    let packed = pack_zstd(entries(items), &mut blob, options)?;
    assert_eq!(packed.digest, sociable_ztoc::Sha256::of(&blob));
    assert_eq!(packed.size, blob.len() as u64);
    let tar = zstd::decode_all(&*blob).expect("zstd");
    assert_eq!(packed.diff_id, sociable_ztoc::Sha256::of(&tar));
    assert_eq!(packed.uncompressed_size, tar.len() as u64);
    Ok(blob)
}

#[test]
fn a_plain_tar_is_the_one_in_the_gzip_layer_and_can_be_read() {
    let items = items();
    let (gzip, blob) = pack_items(&items, SPAN).expect("packed");
    let (packed, tar) = plain(&items, Limits::default()).expect("packed");
    assert!(tar == gunzip(&blob));
    assert_eq!(packed.diff_id, gzip.diff_id);
    assert_eq!(packed.digest, packed.diff_id);
    assert_eq!(packed.size, tar.len() as u64);
    let mut planner = SizeSpans { span_size: SPAN };
    let index_options = IndexOptions {
        build_tool_identifier: "test".into(),
        span_size: SPAN,
        planner: &mut planner,
        diff_id: false,
        allow_unreadable: false,
        limits: Limits::default(),
    };
    let indexed = index(&*tar, Compression::Uncompressed, index_options).expect("indexed");
    assert!(packed.ztoc == indexed.ztoc);
    let mut reader = LayerReader::open(&packed.ztoc, &tar).expect("a reader");
    for (entry, (_, content)) in packed.ztoc.entries.iter().zip(&items) {
        let mut read = Vec::new();
        reader.copy_entry(entry, &mut read).expect("read");
        assert!(read == *content, "{}", entry.name);
    }
}

#[test]
fn zstd_holds_the_same_tar_whatever_the_threads() {
    // More than two jobs.
    let mut items = items();
    items.push(file("d/large", text(3, 20 << 20)));
    let (_, gzip) = pack_items(&items, SPAN).expect("packed");
    let one = zstd(&items, 3, 1).expect("packed");
    assert!(zstd(&items, 3, 7).expect("packed") == one);
    assert!(zstd::decode_all(&*one).expect("zstd") == gunzip(&gzip));
    assert!(zstd(&items, 1, 1).expect("packed") != one);
    for level in [0, 20] {
        assert!(matches!(zstd(&items, level, 1), Err(PackError::Zstd(_))));
    }
}

#[test]
fn failures_are_reported() {
    let items = items();
    let few = Limits {
        entries: 2,
        ..Limits::default()
    };
    assert!(matches!(plain(&items, few), Err(PackError::Entry(_))));
    for room in [0, 1, 100_000, 400_000] {
        let mut planner = SizeSpans { span_size: SPAN };
        let full = |result: Result<(), PackError>| match result {
            Err(PackError::Write { offset, source }) => {
                assert_eq!(source.kind(), io::ErrorKind::StorageFull);
                assert!(offset <= room as u64);
            }
            other => panic!("{other:?}"),
        };
        let packed = pack_plain(entries(&items), Disk(room), options(&mut planner, SPAN));
        full(packed.map(drop));
        if room < 300_000 {
            let packed = pack_zstd(entries(&items), Disk(room), options(&mut planner, SPAN));
            full(packed.map(drop));
        }
    }
    let mut shrunk = items;
    shrunk[1].1.pop();
    assert!(matches!(
        plain(&shrunk, Limits::default()),
        Err(PackError::Tar(_))
    ));
    assert!(matches!(zstd(&shrunk, 3, 1), Err(PackError::Tar(_))));
}
