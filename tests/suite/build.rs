//! `sociable build` without a docker: what docker would be told.

use std::fs;

use sociable_tests::{Run, run, sociable, temp_dir};

use crate::s;

const SECRET: &str = "dTpzM2NyZXQ=";

fn dry_run(args: &[&str]) -> Run {
    let dir = temp_dir();
    let auth = dir.path().join("auth.json");
    let config = format!(r#"{{"auths":{{"r.example":{{"auth":"{SECRET}"}}}}}}"#);
    fs::write(&auth, config).expect("write a file");
    let mut command = sociable(["build", "--dry-run", "--authfile", &s(&auth)]);
    command
        .args(args)
        .env_remove("SOCIABLE_FRONTEND")
        .env_remove("SOCIABLE_PLAIN_HTTP")
        .env("SOCIABLE_CA_FILE", "");
    run(&mut command)
}

#[test]
fn a_dry_run_shows_the_command_and_no_secret() {
    let run = dry_run(&["-qt", "r.example/a:1", "--push", "--frontend=f:1", "."]).ok();
    assert_eq!(
        run.text(),
        "docker buildx build --build-arg 'BUILDKIT_SYNTAX=f:1' --build-arg 'SOCI_OUTPUT=image' \
         --build-arg 'SOCI_REPO=r.example/a' --secret 'id=soci-registry,env=SOCIABLE_REGISTRY_AUTH' \
         --quiet --tag r.example/a:1 --push .\n"
    );
    for secret in [SECRET, "s3cret"] {
        assert!(!format!("{run}").contains(secret), "{run}");
    }
}

#[test]
fn the_frontend_is_that_of_this_version() {
    let version = run(&mut sociable(["--version"])).ok().text();
    let version = version.split_whitespace().last().expect("a version");
    let shown = dry_run(&["-o", "type=oci,dest=a.tar", "."]).ok().text();
    let frontend = format!("BUILDKIT_SYNTAX=ghcr.io/sociable/frontend:{version}'");
    assert!(shown.contains(&frontend), "{shown}");
}

#[test]
fn outputs_that_cannot_be_had_are_wrong_usage() {
    for args in [
        &["-o", "out", "."][..],
        &["-o", "type=oci,dest=a", "--push", "-t", "a", "."],
        &["--push", "."],
        &["--soci-level", "12", "."],
    ] {
        let run = dry_run(args);
        assert_eq!(run.code, Some(2), "{run}");
        assert!(
            run.text().is_empty() && run.stderr.contains("error: "),
            "{run}"
        );
    }
}

#[test]
fn without_docker_it_is_said_what_to_do() {
    let mut command = sociable(["build", "."]);
    let run = run(command.env("PATH", temp_dir().path())).refused();
    assert!(run.stderr.contains("hint: install Docker"), "{run}");
}

#[test]
fn docker_is_told_what_the_plugin_is() {
    let dir = temp_dir();
    let plugin = dir.path().join("docker-sociable");
    let binary = sociable([""; 0]).get_program().to_owned();
    let binary = fs::canonicalize(binary).expect("the binary's place");
    std::os::unix::fs::symlink(binary, &plugin).expect("a link");
    let metadata = run(std::process::Command::new(&plugin).arg("docker-cli-plugin-metadata")).ok();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    assert_eq!(metadata["SchemaVersion"], "0.1.0");
    let mut command = std::process::Command::new(&plugin);
    command
        .args(["--context", "far", "sociable", "build", "--dry-run", "."])
        .env("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "/opt/docker");
    let shown = run(&mut command).ok().text();
    assert_eq!(shown, "/opt/docker --context far buildx build .\n");
}
