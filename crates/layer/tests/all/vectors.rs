//! The reference's own zTOCs: see `tests/vectors/README.md`.

use std::fs;
use std::path::PathBuf;

use sociable_layer::{Compression, IndexError, IndexOptions, Indexed, Limits, index};
use sociable_policy::{Ask, Candidate, Decision, PolicyError, SizeSpans, SpanPlanner};

use crate::Slow;

/// The reference's rule, asked at every block.
struct EveryBlock(SizeSpans);

impl SpanPlanner for EveryBlock {
    fn start(&mut self) -> Result<Ask, PolicyError> {
        let after = 1;
        let at_entries = false;
        Ok(Ask { after, at_entries })
    }

    fn decide(&mut self, at: &Candidate) -> Result<Decision, PolicyError> {
        Ok(Decision {
            ask: self.start()?,
            ..self.0.decide(at)?
        })
    }
}

fn index_vector(
    layer: &[u8],
    compression: Compression,
    planner: &mut dyn SpanPlanner,
    span_size: u64,
    step: usize,
) -> Result<Indexed, IndexError> {
    let options = IndexOptions {
        build_tool_identifier: "AWS SOCI CLI v0.2".into(),
        span_size,
        planner,
        diff_id: step > 100,
        allow_unreadable: true,
        limits: Limits::default(),
    };
    index(Slow { bytes: layer, step }, compression, options)
}

#[test]
fn every_layer_gives_the_references_ztoc() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/layers");
    let manifest = fs::read(folder.join("manifest.json")).expect("the vectors");
    let vectors: serde_json::Value = serde_json::from_slice(&manifest).expect("the manifest");
    let vectors = vectors.as_array().expect("a list");
    assert_eq!(vectors.len(), 160);
    for vector in vectors {
        let text = |key: &str| vector[key].as_str();
        let name = text("name").expect("a name");
        let layer = fs::read(folder.join(text("layer").expect("a layer"))).expect("a layer");
        let compression = match text("compressor") {
            Some("tar") => Compression::Uncompressed,
            _ => Compression::Gzip,
        };
        let span_size = vector["span_size"].as_u64().expect("a span size");
        let mut rule = SizeSpans { span_size };
        let mut every_block = EveryBlock(rule);
        let portions: [(&mut dyn SpanPlanner, usize); 3] = [
            (&mut every_block, usize::MAX),
            (&mut rule, usize::MAX),
            (&mut SizeSpans { span_size }, 61),
        ];
        for (planner, step) in portions {
            let indexed = index_vector(&layer, compression, planner, span_size, step);
            match (text("ztoc_digest"), indexed) {
                (Some(digest), Ok(indexed)) => {
                    let encoded = indexed.ztoc.encode().expect("a zTOC");
                    assert_eq!(encoded.digest().to_string(), digest, "{name}");
                }
                (None, Err(_)) => {}
                (expected, got) => panic!("{name}: {expected:?}, {got:?}"),
            }
        }
    }
}

#[test]
fn asking_late_finds_the_same_spans() {
    let items = [
        crate::file("a", crate::text(1, 5000)),
        crate::file("b", vec![0; 3000]),
        crate::file("c", crate::noise(3, 2000)),
    ];
    for packed_with in [0, 2, 6, 50] {
        let (_, blob) = crate::pack_items(&items, packed_with).expect("packed");
        for span_size in (0..8).chain([100, 512, 513, 10_000]) {
            let rule = SizeSpans { span_size };
            for step in [1, usize::MAX] {
                let build = |planner: &mut dyn SpanPlanner| {
                    index_vector(&blob, Compression::Gzip, planner, span_size, step)
                        .expect("a layer")
                        .ztoc
                };
                let late = build(&mut { rule });
                assert!(late == build(&mut EveryBlock(rule)), "{span_size}");
            }
        }
    }
}
