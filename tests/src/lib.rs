//! The test kit: what the suite in `tests/suite` and the measurements share.
//!
//! - [`sociable`] finds and runs the finished binary; [`run()`] runs any command with a deadline, [`measured`] with its peak memory.
//! - [`mod@reference`] asks the SOCI Go library (module `tests/reference`) what it makes of the same bytes.
//! - [`tree`], [`archive`], [`compress`] make inputs: random directories, every tar dialect, every compressor that this machine has.
//! - [`mod@stack`] starts real registries, engines and snapshotters.
//! - [`layout`] reads and writes OCI layouts without any of Sociable's own code; [`image`] and [`tar`] read what is in them, and compare.
//! - [`frontend`] builds images, by BuildKit's own Dockerfile frontend and by Sociable's.
//! - [`daemons`] are a test's own in such a stack.
//! - [`pipeline`] is a machine of a CI system in such a stack, and [`ecr`] what it takes for Amazon ECR.
//! - [`lazily`] tells what a lazy start has fetched.
//! - [`registry`] starts real registries, and [`proxy`] stands before them and misbehaves; both over [`http`].
//!
//! Nothing here uses Sociable's crates: a test that shared its code with what it tests would agree with its mistakes.
//! Everything random comes from a seed ([`rng::Rng`]), and every failure names it.

// Helpers of tests panic when a test's own footing is missing; saying so on each would be noise.
#![allow(
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "test helpers"
)]

pub mod archive;
pub mod compress;
pub mod console;
pub mod daemons;
pub mod ecr;
pub mod frontend;
pub mod http;
pub mod image;
pub mod layout;
pub mod lazily;
pub mod pipeline;
pub mod plugins;
pub mod proxy;
pub mod reference;
pub mod registry;
pub mod rng;
pub mod run;
pub mod stack;
pub mod tar;
pub mod tree;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use run::{Measured, Run, measured, run, run_for, sociable};

/// The identifier the vectors were made with: it is inside the bytes of every zTOC.
pub const REFERENCE_TOOL: &str = "AWS SOCI CLI v0.2";

/// The directory of this package.
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the vectors are.
pub fn vectors() -> PathBuf {
    here().join("vectors")
}

/// The target for which static programs are built.
pub(crate) const STATIC: &str = "x86_64-unknown-linux-musl";

/// Cargo's target directory, found from the running test's own place in it.
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("the path of this program");
    // TARGET[/TRIPLE]/PROFILE/deps/suite-…, or TARGET[/TRIPLE]/PROFILE/program
    let mut above = exe
        .ancestors()
        .skip_while(|path| !path.join("deps").is_dir())
        .skip(1);
    let above_profile = above.next().expect("a cargo target directory");
    let is_triple = above_profile
        .file_name()
        .is_some_and(|name| name.to_string_lossy().contains("-linux-"));
    let target = if is_triple { above.next() } else { None };
    target.unwrap_or(above_profile).to_owned()
}

/// How much to do: `SOCIABLE_TEST_SCALE`, 1 by default. Tests multiply their counts by it.
pub fn scale() -> f64 {
    static SCALE: OnceLock<f64> = OnceLock::new();
    *SCALE.get_or_init(|| match std::env::var("SOCIABLE_TEST_SCALE") {
        Ok(s) => s.parse().expect("SOCIABLE_TEST_SCALE is a number"),
        Err(_) => 1.0,
    })
}

/// `n` times [`scale`], at least one.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small counts"
)]
pub fn scaled(n: usize) -> usize {
    ((n as f64 * scale()).round() as usize).max(1)
}

/// Says that something is left out, past the capture of the test runner, and notes it for the summary of `cargo xtask test`.
pub fn skip(what: &str) {
    say(&format!("SKIPPED: {what}"));
    if let Some(log) = std::env::var_os("SOCIABLE_SKIP_LOG") {
        let file = OpenOptions::new().append(true).create(true).open(log);
        file.and_then(|mut f| writeln!(f, "{what}"))
            .expect("write the list of skipped tests");
    }
}

/// Prints a line to stderr past the capture of the test runner.
pub fn say(line: &str) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// The seed of a test: `SOCIABLE_TEST_SEED`, or the one given. It is printed, so that a failure can be run again.
pub fn seed(test: &str, default: u64) -> u64 {
    let seed = std::env::var("SOCIABLE_TEST_SEED").map_or(default, |s| {
        s.parse().expect("SOCIABLE_TEST_SEED is a number")
    });
    say(&format!("{test}: SOCIABLE_TEST_SEED={seed}"));
    seed
}

/// A new temporary directory.
pub fn temp_dir() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("sociable-test-")
        .tempdir()
        .expect("a temporary directory")
}

/// `sha256:…` of some bytes.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
