//! The pages of `deploy/`: their commands run, unless they say that they need an account or a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sociable_tests::{here, run, temp_dir};

/// The blocks of shell commands of a page, with what stands behind `sh`.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if inside && line == "```" {
            inside = false;
        } else if inside {
            let (_, block) = found.last_mut().expect("a block");
            block.push_str(line);
            block.push('\n');
        } else if let Some(rest) = line.strip_prefix("```sh") {
            found.push((rest.trim().to_owned(), String::new()));
            inside = true;
        }
    }
    found
}

fn pages(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
}

#[test]
fn the_commands_of_the_pages() {
    let project = here().join("..").canonicalize().expect("the project");
    let mut all = Vec::new();
    pages(&project.join("deploy"), &mut all);
    assert!(all.len() >= 6, "{all:?}");
    let mut ran = 0;
    for page in all {
        let dir = temp_dir();
        let text = fs::read_to_string(&page).expect("a page");
        std::os::unix::fs::symlink(project.join("deploy"), dir.path().join("deploy"))
            .expect("a link");
        let mut script = String::new();
        for (mark, block) in blocks(&text) {
            match &*mark {
                "" => script.push_str(&block),
                // Nobody but a reader can run these: they are shell at least.
                "account" | "cluster" => {
                    let checked = run(Command::new("bash").args(["-n", "-c", &block]));
                    assert_eq!(checked.code, Some(0), "{}: {checked}", page.display());
                }
                other => panic!(
                    "{}: a block of shell commands is marked {other:?}",
                    page.display()
                ),
            }
        }
        if !script.is_empty() {
            let done = run(Command::new("bash")
                .args(["-euc", &script])
                .current_dir(dir.path()));
            assert_eq!(done.code, Some(0), "{}: {done}", page.display());
            ran += 1;
        }
    }
    assert!(ran >= 2, "pages with commands that run: {ran}");
}
