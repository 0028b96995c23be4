//! Tars that exist: packed byte for byte, with the index that the layer has.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use sociable_layer::{
    Compression, IndexError, IndexOptions, Limits, PackError, PackOptions, PackedTar, index,
    pack_tar,
};
use sociable_policy::SizeSpans;
use sociable_ztoc::{LayerReader, Sha256};

use crate::generate::{self, Random};
use crate::{Slow, entries, file, gunzip, noise, options, text};

/// Packs a tar, and checks all that must hold of layer and index, or that there is none for the same reason.
fn check(tar: &[u8], span_size: u64, allow_unreadable: bool) -> PackedTar {
    let pack = |jobs: usize, step: usize| {
        let mut blob = Vec::new();
        let mut planner = SizeSpans { span_size };
        let options = PackOptions {
            jobs,
            allow_unreadable,
            ..options(&mut planner, span_size)
        };
        let packed = pack_tar(Slow { bytes: tar, step }, &mut blob, options).expect("packed");
        (packed, blob)
    };
    let (packed, blob) = pack(3, usize::MAX);
    assert!(gunzip(&blob) == tar, "byte for byte");
    assert_eq!(packed.tar_size, tar.len() as u64);
    assert_eq!(packed.diff_id, Sha256::of(tar));
    assert_eq!(packed.digest, Sha256::of(&blob));
    assert_eq!(packed.size, blob.len() as u64);
    let (again, again_blob) = pack(1, 1 + tar.len() / 7);
    assert!(again_blob == blob, "whatever the number of threads");

    let indexed = index(
        &blob[..],
        Compression::Gzip,
        IndexOptions {
            build_tool_identifier: "test".into(),
            span_size,
            planner: &mut SizeSpans { span_size },
            diff_id: true,
            allow_unreadable,
            limits: Limits::default(),
        },
    );
    match (&packed.ztoc, &again.ztoc, indexed) {
        (Ok(packed), Ok(again), Ok(indexed)) => {
            assert!(*packed == indexed.ztoc, "the zTOC is another");
            assert!(*again == indexed.ztoc, "the zTOC depends on threads");
            let bytes = |ztoc: &sociable_ztoc::Ztoc| ztoc.encode().expect("a zTOC").to_vec();
            assert!(bytes(packed) == bytes(&indexed.ztoc));
        }
        (Err(packed), Err(again), Err(indexed)) => {
            assert_eq!(packed.to_string(), indexed.to_string());
            assert_eq!(again.to_string(), indexed.to_string());
        }
        (packed, _, indexed) => panic!("packing: {packed:?}; indexing: {indexed:?}"),
    }
    packed
}

#[test]
fn every_vector() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/layers");
    let mut seen = [0, 0];
    for file in fs::read_dir(&folder).expect("the vectors") {
        let path = file.expect("the vectors").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if name.ends_with(".tar.tar") || name.ends_with(".z6.tar.gz") {
            let mut tar = fs::read(&path).expect("a layer");
            if name.ends_with(".gz") {
                tar = gunzip(&tar);
            }
            for span_size in [4096, 1 << 22] {
                let packed = check(&tar, span_size, false);
                seen[usize::from(packed.ztoc.is_err())] += 1;
                check(&tar, span_size, true);
            }
        }
    }
    // Global PAX headers, old sparse files and the like are among them.
    assert!(seen[0] > 50 && seen[1] >= 4, "{seen:?}");
}

#[test]
fn what_pack_wrote_comes_out_again() {
    let items = [
        file("text", text(1, 700_000)),
        file("noise", noise(2, 600_000)),
        file("nothing", ""),
    ];
    for span_size in [100_000, 1 << 20] {
        let mut blob = Vec::new();
        let mut planner = SizeSpans { span_size };
        let packed =
            sociable_layer::pack(entries(&items), &mut blob, options(&mut planner, span_size))
                .expect("packed");
        let again = check(&gunzip(&blob), span_size, false);
        assert_eq!(again.digest, packed.digest);
        let ztoc = again.ztoc.expect("a zTOC");
        assert!(ztoc == packed.ztoc);
        let mut layer = LayerReader::open(&ztoc, &blob).expect("a readable zTOC");
        for ((_, content), entry) in items.iter().zip(&ztoc.entries) {
            let mut out = Vec::new();
            layer.copy_entry(entry, &mut out).expect("a readable entry");
            assert!(out == *content);
        }
    }
}

#[test]
fn random_archives_of_all_dialects() {
    let mut seen = [0, 0];
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let mut tar = generate::archive(&mut random);
        match random.below(5) {
            // As tar pads its last record, and as people append things.
            0 => tar.resize(tar.len().next_multiple_of(10240), 0),
            1 => tar.extend(noise(seed, random.below(300_000))),
            2 => tar.extend(text(seed, random.below(300_000))),
            3 => generate::mutate(&mut random, &mut tar),
            _ => {}
        }
        let span_size = random.pick(&[512, 1000, 4096, 1 << 22]);
        let packed = check(&tar, span_size, random.once_in(2));
        seen[usize::from(packed.ztoc.is_err())] += 1;
    }
    assert!(seen[0] > 40 && seen[1] > 40, "{seen:?}");
}

#[test]
fn sizes_around_spans() {
    for size in [0, 1, 511, 512, 1024, 4095, 4096, 4097, 262_144, 524_288] {
        for span_size in [512, 4096, 262_144] {
            // Zeros are an empty archive with padding.
            check(&vec![0; size], span_size, false);
            check(&text(size as u64, size), span_size, true);
        }
    }
}

#[test]
fn limits_are_as_for_indexing() {
    let items: Vec<_> = (0..20).map(|i| file(&i.to_string(), "x")).collect();
    let mut blob = Vec::new();
    let mut planner = SizeSpans { span_size: 1000 };
    sociable_layer::pack(entries(&items), &mut blob, options(&mut planner, 1000)).expect("packed");
    let tar = gunzip(&blob);
    let limited = |limits| {
        let mut planner = SizeSpans { span_size: 1000 };
        let options = PackOptions {
            limits,
            ..options(&mut planner, 1000)
        };
        pack_tar(&tar[..], io::sink(), options)
    };
    let whole = Limits::default();
    let packed = limited(Limits {
        entries: 19,
        ..whole
    })
    .expect("packed all the same");
    assert_eq!(packed.diff_id, Sha256::of(&tar));
    assert!(matches!(
        packed.ztoc,
        Err(IndexError::Limit { limit: 19, .. })
    ));
    let error = limited(Limits { spans: 3, ..whole }).expect_err("too many spans");
    assert!(error.to_string().contains("larger span size"), "{error}");
    assert!(limited(whole).expect("packed").ztoc.is_ok());
}

/// A disk that fails after so many bytes.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let count = buffer.len().min(self.0);
        self.0 -= count;
        buffer[..count].fill(7);
        Ok(count)
    }
}

#[test]
fn a_tar_that_cannot_be_read_is_no_layer() {
    let mut planner = SizeSpans { span_size: 4096 };
    let mut blob = Vec::new();
    let error = pack_tar(
        Failing(1_000_000),
        &mut blob,
        options(&mut planner, 1 << 22),
    )
    .expect_err("a failing disk");
    let read = matches!(
        error,
        PackError::Read {
            offset: 1_000_000,
            ..
        }
    );
    assert!(read, "{error}");
    let mut rest = Vec::new();
    assert!(
        flate2::read::GzDecoder::new(&blob[..])
            .read_to_end(&mut rest)
            .is_err()
    );
}
