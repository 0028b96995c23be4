//! A real container stack: registries, Docker, containerd, BuildKit and soci-snapshotters, in namespaces of their own.
//!
//! Started once a test process, by `tests/stack/stack.sh`, on free ports; whatever ends the process also ends the stack, since the
//! stack ends with its stdin. Where there can be none, tests are skipped, loudly; with `SOCIABLE_REQUIRE_STACK=1` they fail instead.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::rng::Rng;
use crate::{Run, run};

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    name: String,
    state: PathBuf,
    port: u16,
    tls_port: u16,
    // Its stdin is open as long as this process lives.
    _process: Child,
}

/// The daemons that have a socket of Docker's kind.
#[derive(Clone, Copy, Debug)]
pub enum Docker {
    /// Containers start from unpacked layers.
    Eager,
    /// Containers start lazily, through the current soci-snapshotter.
    Lazy,
}

/// One answer of a registry, from its access log.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `GET`, `HEAD`, ….
    pub method: String,
    /// The path, such as `/v2/app/manifests/1`.
    pub path: String,
    /// The HTTP status.
    pub status: u16,
    /// Bytes of the body.
    pub bytes: u64,
    /// What the client called itself.
    pub agent: String,
}

/// The stack of this process, started at the first call; none, and one loud line for all tests, where there can be none.
pub fn start() -> Option<&'static Stack> {
    static STACK: OnceLock<Option<Stack>> = OnceLock::new();
    let stack = STACK.get_or_init(|| match start_new() {
        Ok(stack) => Some(stack),
        Err(why) => {
            let must = std::env::var("SOCIABLE_REQUIRE_STACK").is_ok_and(|v| v == "1");
            assert!(!must, "SOCIABLE_REQUIRE_STACK=1, but: {why}");
            crate::skip(&format!("tests with registries and engines: {why}"));
            None
        }
    });
    stack.as_ref()
}

fn script() -> Command {
    let mut command = Command::new("bash");
    command
        .arg(crate::here().join("stack/stack.sh"))
        .env("LAB", lab());
    command
}

/// Where stacks are prepared: `SOCIABLE_STACK`, else a place in the home directory.
fn lab() -> PathBuf {
    std::env::var_os("SOCIABLE_STACK").map_or_else(
        || {
            let home = std::env::var_os("HOME").unwrap_or_else(|| "/".into());
            Path::new(&home).join(".cache/sociable-stack")
        },
        PathBuf::from,
    )
}

fn start_new() -> Result<Stack, String> {
    let without = std::env::var("SOCIABLE_WITHOUT_STACK").unwrap_or_default();
    if !without.is_empty() {
        return Err(without);
    }
    let ready = run(script().arg("ready").stdin(Stdio::null()));
    if ready.code != Some(0) {
        return Err(ready.text().trim().to_owned());
    }
    // Between finding free ports and using them, another process may take one.
    let mut last = String::new();
    for _ in 0..3 {
        let [port, tls_port] = free_ports();
        match try_start(port, tls_port) {
            Ok(stack) => return Ok(stack),
            Err(why) => last = why,
        }
    }
    // What is prepared and possible must work: this is no skip.
    panic!("the stack does not start: {last}")
}

fn try_start(port: u16, tls_port: u16) -> Result<Stack, String> {
    let binary = crate::sociable([""; 0]).get_program().to_owned();
    let binary = fs::canonicalize(binary).expect("the binary's place");
    let dir = binary.parent().expect("a directory");
    let errors_in = crate::temp_dir();
    let log = errors_in.path().join("stack.log");
    let errors = fs::File::create(&log).expect("a log");
    let mut process = script()
        .arg("run")
        .env("STACK_BINDS", dir)
        .env("REGPORT", port.to_string())
        .env("TLSPORT", tls_port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .process_group(0)
        .spawn()
        .expect("run bash");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("read what the stack says");
    let Some(name) = line.trim().strip_prefix("ready ") else {
        let _ = process.wait();
        return Err(fs::read_to_string(&log).unwrap_or_default());
    };
    Ok(Stack {
        state: lab().join("stacks").join(name),
        name: name.to_owned(),
        port,
        tls_port,
        _process: process,
    })
}

/// Ports that nothing listens on, below those that the kernel gives to outgoing connections.
fn free_ports() -> [u16; 2] {
    let mut rng = Rng::new(u64::from(std::process::id()));
    let mut free = || loop {
        let port = 20_000 + u16::try_from(rng.below(12_000)).expect("small");
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return (port, listener);
        }
    };
    let (one, two) = (free(), free()); // both bound, so that they differ
    [one.0, two.0]
}

