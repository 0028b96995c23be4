//! `cargo xtask fuzz`: libFuzzer on stable Rust.
//!
//! The coverage that libFuzzer steers by is one of LLVM's passes, which stable Rust can run too; only the sanitizers need
//! nightly. Panics, overflows, hangs and memory use are found without them, and the crates have next to no unsafe code.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::sh;

const TARGETS: [&str; 4] = ["ztoc_decode", "layer_index", "tar_reader", "policies"];

const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1 --cfg fuzzing";

/// Whether libFuzzer can be built here.
pub(crate) fn possible() -> bool {
    let named = std::env::var("CXX").ok();
    named
        .as_deref()
        .into_iter()
        .chain(["c++", "g++", "clang++"])
        .any(sh::has)
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (mut target, mut seconds) = (None, 60);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => {
                seconds = args
                    .next()
                    .context("--seconds of what?")?
                    .parse()
                    .context("--seconds")?;
            }
            name if TARGETS.contains(&name) => target = Some(name.to_owned()),
            other => bail!("no fuzz target {other:?}; there are {}", TARGETS.join(", ")),
        }
    }
    ensure!(possible(), "libFuzzer needs a C++ compiler");
    match target {
        Some(target) => one(&target, seconds),
        None => all(seconds),
    }
}

/// Every target, for so long each.
pub(crate) fn all(seconds: u64) -> Result<()> {
    TARGETS.iter().try_for_each(|t| one(t, seconds))
}

fn one(target: &str, seconds: u64) -> Result<()> {
    let host = host()?;
    let place = sh::target().join("fuzz");
    let mut build = sh::cargo(&[
        "build",
        "--quiet",
        "--release",
        "--target",
        &host,
        "--bin",
        target,
    ]);
    // A target is named so that the flags leave build scripts alone.
    build
        .current_dir(sh::root().join("tests/fuzz"))
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_TARGET_DIR", &place);
    sh::run(&mut build)?;

    let corpus = place.join("corpus").join(target);
    let artifacts = place.join("artifacts").join(target);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    seed(target, &corpus)?;
    println!("   {target}, {seconds} s");
    let program = place.join(&host).join("release").join(target);
    let mut fuzz = sh::command(program.to_str().context("a path of UTF-8")?, [&corpus]);
    fuzz.arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzz.args([
        "-use_value_profile=1",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-max_len=200000",
        "-verbosity=0",
    ]);
    fuzz.arg("-print_final_stats=1");
    sh::run(&mut fuzz).with_context(|| {
        format!(
            "{target} found something; the input is in {}",
            artifacts.display()
        )
    })
}

/// The vectors are the seeds: those small enough that a mutation has a chance to matter.
fn seed(target: &str, corpus: &Path) -> Result<()> {
    let (suffix, largest) = match target {
        "ztoc_decode" => (".ztoc", 200_000),
        "layer_index" => (".tar.gz", 60_000),
        _ => (".tar.tar", 60_000),
    };
    for file in sh::files(&sh::root().join("tests/vectors/layers")) {
        let name = file
            .path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if name.ends_with(suffix) && file.size <= largest {
            fs::copy(&file.path, corpus.join(name)).context("copy a seed")?;
        }
    }
    Ok(())
}

fn host() -> Result<String> {
    let version = sh::read(&mut sh::command("rustc", ["-vV"]))?;
    let version = String::from_utf8(version).context("rustc -vV")?;
    let host = version.lines().find_map(|l| l.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}
