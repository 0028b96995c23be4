//! Any bytes as a gzip layer: no panic, and its zTOC survives being written and read.
#![no_main]

use sociable_layer::{Compression, IndexOptions, Limits, index};
use sociable_policy::SizeSpans;
use sociable_ztoc::Ztoc;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let options = IndexOptions {
        build_tool_identifier: "fuzz".into(),
        span_size: 4096,
        planner: &mut SizeSpans { span_size: 4096 },
        diff_id: false,
        allow_unreadable: false,
        limits: Limits {
            entries: 10_000,
            free_bytes: 1 << 20,
            ..Limits::default()
        },
    };
    if let Ok(found) = index(bytes, Compression::Gzip, options) {
        assert_eq!(found.size, bytes.len() as u64);
        let encoded = found.ztoc.encode().expect("what is indexed can be encoded");
        assert_eq!(
            Ztoc::decode(&encoded.to_vec()).expect("what we encode decodes"),
            found.ztoc
        );
    }
});
