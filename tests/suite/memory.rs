//! Memory does not grow with the layer.

use std::process::Command;
use std::time::Duration;

use sociable_tests::archive::{self, Header, base256};
use sociable_tests::compress::Repeated;
use sociable_tests::rng::Rng;
use sociable_tests::{say, scale, sociable};

use crate::measured_with_input;

const CHUNK: u64 = 1 << 20;

/// A layer of one file of so many MiB, through a pipe. Returns what `ztoc build` printed and its peak memory.
fn build(mib: u64, chunk: &[u8], command: &Command) -> ((String, u64), u64) {
    let header = Header {
        name: b"huge",
        kind: b'0',
        size: base256(mib * CHUNK),
        link: b"",
    };
    let layer = Repeated::new(&header.bytes(), chunk, &archive::END);
    let (run, took) = measured_with_input(command, Duration::from_mins(30), move |out| {
        layer.write(mib, out)
    });
    let run = run.ok();
    (
        run.digest_and_size().expect("a digest and a size"),
        took.max_rss,
    )
}

#[test]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a number of MiB"
)]
fn a_10_gb_layer_takes_64_mib_and_its_ztoc() {
    let mib = ((10_000.0 * scale().min(1.0)) as u64).max(512);
    let mut rng = Rng::new(10);
    let mut chunk = rng.text(CHUNK as usize / 2);
    chunk.extend(rng.noise(CHUNK as usize / 8));
    chunk.resize(CHUNK as usize, 0);
    let ((_, size), peak) = build(mib, &chunk, &sociable(["ztoc", "build", "-"]));
    say(&format!(
        "memory: {mib} MiB of layer, {} MiB of zTOC, peak {} MiB",
        size >> 20,
        peak >> 20
    ));
    assert!(peak <= (64 << 20) + size, "peak memory {peak}, zTOC {size}");
}
