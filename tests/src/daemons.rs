//! Daemons of a test's own, inside a stack and on its host's network. They end with the stack.

use std::fs;
use std::net::TcpListener;

use crate::run;
use crate::stack::Stack;

/// A registry with a storage of its own, which nothing but its builders on the host's network reach: `buildkitd`, not Docker's.
#[derive(Debug)]
pub struct OwnRegistry {
    /// `HOST:PORT`.
    pub host: String,
    /// Its configuration, inside the stack.
    pub config: String,
    /// Its storage, inside the stack.
    pub storage: String,
}

/// Starts a registry.
///
/// # Arguments
/// - `storage`: more keys of `storage` in its configuration, each ending with a comma
/// - `more`: more lines of the configuration
pub fn registry(stack: &Stack, name: &str, storage: &str, more: &str) -> OwnRegistry {
    // It is free for the moment: nothing else in the stack looks for a port.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let host = port.expect("a free port").to_string();
    let own = OwnRegistry {
        config: format!("{}/config.yml", stack.dir(name).display()),
        storage: format!("/tmp/{name}"),
        host,
    };
    let OwnRegistry {
        host,
        config,
        storage: root,
    } = &own;
    let text = format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\n\
        storage: {{{storage} filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}\n\
        http: {{addr: \"{host}\"}}\n{more}\n"
    );
    fs::write(config, text).expect("a configuration");
    let connect = format!("echo >/dev/tcp/{}", host.replace(':', "/"));
    start(
        stack,
        name,
        &format!("docker-registry serve {config}"),
        &connect,
    );
    own
}

/// Starts another buildkitd, with an empty cache: the name by which `docker buildx` knows it.
pub fn buildkitd(stack: &Stack, name: &str) -> String {
    let socket = format!("unix:///run/{name}.sock");
    // The place of the stack's own is none of memory, and no overlay.
    let daemon = format!(
        "buildkitd --config /run/buildkitd.toml --root /var/lib/buildkit/{name} --addr {socket}"
    );
    start(stack, name, &daemon, &format!("test -S /run/{name}.sock"));
    let create = format!("docker buildx create --name {name} --driver remote {socket}");
    let _ = stack.run(&create).ok();
    name.to_owned()
}

/// Starts Docker as it is with its old image store: its socket, as the client takes it.
pub fn old_docker(stack: &Stack, name: &str) -> String {
    let socket = format!("unix:///run/{name}.sock");
    let config = stack.dir(name).join("daemon.json");
    let text = serde_json::json!({
        "features": {"containerd-snapshotter": false}, "storage-driver": "vfs", "hosts": [socket],
        "data-root": format!("/var/lib/docker/{name}"), "exec-root": format!("/run/{name}"),
        "pidfile": format!("/run/{name}.pid"), "containerd": "/run/containerd/containerd.sock",
        // The network is the host's: nothing of it may change.
        "bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false, "ip-masq": false,
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
    });
    fs::write(&config, text.to_string()).expect("a configuration");
    let daemon = format!(
        "dockerd --config-file {} --containerd-namespace {name} --containerd-plugins-namespace {name}-plugins",
        config.display()
    );
    start(
        stack,
        name,
        &daemon,
        &format!("docker --host {socket} version"),
    );
    socket
}

/// Starts a daemon, and waits until the command `ready` succeeds.
#[track_caller]
fn start(stack: &Stack, name: &str, daemon: &str, ready: &str) {
    let script = format!(
        "setsid {daemon} >/var/log/stack/{name}.log 2>&1 </dev/null &\n\
        for ((i = 0; i < 300; i++)); do\n\
        ({ready}) >/dev/null 2>&1 && exit; sleep 0.05\n\
        done\n\
        tail -n 5 /var/log/stack/{name}.log >&2; exit 1"
    );
    let _ = run(&mut stack.command(["bash", "-c", &script])).ok();
}
