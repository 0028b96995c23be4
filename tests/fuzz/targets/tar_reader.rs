//! Any bytes as a tar: no panic. Through the index of a plain layer, where no checksum of gzip keeps inputs out.
#![no_main]

use sociable_layer::{Compression, IndexOptions, Limits, index};
use sociable_policy::SizeSpans;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let options = IndexOptions {
        build_tool_identifier: "fuzz".into(),
        span_size: 4096,
        planner: &mut SizeSpans { span_size: 4096 },
        diff_id: false,
        allow_unreadable: true,
        limits: Limits {
            entries: 10_000,
            ..Limits::default()
        },
    };
    if let Ok(found) = index(bytes, Compression::Uncompressed, options) {
        found.ztoc.encode().expect("what is indexed can be encoded");
    }
});
