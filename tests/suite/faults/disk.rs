//! A disk that fills up while an image is fetched.

use std::process::Command;

use sociable_tests::{Run, run, skip};

use super::Lab;
use crate::s;

/// A file system of 3 MiB in mounts of its own; what is run there; then there is room, and it is run again.
const SCRIPT: &str = r#"
dir=$1; shift
mount -t tmpfs -o size=3m none "$dir" || exit 99
"$@"; code=$?
test -e "$dir/to/index.json" && echo 'there is an index.json'
mount -o remount,size=16m "$dir" || exit 99
"$@" >&2 || { echo "again: $?"; exit 98; }
test -e "$dir/to/index.json" || echo 'there is no index.json'
exit $code
"#;

/// Whether this user may have mounts of its own.
fn may_mount() -> bool {
    let mut try_it = Command::new("unshare");
    try_it.args(["--user", "--map-root-user", "--mount"]);
    let done = try_it
        .args(["mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    done.is_ok_and(|done| done.status.success())
}

fn within(lab: &Lab, command: &Command) -> Run {
    let disk = lab.dir.path().join("disk");
    std::fs::create_dir_all(&disk).expect("a directory");
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT]);
    wrapped.args(["sh", &s(&disk)]);
    wrapped
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(std::process::Stdio::null());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    run(&mut wrapped)
}

#[test]
fn no_room() {
    if !may_mount() {
        skip(
            "faults::disk::no_room: it needs a file system of its own, which this user may not mount",
        );
        return;
    }
    let Some(lab) = Lab::new("no_room") else {
        return;
    };
    let to = format!("oci:{}", s(&lab.dir.path().join("disk/to")));
    let image = lab.proxy.image("src/app:1");
    let pull = lab.command(&["pull", &image, &to]);
    let mut convert = lab.command(&["convert", &image, &to]);
    convert.args(["--no-cache", "--min-layer-size", "0"]);
    for command in [pull, convert] {
        let done = within(&lab, &command).refused();
        assert!(done.stderr.contains("No space left"), "{done}");
        assert_eq!(done.stderr.matches("error: ").count(), 1, "{done}");
        let said = done.text();
        assert!(!said.contains("index.json"), "{said}{done}");
    }
}
