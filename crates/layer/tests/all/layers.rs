//! Entries to layer and back.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sociable_layer::pack::{PackEntry, Progress, SourceError};
use sociable_layer::{Limits, PackOptions, pack};
use sociable_policy::{Ask, Candidate, Decision, PolicyError, SizeSpans, SpanPlanner};
use sociable_tar::{Header, Kind, Reader, Time};
use sociable_ztoc::{LayerReader, Sha256, Spans};

use crate::{
    Item, Slow, assert_indexed, entries, file, gunzip, index_blob, noise, options, pack_items, text,
};

/// Packs, and checks all that must hold of a layer and its index.
fn check(items: &[Item], span_size: u64, level: u8) {
    let mut blob = Vec::new();
    let mut planner = SizeSpans { span_size };
    let options = PackOptions {
        level,
        ..options(&mut planner, span_size)
    };
    let packed = pack(entries(items), &mut blob, options).expect("packed");
    assert_indexed(&packed, &index_blob(&blob, &mut planner, span_size));
    let tar = gunzip(&blob);
    assert_eq!(packed.uncompressed_size, tar.len() as u64);
    assert_eq!(packed.ztoc.uncompressed_size, tar.len() as u64);
    assert_eq!(packed.size, blob.len() as u64);
    assert_eq!(packed.digest, Sha256::of(&blob));
    assert_eq!(packed.diff_id, Sha256::of(&tar));

    let mut reader = Reader::new(sociable_tar::Limits::default());
    let mut read = Vec::new();
    reader
        .feed(&tar, &mut |entry| read.push(entry))
        .expect("a tar");
    assert_eq!(reader.finish().expect("a whole tar"), tar.len() as u64);
    assert_eq!(read.len(), items.len());
    assert_eq!(packed.ztoc.entries.len(), items.len());
    let mut layer = LayerReader::open(&packed.ztoc, &blob).expect("a readable zTOC");
    for ((read, (header, content)), entry) in read.iter().zip(items).zip(&packed.ztoc.entries) {
        assert_eq!(read.name, header.name);
        assert_eq!(read.stored_size, content.len() as u64);
        let start = usize::try_from(read.data_offset).expect("small");
        assert!(tar[start..start + content.len()] == content[..]);
        let mut out = Vec::new();
        layer.copy_entry(entry, &mut out).expect("a readable entry");
        assert!(&out == content, "{} through its zTOC", header.name);
    }
}

#[test]
fn nothing_is_a_layer_too() {
    for span_size in [0, 1, 512, 1023, 1024, 4 << 20] {
        check(&[], span_size, 6);
    }
}

#[test]
fn sizes_around_blocks_pieces_and_spans() {
    const PIECE: usize = 256 * 1024;
    for span_size in [4096, PIECE as u64 - 1, PIECE as u64, 1 << 20] {
        let sizes = [
            0,
            1,
            511,
            512,
            513,
            4095,
            4096,
            4097,
            PIECE - 1,
            PIECE,
            PIECE + 1,
            // With its header, a whole number of pieces of the largest size.
            2 * PIECE - 512,
            3 * PIECE,
        ];
        let items: Vec<Item> = sizes
            .iter()
            .map(|&size| file(&format!("f{size}"), text(size as u64, size)))
            .collect();
        check(&items, span_size, 6);
    }
}

#[test]
fn every_byte_can_be_a_span() {
    let items = [
        file("a", text(1, 3000)),
        file("b", ""),
        file("c", noise(2, 700)),
    ];
    for span_size in 0..5 {
        check(&items, span_size, 6);
    }
}

#[test]
fn every_level() {
    let items = [
        file("text", text(1, 700_000)),
        file("noise", noise(2, 700_000)),
        file("zeros", vec![0; 700_000]),
        file("more text", text(3, 300_000)),
    ];
    for level in 0..=9 {
        check(&items, 300_000, level);
    }
}

#[test]
fn noise_is_stored() {
    let (packed, _) = pack_items(&[file("noise", noise(1, 1 << 20))], 4 << 20).expect("packed");
    assert!(packed.size < (1 << 20) + 1000, "{}", packed.size);
    // Noise that repeats within reach is none.
    let again = noise(1, 20_000).repeat(50);
    let (packed, _) = pack_items(&[file("again", again)], 4 << 20).expect("packed");
    assert!(packed.size < 100_000, "{}", packed.size);
}

/// Spans begin at multiples of a number, whatever is in between.
struct Grid(u64);

impl Grid {
    fn ask(&self, at: u64) -> Ask {
        Ask {
            after: self.0 - at % self.0,
            at_entries: false,
        }
    }
}

impl SpanPlanner for Grid {
    fn start(&mut self) -> Result<Ask, PolicyError> {
        Ok(self.ask(0))
    }

    fn decide(&mut self, at: &Candidate) -> Result<Decision, PolicyError> {
        Ok(Decision {
            cut: at.uncompressed.is_multiple_of(self.0),
            ask: self.ask(at.uncompressed),
        })
    }
}

