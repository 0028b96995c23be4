//! The checks of `deploy/` that need neither docker nor a stack: `deploy/tests`, in Python.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::sh;

/// What must be there to run them.
pub(crate) fn missing() -> Option<&'static str> {
    (!sh::venv()).then_some("Python 3 with venv is needed")
}

fn place() -> PathBuf {
    sh::target().join("deploy")
}

/// An environment with the packages that the tests need; made once for a list of them.
pub(crate) fn prepare() -> Result<()> {
    let wanted = fs::read_to_string(sh::root().join("deploy/tests/requirements.txt"))?;
    let stamp = place().join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    let venv = place().join("venv");
    fs::create_dir_all(place())?;
    sh::run(sh::command("python3", ["-m", "venv", "--clear"]).arg(&venv))?;
    let pip = venv.join("bin/pip").display().to_string();
    let mut pip = sh::command(&pip, ["install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--requirement", "deploy/tests/requirements.txt"]);
    sh::run(&mut pip)?;
    fs::write(stamp, wanted)?;
    Ok(())
}

/// Runs them; what they leave out.
pub(crate) fn check(sociable: Option<&Path>) -> Result<Vec<String>> {
    let python = place().join("venv/bin/python").display().to_string();
    let nodes = place().join("node");
    fs::create_dir_all(&nodes)?;
    let mut tests = sh::command(&python, ["-m", "pytest", "-q", "-rs", "--color=no"]);
    tests
        .args(["-p", "no:cacheprovider", "deploy/tests"])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SOCIABLE_NODE_MODULES", &nodes);
    if let Some(sociable) = sociable {
        tests.env("SOCIABLE_BIN", sociable);
    }
    let done = tests.output()?;
    let said = String::from_utf8_lossy(&done.stdout);
    print!("{said}");
    ensure!(
        done.status.success(),
        "pytest deploy/tests: {}",
        done.status
    );
    // `SKIPPED [2] deploy/tests/test_kubernetes.py:154: why`
    let skipped = said
        .lines()
        .filter_map(|line| line.strip_prefix("SKIPPED ["));
    let why = skipped.filter_map(|line| line.split_once(": ").map(|(_, why)| why));
    Ok(why.map(|why| format!("deploy: {why}")).collect())
}
