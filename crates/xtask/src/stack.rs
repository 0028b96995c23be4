//! `cargo xtask stack`: the real container stack that tests start, for a developer to play with.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::sh;

/// How `stack.sh prepare` ends where this machine cannot have a stack.
const IMPOSSIBLE: i32 = 75;

/// The script that starts and enters stacks.
pub(crate) fn script<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new("bash");
    command
        .arg(sh::root().join("tests/stack/stack.sh"))
        .args(args);
    if std::env::var_os("STACK_BINDS").is_none() {
        command.env("STACK_BINDS", sh::root());
    }
    command
}

/// Passes arguments on to the script, where the user is. The repository is seen inside a stack that this starts.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let status = script(args).status()?;
    ensure!(status.success(), "stack.sh: {status}");
    Ok(())
}

/// Makes ready what stacks are started from: none where all is well, or why there can be none on this machine.
pub(crate) fn prepare() -> Result<Option<String>> {
    let mut prepare = script(["prepare"]);
    let done = prepare
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if done.status.code() == Some(IMPOSSIBLE) {
        return Ok(Some(String::from_utf8_lossy(&done.stdout).trim().into()));
    }
    ensure!(done.status.success(), "stack.sh prepare: {}", done.status);
    Ok(None)
}
