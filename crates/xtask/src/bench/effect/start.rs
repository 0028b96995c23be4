//! One cold start: a new stack, whose soci-snapshotter knows nothing yet, runs a workload, and its registry says what it sent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::image::Workload;
use crate::{sh, stack};

/// The stack's registry.
const HOST: &str = "127.0.0.1:5400";
const IMAGE: &str = "127.0.0.1:5400/app:1";

/// How long the registry must have logged nothing: the kernel may still read ahead when a workload has ended.
const QUIET: Duration = Duration::from_millis(500);

/// Which of the stack's Docker Engines starts the container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    /// Layers are pulled and unpacked before.
    Eager,
    /// Layers are mounted by soci-snapshotter.
    Lazy,
}

/// What a start has fetched: bytes of bodies, as the registry counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) ztocs: u64,
    pub(super) layers: u64,
    /// Manifests, configs, the SOCI index.
    pub(super) others: u64,
    /// How many requests the bytes of layers took.
    pub(super) requests: u64,
}

impl Fetched {
    pub(super) fn total(&self) -> u64 {
        self.ztocs + self.layers + self.others
    }
}

struct Stack;

impl Stack {
    fn script(words: &[&str]) -> Command {
        let mut script = stack::script(words);
        script.envs([
            ("STACK", "effect"),
            ("REGPORT", "5400"),
            ("TLSPORT", "5843"),
        ]);
        script
    }

    fn up() -> Result<Self> {
        sh::run(&mut Self::script(&["down"]))?;
        let up = Self::script(&["up"]).stdin(Stdio::null()).output()?;
        let log = String::from_utf8_lossy(&up.stderr);
        ensure!(up.status.success(), "the stack did not start:\n{log}");
        Ok(Self)
    }

    /// What a command inside prints.
    fn read(words: &[&str]) -> Result<String> {
        let printed = sh::read(&mut Self::script(&[&["exec"], words].concat()))?;
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Err(error) = sh::run(&mut Self::script(&["down"])) {
            eprintln!("the stack did not stop: {error:#}");
        }
    }
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::Eager => "docker",
            Self::Lazy => "docker-soci",
        }
    }

    fn run(self, words: &[&str]) -> Result<String> {
        let socket = format!("unix:///run/{}.sock", self.name());
        let run = ["docker", "--host", &socket, "run", "--quiet"];
        Stack::read(&[&run[..], &["--network=none", IMAGE], words].concat())
    }
}

/// What the registries have logged, once nothing is added any more. Docker and soci-snapshotter do not ask the same one.
fn log() -> Result<String> {
    let read = || Stack::read(&["sh", "-c", "cat /var/log/stack/registry*.log"]);
    let mut log = read()?;
    loop {
        sleep(QUIET);
        let now = read()?;
        if now == log {
            return Ok(log);
        }
        log = now;
    }
}

/// Starts a container of the image in a layout, and runs a workload to its end.
pub(super) fn start(
    sociable: &Path,
    layout: &Path,
    engine: Engine,
    workload: &Workload,
) -> Result<Fetched> {
    let _stack = Stack::up()?;
    let mut copy = Command::new(sociable);
    copy.args(["copy", "--quiet", "--plain-http", HOST])
        .arg(format!("oci:{}", layout.display()))
        .arg(format!("docker://{IMAGE}"));
    sh::read(&mut copy)?;
    Stack::read(&["sh", "-c", "truncate --size 0 /var/log/stack/registry*.log"])?;
    let printed = engine.run(workload.words)?;
    ensure!(
        printed.contains(workload.prints),
        "{:?} printed {printed:?}",
        workload.words
    );
    let fetched = fetched(&log()?, &layers_and_ztocs(layout)?);
    if engine == Engine::Lazy {
        let mounts = engine.run(&["cat", "/proc/mounts"])?;
        on_fuse(&mounts, &Stack::read(&["cat", "/proc/mounts"])?)?;
    }
    Ok(fetched)
}

