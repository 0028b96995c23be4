//! What stands in `deploy/`, run as the systems run it that it is for. Their templates and schemas are checked in `deploy/tests`.

mod aws;
mod ci;
mod docs;
mod kubernetes;
mod steps;

use std::fs;
use std::path::PathBuf;

use sociable_tests::here;

/// A file or directory of `deploy/`.
fn deploy(path: &str) -> PathBuf {
    let project = here().parent().expect("the project");
    project.join("deploy").join(path)
}

/// The text of a file of `deploy/`.
fn text(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
}
