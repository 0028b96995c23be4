//! The README's commands, run one after another as a reader would.

use std::fs;
use std::path::Path;
use std::process::Command;

use sociable_tests::console::commands;
use sociable_tests::rng::Rng;
use sociable_tests::{run, skip, sociable, temp_dir};

use crate::none;

/// What the README packs: some library of files, and a file that everybody knows.
fn rootfs(dir: &Path) {
    let mut rng = Rng::new(31);
    let library = dir.join("usr/lib/python3.11");
    fs::create_dir_all(&library).expect("a directory");
    fs::create_dir_all(dir.join("etc")).expect("a directory");
    fs::write(dir.join("etc/os-release"), "ID=example\n").expect("write a file");
    for n in 0..60 {
        let text = rng.text(300_000);
        fs::write(library.join(format!("module{n}.py")), text).expect("write a file");
    }
    // Ten megabytes that do not shrink: the layer is large enough for an index by default.
    fs::write(library.join("data.bin"), rng.noise(10 << 20)).expect("write a file");
    fs::write(library.join("this.py"), rng.text(3000)).expect("write a file");
}

#[test]
fn the_readmes_commands_work() {
    let binary = sociable([""; 0]).get_program().to_owned();
    let binary = Path::new(&binary).parent().expect("a directory").to_owned();
    let text = fs::read_to_string(sociable_tests::here().join("../README.md")).expect("README.md");
    assert!(!text.contains("@@"), "the README has gaps");
    let dir = temp_dir();
    rootfs(&dir.path().join("rootfs"));
    let path = format!(
        "{}:{}",
        binary.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let (mut wrong, commands) = (Vec::new(), commands(&text));
    assert!(
        commands.len() >= 8,
        "the README shows too few commands: {commands:?}"
    );
    for line in &commands {
        let mut words = line.split_whitespace();
        if !words.any(|word| word == "sociable") || line.contains("docker ") {
            skip(&format!("README: `{line}` needs more than sociable"));
            continue;
        }
        let mut shell = Command::new("sh");
        shell
            .args(["-ec", line])
            .current_dir(dir.path())
            .env("PATH", &path)
            .env("XDG_CACHE_HOME", dir.path().join("cache"));
        let done = run(&mut shell);
        if done.code != Some(0) {
            wrong.push(done.to_string());
        }
    }
    none(&wrong, commands.len());
}
