//! The guide to a first policy, run from its first command to its last.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sociable_tests::console::commands;
use sociable_tests::frontend::image;
use sociable_tests::{here, run_for, skip, sociable, stack};

#[test]
fn the_guides_commands_work() {
    let Some(stack) = stack::start() else {
        return;
    };
    if sociable_tests::plugins::component("sociable_file_aligned").is_none() {
        return;
    }
    let project = here().join("..").canonicalize().expect("the project");
    let text = fs::read_to_string(project.join("docs/first-policy.md")).expect("the guide");
    let commands = commands(&text);
    assert!(commands.len() >= 18, "{commands:?}");
    let binary = PathBuf::from(sociable([""; 0]).get_program());
    let path = format!(
        "{}:{}",
        binary.parent().expect("a directory").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut dir = stack.dir("guide");
    for command in commands {
        // What a reader's names stand for here.
        let line = command
            .replace("ghcr.io/sociable/frontend:0.1.0", image(stack))
            .replace("registry.example", &stack.registry());
        if let Some(into) = line.strip_prefix("cd ") {
            dir = dir.join(into);
            continue;
        }
        if line.starts_with("rustup") {
            skip("guide: `rustup target add` was done before");
            continue;
        }
        let mut shell = if line.starts_with("docker ") {
            let docker = "DOCKER_HOST=unix:///run/docker.sock";
            let line = format!("{line} --builder rem --progress plain");
            stack.command(["env", docker, "sh", "-ec", &line])
        } else {
            let mut shell = Command::new("sh");
            shell.args(["-ec", &line]);
            shell
                .env("PATH", &path)
                .env("SOCIABLE_PLAIN_HTTP", stack.registry())
                .env("SOCIABLE_POLICY_SDK", project.join("crates/policy-sdk"))
                .env_remove("CARGO_TARGET_DIR");
            shell
        };
        let done = run_for(shell.current_dir(&dir), Duration::from_mins(10));
        assert_eq!(done.code, Some(0), "{command}: {done}");
        if line.starts_with("sociable inspect") {
            assert!(done.text().contains("by-directory 0.1.0"), "{done}");
        }
    }
}
