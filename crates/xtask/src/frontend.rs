//! `cargo xtask frontend`: the BuildKit frontend as static binaries, ready to become an image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::sh;

/// An architecture that the frontend is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arch {
    Amd64,
    Arm64,
}

impl Arch {
    /// Docker's name, and Go's.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn of(name: &str) -> Result<Self> {
        match name {
            "amd64" => Ok(Self::Amd64),
            "arm64" => Ok(Self::Arm64),
            _ => bail!("no architecture {name:?}: there are amd64 and arm64"),
        }
    }

    /// Those that are named; all where none is.
    pub(crate) fn named(names: &[String]) -> Result<Vec<Self>> {
        if names.is_empty() {
            return Ok(vec![Self::Amd64, Self::Arm64]);
        }
        names.iter().map(|name| Self::of(name)).collect()
    }

    /// This machine's.
    pub(crate) fn host() -> Self {
        if std::env::consts::ARCH == "aarch64" {
            Self::Arm64
        } else {
            Self::Amd64
        }
    }

    /// Rust's name.
    fn cpu(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }
}

/// The most that is fetched of an image before a build can begin, in bytes: the binary, compressed as it is in its layer.
const LARGEST: u64 = 25 << 20;

pub(crate) fn run(args: &[String]) -> Result<()> {
    for arch in Arch::named(args)? {
        let binary = build(arch, With::Nothing)?.binary;
        let size = fs::metadata(&binary)?.len();
        println!("{} {}", binary.display(), sh::mb(size));
    }
    let dir = context()?;
    println!(
        "\nTheir image, with docker:\n  cd {} && docker buildx bake --set '*.tags=REPOSITORY:TAG' --push\n\
         or without: frontend/README.md",
        dir.display()
    );
    Ok(())
}

/// A directory with the files that make the image, as far as they have been built.
pub(crate) fn context() -> Result<PathBuf> {
    recipe("frontend", "frontend")
}

/// A directory in cargo's, with the Dockerfile of an image and how bake makes it.
pub(crate) fn recipe(from: &str, name: &str) -> Result<PathBuf> {
    let dir = sh::target().join(name);
    fs::create_dir_all(&dir)?;
    for file in ["Dockerfile", "docker-bake.hcl"] {
        fs::copy(sh::root().join(from).join(file), dir.join(file))?;
    }
    Ok(dir)
}

/// What else is built with the frontend, and shares what both are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    Nothing,
    /// `sociable`, for its own image.
    Sociable,
}

/// One of cargo's commands, on the whole workspace, for this machine, linked statically. They share what they compile: the same
/// packages in the same profile for the same target have the same features.
pub(crate) fn of_all(command: &str) -> Result<Command> {
    let mut cargo = sh::cargo(&[command, "--quiet", "--workspace"]);
    statically(&mut cargo, Arch::host())?;
    Ok(cargo)
}

/// Builds the tests, and all that they run; the directory that it is in.
pub(crate) fn for_tests() -> Result<PathBuf> {
    let mut cargo = sh::cargo(&["build", "--quiet", "--workspace"]);
    cargo.args(["--lib", "--bins", "--examples", "--tests"]);
    let target = statically(&mut cargo, Arch::host())?;
    sh::run(&mut cargo)?;
    Ok(sh::target().join(target).join("debug"))
}

/// What was built.
pub(crate) struct Built {
    /// The frontend.
    pub(crate) binary: PathBuf,
    /// Where cargo left it.
    pub(crate) directory: PathBuf,
}

/// Builds a static binary.
pub(crate) fn build(arch: Arch, with: With) -> Result<Built> {
    let directory = compile(arch, with)?;
    let built = directory.join("sociable-frontend");
    let mut compress = sh::command("gzip", ["-c"]);
    let size = sh::read(compress.arg(&built))?.len() as u64;
    ensure!(
        size <= LARGEST,
        "{} has {} when it is compressed, more than the image may have",
        built.display(),
        sh::mb(size)
    );
    let dir = context()?;
    let binary = dir.join(format!("sociable-frontend-{}", arch.name()));
    install(&built, &binary)?;
    let root = dir.join(format!("root-{}", arch.name()));
    fs::create_dir_all(&root)?;
    install(&built, &root.join("sociable-frontend"))?;
    Ok(Built { binary, directory })
}