impl Stack {
    /// The registry over HTTP: `HOST:PORT`, the same inside and outside.
    pub fn registry(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The same storage over TLS: `HOST:PORT`, a name that only the inside knows. From outside it is `127.0.0.1` and this port.
    pub fn tls_registry(&self) -> String {
        format!("registry.lab:{}", self.tls_port)
    }

    /// The certificate that the registry over TLS is trusted by, as seen from outside; inside it is `/run/ca.crt`.
    pub fn ca(&self) -> PathBuf {
        self.state.join("run/ca.crt")
    }

    /// The socket of a Docker daemon, from outside.
    pub fn docker_socket(&self, docker: Docker) -> PathBuf {
        self.state.join("run").join(docker.socket())
    }

    /// The socket of containerd, from outside.
    pub fn containerd_socket(&self) -> PathBuf {
        self.state.join("run/containerd/containerd.sock")
    }

    /// A new directory with the same path inside and outside. It goes with the stack.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.state.join("work").join(name);
        fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    /// A command inside the stack, in the directory `/`, or in that given to [`Command::current_dir`] if it is seen inside.
    pub fn command<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Command {
        let mut command = script();
        command
            .arg("exec")
            .args(words)
            .env("STACK", &self.name)
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command inside the stack to its end: words separated by spaces, no shell.
    pub fn run(&self, line: &str) -> Run {
        run(&mut self.command(line.split_whitespace()))
    }

    /// Runs a container by `ctr`, of which something is expected to be said. On a busy machine `ctr` can end before it has passed on
    /// what the container said: then it is run again.
    pub fn said(&self, line: &str) -> Run {
        let mut said = self.run(line).ok();
        for _ in 0..3 {
            if !said.stdout.is_empty() {
                break;
            }
            said = self.run(line).ok();
        }
        said
    }

    /// A command line of the finished `sociable` inside the stack.
    pub fn sociable<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let binary = crate::sociable([""; 0]).get_program().to_owned();
        let binary = fs::canonicalize(binary).expect("the binary's place");
        let mut command = self.command(["env", "SOCIABLE_CACHE_DIR=/tmp/sociable-cache"]);
        command.arg(binary).args(args);
        command
    }

    /// Runs Docker's client inside the stack, with arguments separated by spaces.
    pub fn docker(&self, docker: Docker, arguments: &str) -> Run {
        let socket = docker.socket();
        self.run(&format!("docker --host unix:///run/{socket} {arguments}"))
    }

    /// Runs a command inside the stack and parses what it prints.
    #[track_caller]
    pub fn json(&self, line: &str) -> Value {
        let done = self.run(line).ok();
        serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {done}"))
    }

    /// What the registries have answered about a repository until now, in order for each.
    pub fn answers(&self, repository: &str) -> Vec<Answer> {
        let prefix = format!("/v2/{repository}/");
        let mut answers = Vec::new();
        for log in [
            "registry",
            "registry-tls",
            "registry-docker",
            "registry-docker-soci",
        ] {
            let log = self.state.join("logs").join(format!("{log}.log"));
            let log = fs::read_to_string(log).expect("access log");
            answers.extend(log.lines().filter_map(answer));
        }
        answers.retain(|a| a.path.starts_with(&prefix));
        answers
    }

    /// The digests of all manifests of a repository, tagged or not, as the registry stores them.
    pub fn manifests(&self, repository: &str) -> Vec<String> {
        let revisions = format!(
            "data/registry/docker/registry/v2/repositories/{repository}/_manifests/revisions/sha256"
        );
        let mut found: Vec<_> = fs::read_dir(self.state.join(revisions))
            .expect("a repository")
            .map(|entry| entry.expect("a repository"))
            // What was deleted leaves an empty directory.
            .filter(|entry| entry.path().join("link").exists())
            .map(|entry| entry.file_name())
            .map(|name| format!("sha256:{}", name.to_str().expect("hex")))
            .collect();
        found.sort();
        found
    }

    /// The end of a daemon's log, for messages.
    pub fn log(&self, daemon: &str, lines: usize) -> String {
        let log = self.state.join("logs").join(format!("{daemon}.log"));
        let log = fs::read_to_string(log).unwrap_or_default();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Docker {
    fn socket(self) -> &'static str {
        match self {
            Self::Eager => "docker.sock",
            Self::Lazy => "docker-soci.sock",
        }
    }
}

/// A line of Apache's combined log format: `HOST - - [TIME] "METHOD PATH HTTP/1.1" STATUS BYTES "REFERRER" "AGENT"`.
fn answer(line: &str) -> Option<Answer> {
    let parts: Vec<_> = line.split('"').collect();
    let [_, request, numbers, _, _, agent, ..] = parts[..] else {
        return None;
    };
    let mut request = request.split(' ');
    let mut numbers = numbers.split_whitespace();
    Some(Answer {
        method: request.next()?.to_owned(),
        path: request.next()?.to_owned(),
        status: numbers.next()?.parse().ok()?,
        bytes: numbers.next()?.parse().ok()?,
        agent: agent.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_access_log() {
        let line = r#"127.0.0.1 - - [25/Nov/2026:04:44:32 +0000] "GET /v2/out/blobs/sha256:0c5c HTTP/1.1" 206 10 "" "soci-snapshotter/1""#;
        let answer = answer(line).expect("an answer");
        assert_eq!(
            (&*answer.method, &*answer.path, answer.status, answer.bytes),
            ("GET", "/v2/out/blobs/sha256:0c5c", 206, 10)
        );
        assert_eq!(answer.agent, "soci-snapshotter/1");
        assert!(super::answer(r#"time="2026-11-25T04:42:23Z" level=info msg="redis""#).is_none());
    }
}
