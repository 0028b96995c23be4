//! A registry that wants a password: who has it is let in, and it stays a secret.

use std::fs;

use sociable_tests::daemons::{self, OwnRegistry};
use sociable_tests::frontend::{Builder, base};
use sociable_tests::rng::Rng;
use sociable_tests::stack::{self, Stack};
use sociable_tests::{Run, run};

use super::project::Project;

const PASSWORD: &str = "secret-of-the-build";
/// The user and [`PASSWORD`], as a registry of Docker's keeps it.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuoVyKAupK8JkC4YffDbxe0SbnFgTWtha\n";
/// `user:secret-of-the-build` and `user:wrong`, as Docker's configuration keeps it.
const RIGHT: &str = "dXNlcjpzZWNyZXQtb2YtdGhlLWJ1aWxk";
const WRONG: &str = "dXNlcjp3cm9uZw==";

/// A registry with a password, and something to be pushed there, with files that hold the right password and a wrong one.
fn with_password(stack: &'static Stack, name: &str) -> (OwnRegistry, Project) {
    let passwords = stack.dir(&format!("{name}-passwords")).join("htpasswd");
    fs::write(&passwords, HTPASSWD).expect("a file");
    let auth = format!(
        "auth: {{htpasswd: {{realm: lab, path: {}}}}}",
        passwords.display()
    );
    let own = daemons::registry(stack, &format!("{name}-registry"), "", &auth);
    let noise = Rng::new(23).noise(2 << 20);
    let dockerfile = format!(
        "FROM {}\nCOPY data /data\nRUN echo hello >/hello\nLABEL known=word\n",
        base(stack)
    );
    let login = |auth: &str| format!("{{\"auths\":{{\"{}\":{{\"auth\":\"{auth}\"}}}}}}", own.host);
    let (right, wrong) = (login(RIGHT), login(WRONG));
    let files: &[(&str, &[u8])] = &[
        ("data", &noise),
        ("Dockerfile", dockerfile.as_bytes()),
        ("right.json", right.as_bytes()),
        ("wrong.json", wrong.as_bytes()),
    ];
    let project = Project::new(stack, name, files);
    (own, project)
}

fn build(project: &Project, own: &OwnRegistry, output: &str, arguments: &[&str]) -> Run {
    let options = [
        format!("OUTPUT={output}"),
        format!("REPO={}/app:1", own.host),
        format!("PLAIN_HTTP={},{}", own.host, project.stack.registry()),
    ];
    let options = options.each_ref().map(String::as_str);
    let mut build = project.sociable(Builder::Buildkitd, &options);
    run(build.args(arguments).arg("."))
}

#[test]
fn without_the_password_nothing_is_pushed() {
    let Some(stack) = stack::start() else { return };
    let (own, project) = with_password(stack, "secrets-refused");
    let push = |secret: &[&str]| {
        let arguments = [&["--output", "type=cacheonly"], secret].concat();
        build(&project, &own, "push", &arguments)
    };
    let without = push(&[]);
    assert_ne!(without.code, Some(0), "{without}");
    for word in ["401 Unauthorized", "--secret id=soci-registry"] {
        assert!(without.stderr.contains(word), "{}", without.stderr);
    }
    let wrong = push(&["--secret", "id=soci-registry,src=wrong.json"]);
    assert_ne!(wrong.code, Some(0), "{wrong}");
    for word in ["401 Unauthorized", "were not accepted"] {
        assert!(wrong.stderr.contains(word), "{}", wrong.stderr);
    }
    let _ = push(&["--secret", "id=soci-registry,src=right.json"]).ok();
}

/// Neither in what the build says, nor in what it makes: layers, config, history, provenance.
#[test]
fn the_password_is_nowhere() {
    let Some(stack) = stack::start() else { return };
    let (own, project) = with_password(stack, "secrets");
    let image = format!("{}/app:1", own.host);
    // BuildKit's exporter takes it from Docker's configuration.
    let login = format!(
        "crane auth login {} --username user --password {PASSWORD}",
        own.host
    );
    let _ = stack.run(&login).ok();
    let mut arguments = vec!["--secret", "id=soci-registry,src=right.json"];
    arguments.extend(["--provenance=mode=max", "--tag", &image, "--push"]);
    let made = build(&project, &own, "image", &arguments).ok();
    let has = |needle: &str| {
        let stored = stack.run(&format!("grep -rlF {needle} {}", own.storage));
        let export = format!("crane export {image} - | grep -cF {needle}");
        let exported = run(&mut stack.command(["bash", "-c", &export]));
        made.stderr.contains(needle) || !stored.text().is_empty() || exported.text().trim() != "0"
    };
    for secret in [PASSWORD, RIGHT] {
        assert!(!has(secret), "{secret} can be read");
    }
    // What is there is found: in the config, in a layer, in the provenance.
    for word in ["known", "hello", "buildType"] {
        assert!(has(word), "{word}");
    }
}
