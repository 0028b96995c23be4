//! Sociable among others: images that others made, readers that others wrote, and containers that start lazily.
//!
//! Everything runs in one real stack ([`sociable_tests::stack`]). Nothing comes from outside: images are `FROM scratch` with
//! a static busybox and generated files, large enough that the default options index them.

mod build;
mod containerd;
mod copies;
mod docker;
mod inputs;
mod lazy;
mod listing;
mod readers;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use sociable_tests::rng::Rng;
use sociable_tests::stack::Stack;
use sociable_tests::{Run, run, sociable};

/// The file that a container reads when it starts, at the front of the layer.
const START: usize = 65_536;
/// The file behind it, which nothing reads: several spans of incompressible bytes, more than the smallest layer to be indexed.
const COLD: usize = 24 << 20;
/// What a container prints.
const OUTPUT: &str = "65536 /data/start";

/// A build context: a Dockerfile, busybox and the files. It makes a small layer and a large one.
fn context(stack: &'static Stack) -> &'static Path {
    static CONTEXT: OnceLock<PathBuf> = OnceLock::new();
    CONTEXT.get_or_init(|| {
        let dir = stack.dir("context");
        let mut rng = Rng::new(61);
        fs::write(dir.join("start"), rng.noise(START)).expect("a file");
        fs::write(dir.join("cold"), rng.noise(COLD)).expect("a file");
        let _ = stack
            .run(&format!("cp /usr/bin/busybox {}", dir.display()))
            .ok();
        let dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY start cold /data/\n\
            ENTRYPOINT [\"/bin/busybox\"]\nCMD [\"wc\", \"-c\", \"/data/start\"]\n";
        fs::write(dir.join("Dockerfile"), dockerfile).expect("a file");
        dir
    })
}

/// Makes an image inside the stack with a script, whose `$IN` is the image's name and whose directory is the build context.
#[track_caller]
fn make(stack: &'static Stack, name: &str, script: &str) -> String {
    let image = format!("{}/{name}:in", stack.registry());
    let mut command = stack.command(["env", &format!("IN={image}")]);
    command
        .args([
            "DOCKER_HOST=unix:///run/docker.sock",
            "bash",
            "-euxc",
            script,
        ])
        .current_dir(context(stack));
    let _ = run(&mut command).ok();
    image
}

/// `sociable convert` from one tag of a repository to another.
fn convert(stack: &Stack, from: &str, options: &[&str]) -> Run {
    let to = format!("docker://{}", from.replace(":in", ":out"));
    let mut command = sociable(["convert", &format!("docker://{from}"), &to]);
    command
        .args(["--plain-http", &stack.registry(), "--no-cache"])
        .args(options);
    run(&mut command)
}

/// The descriptors of an index.
fn manifests(index: &Value) -> &[Value] {
    index["manifests"].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
