//! The reference implementation: the SOCI Go library, behind the program in `tests/reference`.
//!
//! It needs Go and a C compiler. Without them the tests that compare with it are skipped, loudly; with
//! `SOCIABLE_REQUIRE_REFERENCE=1` they fail instead.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Value, json};

/// The reference's program, built once; none where it cannot be.
pub fn binary() -> Option<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BUILT.get_or_init(build) {
        Ok(path) => Some(path),
        Err(why) => {
            let must = std::env::var("SOCIABLE_REQUIRE_REFERENCE").is_ok_and(|v| v == "1");
            assert!(!must, "SOCIABLE_REQUIRE_REFERENCE=1, but: {why}");
            None
        }
    }
}

fn build() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("SOCIABLE_REFERENCE") {
        return Ok(named.into());
    }
    let out = crate::target_dir().join("reference");
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-o"])
        .arg(&out)
        .arg(".")
        .current_dir(crate::here().join("reference"));
    go.env("CGO_ENABLED", "1").stdin(Stdio::null());
    let done = go.output().map_err(|e| format!("no Go here ({e})"))?;
    if done.status.success() {
        Ok(out)
    } else {
        Err(format!(
            "go build failed: {}",
            String::from_utf8_lossy(&done.stderr)
        ))
    }
}

/// A running `reference batch`; none, and a loud line naming the test, where there is no reference.
pub fn start(test: &str) -> Option<Reference> {
    let Some(binary) = binary() else {
        crate::skip(&format!(
            "{test}: it compares with the reference, which needs Go and a C compiler"
        ));
        return None;
    };
    Some(Reference::new(binary))
}

/// One process that answers many questions.
#[derive(Debug)]
pub struct Reference {
    binary: PathBuf,
    tmp: tempfile::TempDir,
    process: Option<(Child, ChildStdin, BufReader<ChildStdout>)>,
}

/// A file as the reference read it through a zTOC. Hard links appear once.
#[derive(Clone, Debug, Deserialize)]
pub struct ReadFile {
    path_hex: String,
    /// Its size.
    pub size: u64,
    /// sha256 of its content, in hex.
    pub sha256: String,
}

impl ReadFile {
    /// Its path from the root, without the leading slash.
    pub fn path(&self) -> Vec<u8> {
        hex::decode(&self.path_hex).expect("hex")[1..].to_vec()
    }
}

#[derive(Deserialize)]
struct Answer {
    error: Option<String>,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    files: Vec<ReadFile>,
}

impl Reference {
    fn new(binary: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            tmp: crate::temp_dir(),
            process: None,
        }
    }

    fn ask(&mut self, job: &Value) -> Result<Answer, String> {
        let (_, stdin, stdout) = self.process.get_or_insert_with(|| {
            let mut command = Command::new(&self.binary);
            command
                .arg("batch")
                .env("TMPDIR", self.tmp.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            let mut child = command
                .stderr(Stdio::null())
                .spawn()
                .expect("run the reference");
            let (stdin, stdout) = (
                child.stdin.take().expect("piped"),
                child.stdout.take().expect("piped"),
            );
            (child, stdin, BufReader::new(stdout))
        });
        let mut line = String::new();
        let talked = writeln!(stdin, "{job}").and_then(|()| stdout.read_line(&mut line));
        if talked.is_err() || line.is_empty() {
            self.stop(); // its C code failed; the next question starts a new one
            return Err("the reference crashed".to_owned());
        }
        let answer: Answer = serde_json::from_str(&line).expect("an answer of the reference");
        match answer.error {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    fn stop(&mut self) {
        if let Some((mut child, stdin, _)) = self.process.take() {
            drop(stdin);
            // It ends with its stdin, or has ended already.
            let _ = child.wait();
        }
    }

    /// Builds the zTOC of a layer into a file: its digest and size.
    pub fn ztoc(
        &mut self,
        layer: &Path,
        tar: bool,
        span: u64,
        tool: &str,
        ztoc: &Path,
    ) -> Result<(String, u64), String> {
        let a = self.ask(&json!({"op": "ztoc", "layer": layer, "ztoc": ztoc, "span": span, "tar": tar, "tool": tool}))?;
        Ok((a.digest, a.size))
    }

    /// Reads every file of a layer through a zTOC, checking all that the snapshotter checks.
    pub fn read(&mut self, layer: &Path, ztoc: &Path) -> Result<Vec<ReadFile>, String> {
        Ok(self
            .ask(&json!({"op": "read", "layer": layer, "ztoc": ztoc}))?
            .files)
    }

    /// Parses a zTOC and nothing more.
    pub fn decode(&mut self, ztoc: &Path) -> Result<(), String> {
        self.ask(&json!({"op": "decode", "ztoc": ztoc})).map(drop)
    }

    /// Converts a layout in place with options named as the batch mode's fields: the new image index's digest.
    pub fn convert(&mut self, layout: &Path, options: Value) -> Result<String, String> {
        let mut job = options;
        job["op"] = "convert".into();
        job["layout"] = json!(layout);
        Ok(self.ask(&job)?.digest)
    }

    /// Compresses with Go's compress/gzip.
    pub fn gzip(&mut self, level: u32, from: &Path, to: &Path) -> Result<(), String> {
        self.ask(&json!({"op": "gzip", "in": from, "out": to, "level": level}))
            .map(drop)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.stop();
    }
}
