//! `sociable-measure REPORT COMMAND…` runs a command and writes what it took to REPORT, as JSON.
//!
//! It exists because it is small: the kernel counts a child's peak memory from that of the process it was forked from, so
//! whoever measures must not be large itself.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Context as _;
use wait4::Wait4 as _;

fn main() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let report = args
        .next()
        .context("usage: sociable-measure REPORT COMMAND…")?;
    let program = args
        .next()
        .context("usage: sociable-measure REPORT COMMAND…")?;
    let start = Instant::now();
    let child = Command::new(&program)
        .args(args)
        .spawn()
        .with_context(|| format!("run {}", program.display()))?;
    let used = child.wait4()?;
    let json = serde_json::json!({
        "wall": start.elapsed().as_secs_f64(),
        "user": used.rusage.utime.as_secs_f64(),
        "system": used.rusage.stime.as_secs_f64(),
        "max_rss": used.rusage.maxrss,
    });
    std::fs::write(&report, json.to_string())
        .with_context(|| format!("write {}", report.display()))?;
    let code = used
        .status
        .code()
        .or_else(|| used.status.signal().map(|s| 128 + s))
        .unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
