//! `sociable build` with a real docker: what it passes on, and what it says of it. With its frontend, elsewhere.

use std::fs;
use std::process::Stdio;

use serde_json::Value;
use sociable_tests::stack::{Stack, start};
use sociable_tests::{Run, run};

use super::context;

/// Runs it in the build context, with a Dockerfile on standard input.
fn build(stack: &'static Stack, dockerfile: &str, args: &[&str]) -> Run {
    let name = sociable_tests::sha256(dockerfile.as_bytes()).replace(':', "-");
    let file = stack.dir("build").join(name);
    fs::write(&file, dockerfile).expect("a file");
    let mut command = stack.sociable(["build", "-f", "-"]);
    command
        .args(args)
        .arg(".")
        .current_dir(context(stack))
        .stdin(Stdio::from(fs::File::open(&file).expect("a file")));
    run(&mut command)
}

const PLAIN: &str = "FROM scratch\nCOPY start /start\n";

#[test]
fn a_build_without_an_index_says_so() {
    let Some(stack) = start() else { return };
    let run = build(stack, PLAIN, &["-t", "build-plain:1", "--json"]).ok();
    assert!(run.stderr.contains("makes no SOCI index"), "{run}");
    let made: Value = serde_json::from_slice(&run.stdout).expect("JSON alone");
    let image = stack.json("docker --host unix:///run/docker.sock image inspect build-plain:1");
    assert_eq!(made["digest"], image[0]["Id"], "{run}");
    let quiet = build(stack, PLAIN, &["-t", "build-plain:2", "-q"]).ok();
    assert!(
        quiet.text().starts_with("sha256:") && quiet.stderr.is_empty(),
        "{quiet}"
    );
    assert_eq!(quiet.text().lines().count(), 1, "{quiet}");
}

#[test]
fn what_docker_says_is_what_we_say() {
    let Some(stack) = start() else { return };
    let failed = build(stack, "FROM scratch\nCOPY nothing /\n", &[]).refused();
    assert!(failed.stderr.contains("nothing"), "{failed}");
    assert!(!failed.stderr.contains("hint:"), "{failed}");
    let unknown = build(stack, PLAIN, &["--flag-of-nobody"]);
    assert_eq!(unknown.code, Some(125), "{unknown}");
    let nowhere = build(stack, PLAIN, &["--builder", "nobody"]).refused();
    assert!(
        nowhere
            .stderr
            .contains("hint: the builder cannot be reached"),
        "{nowhere}"
    );
}

#[test]
fn who_stops_it_stops_docker() {
    let Some(stack) = start() else { return };
    let dir = stack.dir("build-slow");
    fs::write(
        dir.join("Dockerfile"),
        "FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"sleep\", \"100\"]\n",
    )
    .expect("a file");
    let _ = stack
        .run(&format!("cp /usr/bin/busybox {}", dir.display()))
        .ok();
    let sociable = stack.sociable(["build", "--builder", "rem", "--progress", "plain", "."]);
    // What `sociable` would run inside, under `timeout`: a signal for it alone.
    let words: Vec<_> = sociable
        .get_args()
        .skip_while(|word| *word != "env")
        .collect();
    let mut command = stack.command([
        "timeout",
        "--foreground",
        "--preserve-status",
        "-s",
        "TERM",
        "5",
    ]);
    command.args(words).current_dir(&dir);
    let stopped = run(&mut command);
    assert_eq!(stopped.code, Some(130), "{stopped}");
    assert!(
        stopped.stderr.contains("sleep") && stopped.stderr.contains("cancel"),
        "{stopped}"
    );
    let left = stack.run("pgrep -f buildx.build.*rem");
    assert_eq!(left.code, Some(1), "docker still runs: {left}");
}

#[test]
fn docker_knows_it_as_a_plugin() {
    let Some(stack) = start() else { return };
    let sociable = stack.sociable([""; 0]);
    let binary = sociable.get_args().last().expect("the binary").to_owned();
    let script =
        "mkdir -p ~/.docker/cli-plugins && ln -sf \"$0\" ~/.docker/cli-plugins/docker-sociable";
    let mut link = stack.command(["bash", "-euc", script]);
    let _ = run(link.arg(&binary)).ok();
    assert!(stack.run("docker --help").ok().text().contains("sociable*"));
    let mut command = stack.command([
        "docker",
        "--host",
        "unix:///run/docker.sock",
        "sociable",
        "build",
        "-q",
        "-t",
        "build-plugin",
        ".",
    ]);
    let built = run(command.current_dir(context(stack))).ok();
    let _ = stack
        .run("docker --host unix:///run/docker.sock image inspect build-plugin")
        .ok();
    assert!(built.text().starts_with("sha256:"), "{built}");
    let help = stack.run("docker help sociable build").ok().text();
    assert!(help.contains("--soci-span-size"), "{help}");
}
