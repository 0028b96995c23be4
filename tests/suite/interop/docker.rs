//! Images in and out of Docker: archives and daemons of both its kinds of stores.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sociable_tests::stack::{Docker, Stack, start};
use sociable_tests::{Run, run, sociable};

use super::{OUTPUT, context, text};

/// A Docker daemon.
struct Daemon {
    stack: &'static Stack,
    /// Its socket, from outside.
    socket: PathBuf,
    /// Its socket inside the stack.
    inside: String,
}

impl Daemon {
    /// One whose images are in containerd's store.
    fn containerd(stack: &'static Stack) -> Self {
        let socket = stack.docker_socket(Docker::Eager);
        Self::at(stack, socket)
    }

    /// One with a graph driver, started at the first call; it goes with the stack.
    fn graph(stack: &'static Stack) -> Self {
        // Kept, as it works until the stack ends.
        static STARTED: OnceLock<Child> = OnceLock::new();
        let socket = stack
            .docker_socket(Docker::Eager)
            .with_file_name("docker-graph.sock");
        let daemon = Self::at(stack, socket);
        STARTED.get_or_init(|| daemon.start_graph());
        daemon
    }

    fn at(stack: &'static Stack, socket: PathBuf) -> Self {
        let name = socket.file_name().expect("a name").to_string_lossy();
        let inside = format!("unix:///run/{name}");
        Self {
            stack,
            socket,
            inside,
        }
    }

    fn start_graph(&self) -> Child {
        let dir = self.stack.dir("docker-graph");
        let config = serde_json::json!({
            "features": {"containerd-snapshotter": false},
            "storage-driver": "vfs",
            "hosts": [self.inside],
            "data-root": dir.join("data"),
            "exec-root": "/run/docker-graph",
            "pidfile": "/run/docker-graph.pid",
            "containerd": "/run/containerd/containerd.sock",
            "bridge": "none",
            "iptables": false, "ip6tables": false, "ip-forward": false, "ip-masq": false,
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
        });
        let file = dir.join("daemon.json");
        fs::write(&file, config.to_string()).expect("a file");
        let log = fs::File::create(dir.join("log")).expect("a log");
        let mut command = self.stack.command(["dockerd", "--config-file"]);
        command.arg(&file).stdout(Stdio::null()).stderr(log);
        command.args(["--containerd-namespace", "docker-graph"]);
        command.args(["--containerd-plugins-namespace", "docker-graph-plugins"]);
        let child = command.spawn().expect("start dockerd");
        let begun = Instant::now();
        while self.docker("version").code != Some(0) {
            let log = || fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_mins(1), "{}", log());
            sleep(Duration::from_millis(200));
        }
        child
    }

    fn docker(&self, arguments: &str) -> Run {
        let words = ["docker", "--host", &self.inside];
        let mut command = self.stack.command(words);
        run(command
            .args(arguments.split_whitespace())
            .current_dir(context(self.stack)))
    }

    fn sociable<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = sociable(arguments);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command
    }
}

/// Checks a converted image: every claim of its index, and a file.
#[track_caller]
fn check(layout: &str) {
    let verified = run(&mut sociable(["verify", layout])).ok();
    assert!(verified.text().contains("1 zTOC "), "{verified}");
    let file = run(&mut sociable(["cat", layout, "/data/start"])).ok();
    assert_eq!(file.stdout.len(), super::START);
}

/// The digests of the tars of an image that Docker has.
fn diff_ids(daemon: &Daemon, image: &str) -> String {
    // One word, as arguments are separated by spaces.
    let asked = format!("image inspect --format {{{{.RootFS.Layers}}}} {image}");
    daemon.docker(&asked).ok().text()
}

