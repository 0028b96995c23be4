//! What is packed can be read, found again by indexing, and is the same every time.

mod directories;
mod failures;
mod formats;
/// Random archives, as the tar reader's own tests use them.
#[path = "../../../tar/tests/all/generate.rs"]
#[allow(dead_code, reason = "some of it is for those tests alone")]
mod generate;
mod layers;
mod policies;
mod tars;
mod vectors;

use std::io::{self, Read};

use sociable_layer::pack::SourceError;
use sociable_layer::{
    Compression, IndexOptions, Indexed, Limits, PackError, PackOptions, Packed, index, pack,
};
use sociable_policy::{SizeSpans, SpanPlanner};
use sociable_tar::{Header, Kind};

/// An entry with its content.
type Item = (Header, Vec<u8>);

fn file(name: &str, content: impl Into<Vec<u8>>) -> Item {
    let content = content.into();
    let size = content.len() as u64;
    (Header::new(name, Kind::File { size }), content)
}

/// Bytes that compress to about half, the same for the same seed.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state.is_multiple_of(3) && bytes.len() > 100 {
            let from = bytes.len() - 1 - usize::try_from(state >> 40).unwrap_or(0) % 100;
            let to = (from + 40).min(bytes.len());
            bytes.extend_from_within(from..to);
        } else {
            bytes.extend((state >> 20).to_le_bytes().map(|byte| byte & 0x3f));
        }
    }
    bytes.truncate(length);
    bytes
}

/// Bytes that do not compress.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

fn options(planner: &mut dyn SpanPlanner, span_size: u64) -> PackOptions<'_> {
    PackOptions {
        build_tool_identifier: "test".into(),
        span_size,
        planner,
        level: 6,
        levels: None,
        jobs: 2,
        limits: Limits::default(),
        allow_unreadable: false,
        progress: None,
    }
}

fn pack_items(items: &[Item], span_size: u64) -> Result<(Packed, Vec<u8>), PackError> {
    let mut blob = Vec::new();
    let mut planner = SizeSpans { span_size };
    let packed = pack(entries(items), &mut blob, options(&mut planner, span_size))?;
    Ok((packed, blob))
}

fn entries(items: &[Item]) -> impl Iterator<Item = Result<(Header, &[u8]), SourceError>> {
    items
        .iter()
        .map(|(header, content)| Ok((header.clone(), &content[..])))
}

fn index_blob(blob: &[u8], planner: &mut dyn SpanPlanner, span_size: u64) -> Indexed {
    let options = IndexOptions {
        build_tool_identifier: "test".into(),
        span_size,
        planner,
        diff_id: true,
        allow_unreadable: false,
        limits: Limits::default(),
    };
    index(blob, Compression::Gzip, options).expect("what was packed can be indexed")
}

fn gunzip(blob: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    let mut decoder = flate2::bufread::GzDecoder::new(blob);
    decoder.read_to_end(&mut tar).expect("a gzip member");
    assert!(decoder.into_inner().is_empty(), "one member is all");
    tar
}

/// Indexing must find what packing said.
fn assert_indexed(packed: &Packed, indexed: &Indexed) {
    assert!(packed.ztoc == indexed.ztoc, "the zTOC is another");
    let bytes = |ztoc: &sociable_ztoc::Ztoc| ztoc.encode().expect("a zTOC").to_vec();
    assert!(bytes(&packed.ztoc) == bytes(&indexed.ztoc));
    assert_eq!(packed.digest, indexed.digest);
    assert_eq!(packed.size, indexed.size);
    assert_eq!(Some(packed.diff_id), indexed.diff_id);
}

/// A reader that gives a few bytes at a time.
struct Slow<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.step);
        self.bytes.read(&mut buffer[..length])
    }
}
