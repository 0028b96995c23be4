//! Running commands: with a deadline, with everything they print, with the memory they took.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

/// How a command ended and what it printed.
#[derive(Debug)]
pub struct Run {
    /// The command, for messages.
    pub command: String,
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Stdout.
    pub stdout: Vec<u8>,
    /// Stderr.
    pub stderr: String,
    /// How long it took.
    pub wall: Duration,
}

impl Run {
    /// Stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The run, if it succeeded.
    #[track_caller]
    #[must_use]
    pub fn ok(self) -> Self {
        assert!(self.code == Some(0), "should succeed: {self}");
        self
    }

    /// What is wrong with this run as a refusal: it must exit with 1, say why, and not panic. None if it is one.
    pub fn not_a_refusal(&self) -> Option<String> {
        let panicked = self.stderr.contains("panicked at");
        let fine = self.code == Some(1) && !self.stderr.trim().is_empty() && !panicked;
        (!fine).then(|| format!("should exit with 1 and a message: {self}"))
    }

    /// The run, if it is a proper refusal: see [`Run::not_a_refusal`].
    #[track_caller]
    #[must_use]
    pub fn refused(self) -> Self {
        if let Some(why) = self.not_a_refusal() {
            panic!("{why}");
        }
        self
    }

    /// What is wrong if this run neither succeeded nor refused properly.
    pub fn not_a_verdict(&self) -> Option<String> {
        if self.code == Some(0) {
            None
        } else {
            self.not_a_refusal()
        }
    }

    /// The words of stdout's last line: "sha256:… SIZE" of `sociable ztoc build` and of the reference.
    pub fn digest_and_size(&self) -> Option<(String, u64)> {
        let text = self.text();
        let mut words = text.lines().last()?.split_whitespace();
        let digest = words.next().filter(|d| d.starts_with("sha256:"))?;
        Some((digest.to_owned(), words.next()?.parse().ok()?))
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            command,
            code,
            signal,
            stderr,
            wall,
            ..
        } = self;
        // Errors stand at the end, and what led to them at the beginning.
        let tail = |s: &str| {
            let all: Vec<char> = s.chars().collect();
            if all.len() <= 2000 {
                return s.to_owned();
            }
            let (start, end) = (&all[..600], &all[all.len() - 1400..]);
            format!(
                "{}\n[…]\n{}",
                String::from_iter(start),
                String::from_iter(end)
            )
        };
        write!(
            f,
            "{command}\n  exit {code:?}, signal {signal:?}, {wall:.1?}\n  stderr: {}\n  stdout: {}",
            tail(stderr),
            tail(&self.text())
        )
    }
}

/// Runs a command to its end, or for two minutes: no test may hang.
pub fn run(command: &mut Command) -> Run {
    run_for(command, Duration::from_mins(2))
}

/// Runs a command with a deadline, past which it and its children are killed and the test fails.
#[track_caller]
pub fn run_for(command: &mut Command, deadline: Duration) -> Run {
    let name = describe(command);
    let start = Instant::now();
    let mut child = start_group(command.stdout(Stdio::piped()).stderr(Stdio::piped()), &name);
    let (out, err) = (
        child.stdout.take().expect("piped"),
        child.stderr.take().expect("piped"),
    );
    let (out, err) = (thread::spawn(|| slurp(out)), thread::spawn(|| slurp(err)));
    let mut nap = Duration::from_micros(500);
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait for a child") {
            break status;
        }
        if start.elapsed() > deadline {
            kill_group(&mut child);
            panic!("still running after {deadline:?}, killed: {name}");
        }
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(20));
    };
    Run {
        wall: start.elapsed(),
        command: name,
        code: status.code(),
        signal: status.signal(),
        stdout: out.join().expect("stdout"),
        stderr: String::from_utf8_lossy(&err.join().expect("stderr")).into_owned(),
    }
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|w| w.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Starts a command as the leader of its own process group, so that [`kill_group`] ends its children too.
pub fn start_group(command: &mut Command, name: &str) -> Child {
    command
        .process_group(0)
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run {name}: {e}"))
}

/// SIGKILL for a child started with [`start_group`], and for its children.
pub fn kill_group(child: &mut Child) {
    let group = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    // It may be gone already: then there is nothing to kill.
    let _ = kill_process_group(group, Signal::KILL);
    child.wait().expect("wait for a killed child");
}

fn slurp(mut from: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).expect("read a child's output");
    all
}

/// What a command took.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Measured {
    /// Seconds from start to end.
    pub wall: f64,
    /// CPU seconds in user space.
    pub user: f64,
    /// CPU seconds in the kernel.
    pub system: f64,
    /// Peak resident memory in bytes, of the largest process.
    pub max_rss: u64,
}

/// Runs a command under `sociable-measure`, whose path is `env!("CARGO_BIN_EXE_sociable-measure")` in a test.
///
/// A child's peak memory as the kernel counts it starts at that of the process that started it, so a test cannot measure its
/// own children: a small program in between can.
pub fn measured(
    measure: &str,
    command: &Command,
    stdin: Stdio,
    deadline: Duration,
) -> (Run, Measured) {
    let dir = crate::temp_dir();
    let report = dir.path().join("report.json");
    let mut wrapped = Command::new(measure);
    wrapped
        .arg(&report)
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(stdin);
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    let run = run_for(&mut wrapped, deadline);
    let report = std::fs::read(&report).unwrap_or_else(|e| panic!("no measurement ({e}): {run}"));
    (run, serde_json::from_slice(&report).expect("a measurement"))
}

/// A command line of the finished `sociable`: the binary that `SOCIABLE_BIN` names, else the newest in cargo's target directory.
pub fn sociable<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(BINARY.get_or_init(find_sociable));
    command
        .args(args.into_iter().map(Into::into))
        .stdin(Stdio::null());
    // A cache of the user's would hide what is tested.
    command.env("XDG_CACHE_HOME", crate::target_dir().join("test-cache"));
    command
}

fn find_sociable() -> PathBuf {
    if let Some(named) = std::env::var_os("SOCIABLE_BIN") {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "SOCIABLE_BIN: no file {}", named.display());
        return named;
    }
    let target = crate::target_dir();
    let age = |p: &Path| p.metadata().and_then(|m| m.modified()).ok();
    let built = ["release", "debug"].into_iter().flat_map(|profile| {
        let below = Path::new(profile).join("sociable");
        [target.join(&below), target.join(crate::STATIC).join(below)]
    });
    let newest = built.filter(|p| p.is_file()).max_by_key(|p| age(p));
    newest.expect("the suite runs the finished binary: `cargo xtask test` or `cargo build --release` makes it, or set SOCIABLE_BIN")
}
