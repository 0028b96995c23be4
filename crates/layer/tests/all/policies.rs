//! Whatever a policy answers, a layer and its index can be read.

use proptest::prelude::*;
use sociable_layer::pack::arranged;
use sociable_layer::{PackOptions, Packed, pack, pack_tar};
use sociable_policy::compression::{CompressionPolicy as _, Levels, Sample, StoreIncompressible};
use sociable_policy::order::{OrderPolicy, ProfileOrder, settled};
use sociable_policy::span::{AdaptiveSpans, FileAlignedSpans, ProfileSpans};
use sociable_policy::{
    Ask, Candidate, Decision, Entry, Layer, PolicyError, SpanPlanner, SpanPolicy, Trace, TracedFile,
};
use sociable_tar::{Header, Kind};
use sociable_ztoc::{LayerReader, Spans, Ztoc};

use crate::{Item, entries, file, gunzip, index_blob, noise, options, text};

/// Answers at random, the same for the same questions.
struct Random {
    state: u64,
    looks_ahead: Option<u64>,
    told_until: u64,
    asked_at: u64,
}

impl Random {
    fn new(seed: u64, looks_ahead: Option<u64>) -> Self {
        Self {
            state: seed | 1,
            looks_ahead,
            told_until: 0,
            asked_at: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn ask(&mut self) -> Ask {
        let after = match self.next() % 8 {
            0 => 0,
            1 => u64::MAX,
            2 => 1,
            _ => self.next() % 300_000,
        };
        Ask {
            after,
            at_entries: self.next().is_multiple_of(2),
        }
    }
}

impl SpanPlanner for Random {
    fn start(&mut self) -> Result<Ask, PolicyError> {
        Ok(self.ask())
    }

    fn decide(&mut self, at: &Candidate) -> Result<Decision, PolicyError> {
        assert!(at.uncompressed > self.asked_at, "asked twice");
        assert!(at.uncompressed <= at.next && at.next <= at.known, "{at:?}");
        assert!((1..=at.uncompressed).contains(&at.since_cut));
        self.asked_at = at.uncompressed;
        Ok(Decision {
            cut: self.next().is_multiple_of(3),
            ask: self.ask(),
        })
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), PolicyError> {
        assert!(entry.header >= self.told_until && entry.header.is_multiple_of(512));
        assert!(entry.data > entry.header);
        self.told_until = entry.end();
        Ok(())
    }

    fn wants_entries(&self) -> bool {
        true
    }

    fn look_ahead(&self) -> Option<u64> {
        self.looks_ahead
    }
}

/// Reads all files through the zTOC.
fn assert_readable(ztoc: &Ztoc, blob: &[u8], items: &[Item]) {
    let Spans::Gzip(spans) = &ztoc.spans else {
        panic!("a gzip layer");
    };
    for pair in spans.checkpoints.windows(2) {
        assert!(pair[0].uncompressed < pair[1].uncompressed, "an empty span");
    }
    let encoded = ztoc.encode_compact().expect("a zTOC").to_vec();
    let read = Ztoc::decode(&encoded).expect("a compact zTOC");
    assert!(read == *ztoc, "a compact zTOC holds the same");
    let mut layer = LayerReader::open(ztoc, blob).expect("a readable zTOC");
    assert_eq!(ztoc.entries.len(), items.len());
    for entry in &ztoc.entries {
        let (header, content) = (items.iter())
            .find(|(header, _)| header.name == entry.name)
            .expect("an entry that was packed");
        let mut out = Vec::new();
        layer.copy_entry(entry, &mut out).expect("a readable entry");
        assert!(&out == content, "{} through its zTOC", header.name);
    }
}

fn pack_with(items: &[Item], planner: &mut dyn SpanPlanner) -> (Packed, Vec<u8>) {
    let mut blob = Vec::new();
    let packed = pack(entries(items), &mut blob, options(planner, 4 << 20)).expect("packed");
    (packed, blob)
}

fn items() -> Vec<Item> {
    let mut items = vec![(Header::new("d/", Kind::Directory), Vec::new())];
    for n in 0..60 {
        items.push(file(
            &format!("d/small{n}"),
            text(n, 700 * usize::try_from(n).expect("small")),
        ));
    }
    items.push(file("d/large", text(99, 3_000_000)));
    items.push(file("d/noise", noise(7, 500_000)));
    items.push(file("last", text(3, 10)));
    items
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn random_answers_while_packing(seed: u64) {
        let items = items();
        let (packed, blob) = pack_with(&items, &mut Random::new(seed, None));
        assert_readable(&packed.ztoc, &blob, &items);
        let (again, same) = pack_with(&items, &mut Random::new(seed, None));
        prop_assert!(same == blob && again.ztoc == packed.ztoc);
        // A tar that is packed as it comes, in portions, is asked about at the same places.
        let tar = gunzip(&blob);
        let mut blob_of_tar = Vec::new();
        let mut planner = Random::new(seed, None);
        let slow = crate::Slow { bytes: &tar, step: 1 + usize::try_from(seed % 5000).expect("small") };
        let of_tar = pack_tar(slow, &mut blob_of_tar, options(&mut planner, 4 << 20)).expect("packed");
        prop_assert!(blob_of_tar == blob);
        prop_assert!(of_tar.ztoc.expect("a zTOC") == packed.ztoc);
    }

    #[test]
    fn random_answers_while_indexing(seed: u64, looks: bool, ahead in 0u64..3_000_000) {
        let items = items();
        // Another compressor's blocks, of some 30 KB.
        let (_, blob) = pack_with(&items, &mut Random::new(1, None));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        std::io::Write::write_all(&mut encoder, &gunzip(&blob)).expect("memory");
        let blob = encoder.finish().expect("memory");
        let index = || index_blob(&blob, &mut Random::new(seed, looks.then_some(ahead)), 4 << 20);
        let indexed = index();
        assert_readable(&indexed.ztoc, &blob, &items);
        prop_assert!(index().ztoc == indexed.ztoc);
    }
}

fn trace() -> Trace {
    Trace {
        workloads: Vec::new(),
        files: vec![
            TracedFile::new("/last".to_owned(), 10, vec![(0, 10)]),
            TracedFile::new("/d/large".to_owned(), 3_000_000, vec![(1_000_000, 300_000)]),
            TracedFile::new("/d/small7".to_owned(), 4900, vec![(0, 4900)]),
        ],
    }
}

#[test]
fn the_policies_that_are_built_in() {
    let items = items();
    let profile = ProfileSpans::new(&trace());
    let policies: [&dyn SpanPolicy; 3] = [
        &FileAlignedSpans { span_size: 300_000 },
        &AdaptiveSpans {
            small: 100_000,
            large: 400_000,
        },
        &profile,
    ];
    for policy in policies {
        let mut planner = policy.planner(&Layer::packed("", 1)).expect("a planner");
        let (packed, blob) = pack_with(&items, &mut *planner);
        assert!(packed.ztoc.spans.len() > 3, "{}", policy.identity());
        assert_readable(&packed.ztoc, &blob, &items);
        let layer = Layer {
            packing: false,
            ..Layer::packed("", 1)
        };
        let indexed = index_blob(&blob, &mut *policy.planner(&layer).expect("a planner"), 1);
        assert_readable(&indexed.ztoc, &blob, &items);
    }
}

#[test]
fn what_was_read_is_packed_first() {
    let items = items();
    let order = ProfileOrder::new(&trace());
    let arranged = arranged(entries(&items), &order, &Layer::packed("", 1)).expect("an order");
    let names: Vec<_> = arranged
        .iter()
        .take(4)
        .map(|(header, _)| header.name.to_string())
        .collect();
    assert_eq!(names, ["last", "d/", "d/large", "d/small7"]);
    let arranged: Vec<Item> = arranged
        .into_iter()
        .map(|(header, bytes)| (header, bytes.to_vec()))
        .collect();
    let policy = ProfileSpans::new(&trace());
    let mut planner = policy.planner(&Layer::packed("", 1)).expect("a planner");
    let (packed, blob) = pack_with(&arranged, &mut *planner);
    assert_readable(&packed.ztoc, &blob, &items);
}

#[test]
fn a_wrong_order_is_refused() {
    #[derive(Debug)]
    struct Backwards;
    impl OrderPolicy for Backwards {
        fn arrange(&self, _: &Layer, entries: &[Entry<'_>]) -> Result<Vec<u32>, PolicyError> {
            Ok(settled(entries, 0..entries.len())
                .into_iter()
                .rev()
                .collect())
        }
        fn name(&self) -> &'static str {
            "backwards"
        }
        fn identity(&self) -> String {
            "backwards".to_owned()
        }
    }
    let items = items();
    let Err(error) = arranged(entries(&items), &Backwards, &Layer::packed("", 1)) else {
        panic!("directories come before what is in them");
    };
    let text = error.to_string();
    assert!(
        text.contains("backwards") && text.contains("which it needs"),
        "{text}"
    );
}

#[test]
fn files_have_levels_of_their_own() {
    struct Named;
    impl Levels for Named {
        fn name(&self) -> &'static str {
            "named"
        }
        fn file(&mut self, entry: &Entry<'_>, sample: Sample) -> Result<Option<u8>, PolicyError> {
            assert!(sample.bytes > 0 && sample.bytes <= 16 * 1024);
            Ok(match entry.path.as_ref() {
                "d/large" => Some(0),
                "d/noise" => Some(1),
                _ => None,
            })
        }
    }
    fn packed(items: &[Item], levels: Option<&mut dyn Levels>, jobs: usize) -> Vec<u8> {
        let mut planner = sociable_policy::SizeSpans { span_size: 100_000 };
        let mut blob = Vec::new();
        let options = PackOptions {
            // The object's own lifetime may be longer.
            levels: levels.map(|levels| levels as &mut dyn Levels),
            jobs,
            ..options(&mut planner, 100_000)
        };
        let packed = pack(entries(items), &mut blob, options).expect("packed");
        assert_readable(&packed.ztoc, &blob, items);
        blob
    }
    let items = items();
    let plain = packed(&items, None, 2);
    let named = packed(&items, Some(&mut Named), 2);
    // What shrank by half is stored.
    assert!(
        named.len() > plain.len() + 500_000,
        "{} {}",
        named.len(),
        plain.len()
    );
    assert!(packed(&items, Some(&mut Named), 5) == named);
    let layer = Layer::packed("", 1);
    let mut levels = StoreIncompressible::default()
        .levels(&layer)
        .expect("levels");
    let stored = packed(&items, Some(&mut *levels), 2);
    assert!(stored.len() < plain.len() + 2000);
}
