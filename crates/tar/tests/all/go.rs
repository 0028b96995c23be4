//! Runs Go's own tar reader, if there is a Go.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

/// What Go says about an archive.
pub(crate) struct GoVerdict {
    pub(crate) entries: Vec<GoEntry>,
    /// Where it found the end, or its error.
    pub(crate) end: Result<u64, String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GoEntry {
    pub(crate) position: u64,
    pub(crate) typeflag: u8,
    pub(crate) numbers: [i64; 7],
    pub(crate) nanos: i64,
    pub(crate) texts: [Vec<u8>; 4],
    pub(crate) pax: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The program, built once. `None`, and a word about it, without Go.
pub(crate) fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    if Command::new("go").arg("version").output().is_err() {
        note("SKIPPED: go not found, so nothing was compared with Go's archive/tar");
        return None;
    }
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tardump");
    let status = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go"))
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=mod")
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0")
        .status()
        .expect("go runs");
    assert!(status.success(), "go build failed");
    Some(program)
}

/// Has Go read all archives, and calls `compare` with what it says of each.
pub(crate) fn read_all(
    program: &Path,
    archives: &[Vec<u8>],
    mut compare: impl FnMut(usize, GoVerdict),
) {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the Go program starts");
    let mut input = child.stdin.take().expect("stdin");
    let output = child.stdout.take().expect("stdout");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for archive in archives {
                input
                    .write_all(&(archive.len() as u64).to_le_bytes())
                    .expect("write");
                input.write_all(archive).expect("write");
            }
        });
        let (mut index, mut entries) = (0, Vec::new());
        for line in BufReader::new(output).lines() {
            let line = line.expect("a line");
            let end = if let Some(position) = line.strip_prefix("eof ") {
                Ok(position.parse().expect("a position"))
            } else if let Some(error) = line.strip_prefix("error ") {
                Err(error.to_owned())
            } else {
                entries.push(parse(&line));
                continue;
            };
            compare(
                index,
                GoVerdict {
                    entries: std::mem::take(&mut entries),
                    end,
                },
            );
            index += 1;
        }
        assert_eq!(index, archives.len(), "Go answered for each archive");
    });
    assert!(child.wait().expect("wait").success());
}

fn parse(line: &str) -> GoEntry {
    let value: Value = serde_json::from_str(line).expect("JSON");
    let number = |key: &str| value[key].as_i64().expect("a number");
    let bytes = |value: &Value| {
        BASE64
            .decode(value.as_str().expect("a string"))
            .expect("base64")
    };
    let pax = value["pax"].as_array().expect("an array");
    GoEntry {
        position: value["position"].as_u64().expect("a position"),
        typeflag: u8::try_from(number("type")).expect("a byte"),
        numbers: ["size", "mode", "uid", "gid", "secs", "devmajor", "devminor"].map(number),
        nanos: number("nanos"),
        texts: ["name", "linkname", "uname", "gname"].map(|key| bytes(&value[key])),
        pax: pax
            .iter()
            .map(|pair| (bytes(&pair[0]), bytes(&pair[1])))
            .collect(),
    }
}

/// Says something that a reader of the test's output must not miss.
#[expect(
    clippy::print_stderr,
    reason = "a test that did less than its name says must say so"
)]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
