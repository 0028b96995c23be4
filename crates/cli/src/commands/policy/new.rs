//! A new policy: a project that builds, and passes its own test.

use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::error::CliError;
use crate::output::print;

/// Languages there are templates for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// Rust: components of some 70 KB
    Rust,
    /// JavaScript: components of 12 MB, which bring their interpreter along
    Js,
    /// Python: components of 18 MB, which bring their interpreter along
    Python,
}

#[derive(Debug, Args)]
pub(super) struct New {
    /// The policy's name: lower case letters, digits and hyphens, a letter first; also the directory to make
    #[arg(value_parser = name)]
    name: String,
    /// The language it is written in
    #[arg(long, default_value = "rust")]
    lang: Language,
    /// Rust: take the SDK from this directory instead of crates.io
    #[arg(long, value_name = "DIR", env = "SOCIABLE_POLICY_SDK")]
    sdk: Option<PathBuf>,
}

fn name(text: &str) -> Result<String, String> {
    let fine = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= 64
        && (text.chars()).all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fine {
        Ok(text.to_owned())
    } else {
        Err("a name has lower case letters, digits and hyphens, a letter first".to_owned())
    }
}

/// A file's name and content.
type File = (&'static str, &'static str);

macro_rules! files {
    ($directory:literal: $($name:literal),+) => {
        &[$(($name, include_str!(concat!("templates/", $directory, "/", $name, ".in")))),+]
    };
}

const RUST: &[File] = files!("rust": ".gitignore", "Cargo.toml", "README.md", "parameters.json", "src/lib.rs", ".cargo/config.toml");
const JS: &[File] = files!("js": ".gitignore", "README.md", "build.js", "package.json", "policy.test.js", "src/policy.js", "wit/world.wit");
const PYTHON: &[File] = files!("python": ".gitignore", "README.md", "requirements.txt", "test_policy.py", "src/app.py", "src/spans.py", "wit/world.wit");

macro_rules! wit {
    ($($name:literal),+) => {
        &[$((concat!("wit/deps/sociable-policy/", $name), include_str!(concat!("../../../wit/", $name)))),+]
    };
}

const WIT: &[File] = wit!(
    "types.wit",
    "span.wit",
    "order.wit",
    "compression.wit",
    "selection.wit",
    "prefetch.wit",
    "worlds.wit"
);

pub(super) fn run(args: &New) -> Result<(), CliError> {
    let root = PathBuf::from(&args.name);
    if fs::exists(&root).unwrap_or(true) {
        return Err(CliError::usage(format!(
            "{} is there already",
            root.display()
        )));
    }
    let sdk = match &args.sdk {
        None => format!("\"{}\"", env!("CARGO_PKG_VERSION")),
        Some(dir) => {
            let dir = fs::canonicalize(dir).map_err(CliError::io("find", dir.display()))?;
            format!("{{ path = {:?} }}", dir.display().to_string())
        }
    };
    let filled = |content: &str| {
        content
            .replace("{{name}}", &args.name)
            .replace("{{crate}}", &args.name.replace('-', "_"))
            .replace("{{sdk}}", &sdk)
    };
    let (files, wit, next) = match args.lang {
        Language::Rust => (
            RUST,
            &[][..],
            "cargo test && cargo build --release --target wasm32-unknown-unknown",
        ),
        Language::Js => (JS, WIT, "npm install && npm test && npm run build"),
        Language::Python => (PYTHON, WIT, "see README.md"),
    };
    // Under another name until it is whole.
    let unfinished = tempfile::Builder::new()
        .prefix(".sociable-policy-")
        .tempdir_in(".")
        .map_err(CliError::io("create a directory in", "."))?;
    let write = |name: &str, content: &str| {
        let file = unfinished.path().join(name);
        let made = file.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&file, content))
            .map_err(CliError::io("write", root.join(name).display()))
    };
    for (name, content) in files {
        write(name, &filled(content))?;
    }
    for (name, content) in wit {
        write(name, content)?;
    }
    let mode: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(unfinished.path(), mode)
        .and_then(|()| fs::rename(unfinished.path(), &root))
        .map_err(CliError::io("create", root.display()))?;
    let _ = unfinished.keep();
    print(&format!("{}: cd {} && {next}\n", root.display(), args.name))
}
