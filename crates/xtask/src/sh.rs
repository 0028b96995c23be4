//! Running commands and finding things.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// The repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("crates/xtask is two levels deep")
        .to_owned()
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(named.unwrap_or_else(|| "target".into()))
}

/// A command in the repository.
pub(crate) fn command<A: AsRef<OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// Cargo, in the repository.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    command(&cargo, args)
}

/// Runs to success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let status = command.status().with_context(|| format!("run {program}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Runs to success and returns what it printed.
pub(crate) fn read(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().display().to_string();
    let out = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {program}"))?;
    ensure!(out.status.success(), "{command:?}: {}", out.status);
    Ok(out.stdout)
}

/// Whether a program can be run.
pub(crate) fn has(program: &str) -> bool {
    let help = command(program, ["--help"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    help.is_ok()
}

/// Builds `sociable` as users get it: its path. A binary that `SOCIABLE_BIN` names is taken as it is.
pub(crate) fn sociable() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("SOCIABLE_BIN") {
        return Ok(named.into());
    }
    run(&mut cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "sociable",
    ]))?;
    Ok(target().join("release/sociable"))
}

/// Builds the program over the SOCI Go library: its path. Fails where there is no Go or no C compiler.
pub(crate) fn reference() -> Result<PathBuf> {
    let out = target().join("reference");
    let mut go = command("go", ["build", "-trimpath", "-o"]);
    go.arg(&out)
        .arg(".")
        .current_dir(root().join("tests/reference"))
        .env("CGO_ENABLED", "1");
    run(&mut go)?;
    Ok(out)
}

/// Builds the registries that tests start: the program's path. Fails where there is no Go.
pub(crate) fn registries() -> Result<PathBuf> {
    let out = target().join("registries");
    let mut go = command("go", ["build", "-trimpath", "-o"]);
    go.arg(&out)
        .arg(".")
        .current_dir(root().join("tests/registries"))
        .env("CGO_ENABLED", "0");
    run(&mut go)?;
    Ok(out)
}

/// A regular file and its size.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
}

/// The regular files below a directory, sorted by path; what cannot be read is left out.
pub(crate) fn files(dir: &Path) -> Vec<Found> {
    fn walk(dir: &Path, found: &mut Vec<Found>) {
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        for path in entries.flatten().map(|e| e.path()) {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => walk(&path, found),
                Ok(meta) if meta.is_file() && fs::File::open(&path).is_ok() => {
                    found.push(Found {
                        path,
                        size: meta.len(),
                    });
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The first of some directories that every developer's machine has and whose size lies between two bounds; failing that,
/// this repository's sources.
pub(crate) fn real_directory(smallest: u64, largest: u64) -> (PathBuf, Vec<Found>) {
    let sysroot = sysroot();
    let candidates =
        ["share/doc", "lib/rustlib", "lib", "bin", "share", ""].map(|d| sysroot.join(d));
    for dir in candidates {
        let files = files(&dir);
        if (smallest..=largest).contains(&total(&files)) {
            return (dir, files);
        }
    }
    let dir = root().join("crates");
    let files = files(&dir);
    (dir, files)
}

/// Where the Rust toolchain is.
pub(crate) fn sysroot() -> PathBuf {
    let printed = command("rustc", ["--print", "sysroot"])
        .output()
        .map(|o| o.stdout)
        .unwrap_or_default();
    String::from_utf8_lossy(&printed).trim().into()
}

/// Bytes of all these files.
pub(crate) fn total(files: &[Found]) -> u64 {
    files.iter().map(|f| f.size).sum()
}

/// Megabytes, for people.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Installs packages of Debian's, where that is possible without asking.
pub(crate) fn apt_install(packages: &[&str]) -> bool {
    let root = read(&mut command("id", ["-u"])).is_ok_and(|id| id == b"0\n");
    if !root || !has("apt-get") {
        return false;
    }
    let apt = |args: &[&str]| {
        let mut apt = command("apt-get", args);
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt.output().is_ok_and(|out| out.status.success())
    };
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    apt(&install) || apt(&["update"]) && apt(&install)
}

/// Whether a command succeeds; what it says is of no interest.
pub(crate) fn quiet(mut command: Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Whether Python can make environments; where apt can bring that, it does.
pub(crate) fn venv() -> bool {
    let there = || quiet(command("python3", ["-c", "import ensurepip, venv"]));
    there() || apt_install(&["python3-venv"]) && there()
}