/// The image's layer, the lowest of what a container's root is made of, is mounted by FUSE. On top of it is one of Docker's own.
fn on_fuse(container: &str, stack: &str) -> Result<()> {
    let mut mounts = container.lines();
    let root = mounts.find(|line| line.starts_with("overlay / "));
    let root = root.with_context(|| format!("no overlay:\n{container}"))?;
    let mut options = root.split([' ', ',']);
    let lower = options.find_map(|option| option.strip_prefix("lowerdir="));
    let layer = lower.and_then(|lower| lower.split(':').next_back());
    let layer = layer.with_context(|| format!("no layers: {root}"))?;
    let fuse = format!(" {layer} fuse");
    ensure!(stack.contains(&fuse), "{layer} is not mounted by FUSE");
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Layer,
    Ztoc,
}

/// The blobs of a layout that are no documents, by digest.
fn layers_and_ztocs(layout: &Path) -> Result<BTreeMap<String, Kind>> {
    let mut found = BTreeMap::new();
    let mut files = vec![layout.join("index.json")];
    while let Some(file) = files.pop() {
        let document: Value = serde_json::from_slice(&fs::read(&file)?)?;
        let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
        let digest = |blob: &Value| blob["digest"].as_str().unwrap_or_default().to_owned();
        for manifest in list("manifests") {
            files.push(
                layout
                    .join("blobs")
                    .join(digest(&manifest).replace(':', "/")),
            );
        }
        for blob in list("layers") {
            let kind = match blob["mediaType"].as_str() {
                Some("application/octet-stream") => Kind::Ztoc,
                _ => Kind::Layer,
            };
            found.insert(digest(&blob), kind);
        }
    }
    Ok(found)
}

/// Sums up the log, whose lines are of the kind `HOST - - [TIME] "GET PATH HTTP/1.1" STATUS BYTES "REFERRER" "AGENT"`.
fn fetched(log: &str, blobs: &BTreeMap<String, Kind>) -> Fetched {
    let mut sum = Fetched::default();
    for line in log.lines() {
        let Some((_, request)) = line.split_once("\"GET /v2/app/") else {
            continue;
        };
        let mut words = request.split(' ');
        let path = words.next().unwrap_or_default();
        let bytes = words.nth(2).and_then(|b| b.parse().ok()).unwrap_or(0);
        match blobs.get(path.trim_start_matches("blobs/")) {
            Some(Kind::Ztoc) => sum.ztocs += bytes,
            Some(Kind::Layer) => {
                sum.layers += bytes;
                sum.requests += 1;
            }
            None => sum.others += bytes,
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_summed_up() {
        let log = r#"
127.0.0.1 - - [25/Nov/2026:04:44:32 +0000] "GET /v2/app/blobs/sha256:1 HTTP/1.1" 206 10 "" "soci-snapshotter/1"
time="2026-11-25T04:42:23Z" level=info msg="GET"
127.0.0.1 - - [25/Nov/2026:04:44:32 +0000] "GET /v2/app/blobs/sha256:1 HTTP/1.1" 206 20 "" "soci-snapshotter/1"
127.0.0.1 - - [25/Nov/2026:04:44:32 +0000] "GET /v2/app/blobs/sha256:2 HTTP/1.1" 200 3 "" "soci-snapshotter/1"
127.0.0.1 - - [25/Nov/2026:04:44:32 +0000] "HEAD /v2/app/manifests/1 HTTP/1.1" 200 5 "" "docker"
127.0.0.1 - - [25/Nov/2026:04:44:32 +0000] "GET /v2/app/manifests/1 HTTP/1.1" 200 5 "" "docker""#;
        let kind = |digest: &str, kind| (format!("sha256:{digest}"), kind);
        let blobs = BTreeMap::from([kind("1", Kind::Layer), kind("2", Kind::Ztoc)]);
        let sum = Fetched {
            ztocs: 3,
            layers: 30,
            others: 5,
            requests: 2,
        };
        assert_eq!(fetched(log, &blobs), sum);
    }

    #[test]
    fn layers_on_fuse_and_others() {
        let stack = "soci /snap/1/fs fuse.rawBridge rw 0 0\n/dev/vda /snap ext4 rw 0 0";
        let container =
            |lower: &str| format!("overlay / overlay rw,lowerdir={lower},upperdir=/u 0 0");
        assert!(on_fuse(&container("/snap/2/fs:/snap/1/fs"), stack).is_ok());
        assert!(on_fuse(&container("/snap/1/fs:/snap/2/fs"), stack).is_err());
        assert!(on_fuse("", stack).is_err());
    }
}
