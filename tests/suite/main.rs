//! The suite: the finished `sociable` against the vectors, the reference, the hostile and the sudden.
//!
//! One binary, a module a subject. `cargo xtask test` builds what it wants and runs it; by itself it takes the newest
//! `sociable` in cargo's target directory.

// Integration tests are no API.
#![allow(
    clippy::tests_outside_test_module,
    reason = "the whole binary is tests"
)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use sociable_tests::{Measured, Run};

mod build;
mod copy;
mod crash;
mod deploy;
mod differential;
mod docker;
mod faults;
mod frontend;
mod hostile;
mod image_vectors;
mod images;
mod interop;
mod kit;
mod layer_vectors;
mod memory;
mod pack;
mod policies;
mod readme;
mod trace;

/// Runs a command, measured.
fn measured(command: &Command, stdin: Stdio, deadline: Duration) -> (Run, Measured) {
    sociable_tests::measured(
        env!("CARGO_BIN_EXE_sociable-measure"),
        command,
        stdin,
        deadline,
    )
}

/// Runs a command, measured, with what `write` writes as its stdin.
fn measured_with_input(
    command: &Command,
    deadline: Duration,
    write: impl FnOnce(&mut std::io::BufWriter<std::io::PipeWriter>) -> std::io::Result<()>
    + Send
    + 'static,
) -> (Run, Measured) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let feeder = thread::spawn(move || {
        let mut writer = std::io::BufWriter::with_capacity(1 << 20, writer);
        // A reader that refuses early closes the pipe: its verdict is what counts.
        let _ = write(&mut writer).and_then(|()| writer.flush());
    });
    let out = measured(command, reader.into(), deadline);
    feeder.join().expect("the feeder");
    out
}

/// A path as an argument.
fn s(path: &Path) -> String {
    path.to_str().expect("a temporary path is UTF-8").to_owned()
}

/// Fails with all that went wrong, so that one run shows every case.
#[track_caller]
fn none(wrong: &[String], of: usize) {
    assert!(
        wrong.is_empty(),
        "{} of {of} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