#[test]
fn a_graph_drivers_image() {
    let Some(stack) = start() else { return };
    let daemon = Daemon::graph(stack);
    let _ = daemon
        .docker("build --quiet --network none --tag graph:in .")
        .ok();
    let dir = stack.dir("from-graph");
    let at = |name: &str| dir.join(name).display().to_string();

    // As it is exported, and as it was saved: the same image, layers packed.
    let (export, save) = (
        format!("oci:{}", at("export")),
        format!("oci:{}", at("save")),
    );
    let made = run(&mut daemon.sociable(["convert", "docker-daemon:graph:in", &export])).ok();
    assert!(made.stderr.contains("compressed anew"), "{made}");
    check(&export);
    let _ = daemon
        .docker(&format!("save --output {} graph:in", at("saved.tar")))
        .ok();
    let archive = format!("docker-archive:{}:graph:in", at("saved.tar"));
    let _ = run(&mut sociable(["convert", &archive, &save])).ok();
    let index =
        |layout: &str| fs::read(Path::new(&at(layout)).join("index.json")).expect("an image");
    assert_eq!(index("export"), index("save"));

    // Another Docker starts it, and sees the same tars.
    let other = Daemon::containerd(stack);
    let _ = run(&mut other.sociable(["convert", &archive, "docker-daemon:graph:out"])).ok();
    assert_eq!(diff_ids(&other, "graph:out"), diff_ids(&daemon, "graph:in"));
    let started = other.docker("run --rm --network none graph:out").ok();
    assert_eq!(started.text().trim(), OUTPUT);
    let listed = run(&mut other.sociable(["verify", "docker-daemon:graph:out"])).ok();
    assert!(listed.text().contains("all claims hold"), "{listed}");

    // This one could not keep the index, and is not asked to.
    let before = daemon.docker("image ls --all --quiet").ok().text();
    let refused =
        run(&mut daemon.sociable(["convert", &archive, "docker-daemon:graph:out"])).refused();
    assert!(refused.stderr.contains("its store (vfs)"), "{refused}");
    assert!(
        refused.stderr.contains("containerd-snapshotter"),
        "{refused}"
    );
    assert_eq!(daemon.docker("image ls --all --quiet").ok().text(), before);
}

#[test]
fn an_image_in_containerds_store() {
    let Some(stack) = start() else { return };
    let daemon = Daemon::containerd(stack);
    let _ = daemon
        .docker("build --quiet --network none --tag store:in .")
        .ok();
    let made = run(&mut daemon.sociable([
        "convert",
        "docker-daemon:store:in",
        "docker-daemon:store:out",
    ]))
    .ok();
    assert!(!made.stderr.contains("compressed anew"), "{made}");
    // Index and annotations are kept: they come out again, and reach a registry.
    let layout = format!("oci:{}", stack.dir("from-store").join("out").display());
    let _ = run(&mut daemon.sociable(["convert", "docker-daemon:store:out", &layout])).ok();
    check(&layout);
    let _ = run(&mut daemon.sociable(["verify", "docker-daemon:store:out"])).ok();
    let pushed = format!("{}/store:out", stack.registry());
    let _ = daemon.docker(&format!("tag store:out {pushed}")).ok();
    let _ = daemon.docker(&format!("push --quiet {pushed}")).ok();
    let index = stack.json(&format!(
        "skopeo inspect --raw --tls-verify=false docker://{pushed}"
    ));
    let kinds: Vec<_> = super::manifests(&index)
        .iter()
        .map(|m| text(&m["artifactType"]))
        .collect();
    assert!(
        kinds.contains(&"application/vnd.amazon.soci.index.v2+json"),
        "{index}"
    );
    let started = daemon.docker("run --rm --network none store:out").ok();
    assert_eq!(started.text().trim(), OUTPUT);
    let refused = run(&mut daemon.sociable(["ls", "docker-daemon:nowhere:1"])).refused();
    assert!(refused.stderr.contains("it has no such image"), "{refused}");
}

#[test]
fn a_load_that_breaks_off_leaves_nothing() {
    let Some(stack) = start() else { return };
    let daemon = Daemon::containerd(stack);
    let _ = daemon
        .docker("build --quiet --network none --tag broken:in .")
        .ok();
    let archive = stack.dir("broken").join("saved.tar");
    let _ = daemon
        .docker(&format!("save --output {} broken:in", archive.display()))
        .ok();
    let mut bytes = fs::read(&archive).expect("an archive");
    // In the middle of the largest layer.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = archive.with_file_name("damaged.tar");
    fs::write(&damaged, bytes).expect("an archive");
    let source = format!("docker-archive:{}", damaged.display());
    let refused =
        run(&mut daemon.sociable(["convert", &source, "docker-daemon:broken:out"])).refused();
    assert!(refused.stderr.contains("damaged"), "{refused}");
    assert_eq!(daemon.docker("image ls --quiet broken:out").ok().text(), "");
}