/// Compiles a static binary; the directory that it is in.
fn compile(arch: Arch, with: With) -> Result<PathBuf> {
    let mut cargo = sh::cargo(&["build", "--quiet", "--release"]);
    cargo.args(["--package", "sociable-frontend", "--bins"]);
    if with == With::Sociable {
        cargo.args(["--package", "sociable"]);
    }
    cargo
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    let target = statically(&mut cargo, arch)?;
    sh::run(&mut cargo)?;
    Ok(sh::target().join(target).join("release"))
}

/// Whether it compiles, C parts included; it is not linked.
pub(crate) fn check(arch: Arch) -> Result<()> {
    let mut cargo = sh::cargo(&["check", "--quiet", "--package", "sociable-frontend"]);
    statically(&mut cargo, arch)?;
    sh::run(&mut cargo)
}

/// Makes cargo build for an architecture, and link statically; gives the target's name.
fn statically(cargo: &mut Command, arch: Arch) -> Result<String> {
    let musl = format!("{}-unknown-linux-musl", arch.cpu());
    let target = if has_std(&musl) {
        let variable = musl.replace('-', "_");
        cargo.env(format!("CC_{variable}"), compiler(arch)?);
        // Some distributions fortify C by themselves, by functions of glibc's.
        cargo.env(format!("CFLAGS_{variable}"), "-U_FORTIFY_SOURCE");
        if arch != Arch::host() {
            let target = musl.to_uppercase().replace('-', "_");
            cargo.env(format!("CARGO_TARGET_{target}_LINKER"), "rust-lld");
        }
        musl
    } else {
        ensure!(
            arch == Arch::host(),
            "no Rust standard library for {musl}: rustup target add {musl}"
        );
        println!("no Rust standard library for {musl}: linked with glibc, statically");
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
        format!("{}-unknown-linux-gnu", arch.cpu())
    };
    cargo.args(["--target", &target]);
    Ok(target)
}

/// What this machine lacks to build for an architecture, if it cannot be got.
pub(crate) fn missing(arch: Arch) -> Option<String> {
    let musl = format!("{}-unknown-linux-musl", arch.cpu());
    if arch != Arch::host() && !has_std(&musl) {
        return Some(format!("no Rust standard library for {musl}"));
    }
    compiler(arch).err().map(|error| format!("{error:#}"))
}

/// Puts a file in its place, which another process may be reading.
pub(crate) fn install(from: &Path, to: &Path) -> Result<()> {
    let temporary = to.with_extension("new");
    fs::copy(from, &temporary)?;
    fs::rename(&temporary, to)?;
    Ok(())
}

/// Whether there is a standard library for a target, or rustup can get it.
fn has_std(target: &str) -> bool {
    let there = || {
        sh::sysroot()
            .join("lib/rustlib")
            .join(target)
            .join("lib")
            .is_dir()
    };
    there() || sh::quiet(sh::command("rustup", ["target", "add", target])) && there()
}

/// A C compiler for `ring` and `zstd`, which need of a C library what musl has, too.
fn compiler(arch: Arch) -> Result<String> {
    if arch == Arch::host() {
        return Ok("cc".to_owned());
    }
    let gcc = format!("{}-linux-gnu-gcc", arch.cpu());
    // Debian's has its headers, which `ring` includes, in a package of their own.
    let headers = format!("/usr/{}-linux-gnu/include/string.h", arch.cpu());
    if sh::has(&gcc) && Path::new(&headers).exists() {
        return Ok(gcc);
    }
    if sh::has("clang") {
        return Ok("clang".to_owned());
    }
    let compiler = format!("gcc-{}-linux-gnu", arch.cpu().replace('_', "-"));
    let headers = format!("libc6-dev-{}-cross", arch.name());
    sh::apt_install(&[&compiler, &headers]);
    ensure!(
        sh::has(&gcc),
        "no C compiler for {}: install clang, or Debian's {compiler} and {headers}",
        arch.name()
    );
    Ok(gcc)
}

/// Whether a binary runs, and what it says to whoever starts it by hand.
pub(crate) fn explains_itself(binary: &Path) -> Result<()> {
    let out = sh::command(&binary.display().to_string(), [""; 0])
        .output()
        .with_context(|| format!("run {}", binary.display()))?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(
        out.status.code() == Some(2) && said.contains("BUILDKIT_SYNTAX"),
        "{}: {}, {said}",
        binary.display(),
        out.status
    );
    Ok(())
}