#[test]
fn another_planner() {
    let items = [file("a", text(1, 1_000_000)), file("b", text(2, 5000))];
    for step in [1000, 4096, 300_000, u64::MAX] {
        let mut blob = Vec::new();
        let packed = pack(entries(&items), &mut blob, options(&mut Grid(step), 7)).expect("packed");
        assert_indexed(&packed, &index_blob(&blob, &mut Grid(step), 7));
        let Spans::Gzip(spans) = &packed.ztoc.spans else {
            panic!("a gzip layer");
        };
        for checkpoint in &spans.checkpoints {
            assert!(checkpoint.uncompressed.is_multiple_of(step));
        }
    }
}

#[test]
fn threads_and_portions_make_no_difference() {
    struct Portions<'a>(&'a Item, usize);
    impl PackEntry for Portions<'_> {
        fn header(&self) -> &Header {
            &self.0.0
        }
        fn open(&self) -> Result<impl std::io::Read, SourceError> {
            Ok(Slow {
                bytes: &self.0.1,
                step: self.1,
            })
        }
    }
    let items = [
        file("a", text(1, 3_000_000)),
        file("b", noise(2, 1_000_000)),
        file("c", text(3, 10)),
        file("d", text(4, 2_500_000)),
    ];
    for (span_size, level) in [(10_000, 1), (10_000, 6), (1 << 20, 3), (1 << 20, 6)] {
        let mut expected = Vec::new();
        let mut planner = SizeSpans { span_size };
        let once = PackOptions {
            level,
            ..options(&mut planner, span_size)
        };
        let packed = pack(entries(&items), &mut expected, once).expect("packed");
        for (jobs, step) in [
            (0, 1 << 20),
            (1, 1000),
            (2, 1 << 20),
            (7, 65_537),
            (64, 4096),
        ] {
            let mut blob = Vec::new();
            let mut planner = SizeSpans { span_size };
            let options = PackOptions {
                jobs,
                level,
                ..options(&mut planner, span_size)
            };
            let again = pack(
                items.iter().map(|item| Ok(Portions(item, step))),
                &mut blob,
                options,
            )
            .expect("packed");
            assert!(blob == expected, "{jobs} jobs, {step} bytes at a time");
            assert!(again.ztoc == packed.ztoc);
            assert_eq!(again.diff_id, packed.diff_id);
        }
    }
}

#[test]
fn progress_rises_to_the_end() {
    let items = [file("a", text(1, 300_000)), file("b", "")];
    let mut seen: Vec<Progress> = Vec::new();
    let mut planner = SizeSpans::default();
    let mut note = |progress| seen.push(progress);
    let options = PackOptions {
        progress: Some(&mut note),
        ..options(&mut planner, 1)
    };
    let packed = pack(entries(&items), std::io::sink(), options).expect("packed");
    assert!(seen.is_sorted_by_key(|progress| (progress.bytes, progress.entries)));
    let last = seen.last().expect("some");
    assert_eq!(last.entries, 2);
    assert_eq!(last.bytes, packed.uncompressed_size - 1024);
}

fn kinds() -> impl Strategy<Value = Item> {
    let content = prop_oneof![
        Just(Vec::new()),
        (any::<u64>(), 0usize..40_000).prop_map(|(seed, size)| text(seed, size)),
        (any::<u64>(), 0usize..100_000).prop_map(|(seed, size)| noise(seed, size)),
        (any::<u8>(), 0usize..300_000).prop_map(|(byte, size)| vec![byte; size]),
    ];
    let kind = prop_oneof![
        4 => content.prop_map(|content| (Kind::File { size: content.len() as u64 }, content)),
        1 => Just((Kind::Directory, Vec::new())),
        1 => Just((Kind::Symlink { target: "../target".into() }, Vec::new())),
        1 => Just((Kind::HardLink { target: "target".into() }, Vec::new())),
        1 => Just((Kind::Fifo, Vec::new())),
        1 => (any::<u16>(), any::<u8>()).prop_map(|(major, minor)| {
            (Kind::CharDevice { major: major.into(), minor: minor.into() }, Vec::new())
        }),
    ];
    let xattrs = prop::collection::btree_map("user\\.[a-z]{1,8}", "[ -~]{0,20}", 0..3);
    (
        kind,
        "[a-zé]{1,120}(/[a-z ]{1,90}){0,3}",
        0u32..0o7777,
        any::<u32>(),
        xattrs,
    )
        .prop_map(|((kind, content), mut name, mode, uid, xattrs)| {
            if kind == Kind::Directory {
                name.push('/');
            }
            let xattrs: BTreeMap<_, _> = xattrs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect();
            let header = Header {
                mode,
                uid,
                mtime: Time::from_secs(i64::from(uid)),
                xattrs,
                ..Header::new(name, kind)
            };
            (header, content)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_entries_come_back(
        items in prop::collection::vec(kinds(), 0..12),
        span_size in prop_oneof![Just(100u64), Just(4096), 10u64..1_000_000],
        level in 0u8..=9,
    ) {
        check(&items, span_size, level);
    }
}

#[test]
fn limits_are_the_callers() {
    let mut planner = SizeSpans { span_size: 0 };
    let limits = Limits {
        spans: 4096,
        ..Limits::default()
    };
    let options = PackOptions {
        limits,
        ..options(&mut planner, 0)
    };
    let packed = pack(entries(&[file("a", "12")]), std::io::sink(), options).expect("packed");
    assert_eq!(packed.ztoc.spans.len(), 512 + 512 + 1024);
}
