//! What a question costs: `cargo bench -p sociable-policy-wasm -- COMPONENT…`, each a policy about spans. Called by
//! `cargo xtask bench --policies`.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sociable_policy::{Candidate, Kind, Layer, SizeSpans, SpanPlanner};
use sociable_policy_wasm::{Host, Limits, Quiet};

/// How long each is asked.
const TIME: Duration = Duration::from_millis(1500);

fn main() -> Result<(), Box<dyn Error>> {
    let host = Host::new(Limits::DEFAULT, Arc::new(Quiet), None)?;
    println!(
        "{:<28} {:>12} {:>18}",
        "policy", "a question", "with an entry"
    );
    let mut native = SizeSpans { span_size: 4 << 20 };
    row("size, built in", &mut native)?;
    for file in std::env::args().skip(1).filter(|arg| arg != "--bench") {
        let opened = host.open(&std::fs::read(&file)?, &file)?;
        let name = opened.description.name.clone();
        let policy = opened.policy(&serde_json::json!({}))?;
        let span = policy.span.ok_or("it decides nothing about spans")?;
        let layer = Layer::packed("application/vnd.oci.image.layer.v1.tar+gzip", 4 << 20);
        row(&name, &mut *span.planner(&layer)?)?;
    }
    Ok(())
}

fn row(name: &str, planner: &mut dyn SpanPlanner) -> Result<(), Box<dyn Error>> {
    planner.start()?;
    let mut at = 0;
    let alone = time(planner, &mut at, false)?;
    let told = time(planner, &mut at, true)?;
    println!("{name:<28} {alone:>9.0} ns {told:>15.0} ns");
    Ok(())
}

/// Nanoseconds of a question, the shortest of ten runs.
fn time(
    planner: &mut dyn SpanPlanner,
    at: &mut u64,
    tell: bool,
) -> Result<f64, sociable_policy::PolicyError> {
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let (start, mut questions) = (Instant::now(), 0u32);
        while start.elapsed() < TIME / 10 {
            for _ in 0..50 {
                *at += 1000;
                if tell {
                    planner.entry(&sociable_policy::Entry {
                        path: "usr/lib/python3/dist-packages/numpy/core/multiarray.py".into(),
                        kind: Kind::File,
                        header: *at,
                        data: *at + 512,
                        size: 488,
                        mode: 0o644,
                        link: None,
                    })?;
                }
                planner.decide(&Candidate {
                    compressed: *at / 3,
                    uncompressed: *at,
                    since_cut: *at % (4 << 20),
                    next: *at + 1000,
                    known: *at + 1000,
                })?;
                questions += 1;
            }
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(questions));
    }
    Ok(best)
}
