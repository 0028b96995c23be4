//! The policies of `plugins/`: components, in a workspace of their own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::sh;

const TARGET: &str = "wasm32-unknown-unknown";
/// What to do where they cannot be built.
pub(crate) const MISSING: &str = "rustup target add wasm32-unknown-unknown";

/// Whether they can be built here; a target that rustup can fetch is fetched.
pub(crate) fn possible() -> bool {
    let library = || {
        let mut rustc = sh::command("rustc", ["--print", "target-libdir", "--target", TARGET]);
        let libdir = sh::read(&mut rustc).ok()?;
        let libdir = PathBuf::from(String::from_utf8(libdir).ok()?.trim());
        libdir.is_dir().then_some(())
    };
    if library().is_none() && sh::has("rustup") {
        let _ = sh::run(&mut sh::command("rustup", ["target", "add", TARGET]));
    }
    library().is_some()
}

fn target() -> PathBuf {
    sh::target().join("plugins")
}

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = sh::cargo(arguments);
    cargo
        .current_dir(sh::root().join("plugins"))
        .env("CARGO_TARGET_DIR", target());
    cargo
}

/// Format, lints, and their tests, which run natively.
pub(crate) fn check() -> Result<()> {
    sh::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    sh::run(&mut cargo(&[
        "clippy",
        "--quiet",
        "--release",
        "--target",
        TARGET,
        "--",
        "-Dwarnings",
    ]))?;
    sh::run(&mut cargo(&["test", "--quiet"]))
}

/// Builds them; the directory in which they are.
pub(crate) fn build() -> Result<PathBuf> {
    sh::run(&mut cargo(&[
        "build",
        "--quiet",
        "--release",
        "--target",
        TARGET,
    ]))?;
    Ok(target().join(TARGET).join("release"))
}

/// What there is to do before policies in JavaScript and Python can be built here, if it could not be done.
pub(crate) fn interpreted_missing() -> Option<String> {
    let node = || -> Option<u32> {
        let version = sh::read(&mut sh::command("node", ["--version"])).ok()?;
        let version = String::from_utf8(version).ok()?;
        version
            .trim_start_matches('v')
            .split('.')
            .next()?
            .parse()
            .ok()
    };
    if node().is_none() || !sh::has("npm") {
        sh::apt_install(&["nodejs", "npm"]);
    }
    match node() {
        Some(version) if version >= NODE && sh::has("npm") => {}
        found => {
            return Some(format!(
                "Node {NODE} or newer with npm is needed; found: {found:?}"
            ));
        }
    }
    (!sh::venv()).then(|| "Python 3 with venv is needed".to_owned())
}

/// The oldest Node that the tools for components run on.
const NODE: u32 = 20;

/// Tests and builds those in JavaScript and Python; the directory in which they are.
pub(crate) fn interpreted() -> Result<PathBuf> {
    let plugins = sh::root().join("plugins");
    let mut build = sh::command("bash", ["build.sh", "file-type-compression", "ml-weights"]);
    sh::run(build.current_dir(&plugins))?;
    Ok(plugins.join("dist"))
}
