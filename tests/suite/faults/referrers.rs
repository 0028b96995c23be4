//! Indexes of generation 1: beside the image, with the referrers API or without; and commands on many images.

use std::io::Write as _;
use std::thread;

use serde_json::Value;
use sociable_tests::proxy::{Fault, Rule};
use sociable_tests::registry::{self, Kind};
use sociable_tests::run;

use super::Lab;
use crate::s;

impl Lab {
    /// `create` of an index beside the image, in place.
    fn create(&self, tool: &str) -> std::process::Command {
        let image = self.proxy.image("src/app:1");
        let mut command = self.command(&["create", &image, &image]);
        command.args(["--no-cache", "--min-layer-size", "0"]);
        command.args(["--build-tool-identifier", tool]);
        command
    }

    /// The tag that stands in for the referrers API.
    fn fallback(&self) -> String {
        let digest = self.result("src/app", "1").expect("the image");
        digest.replace(':', "-")
    }
}

#[test]
fn indexes_beside_the_image() {
    for kind in Kind::ALL {
        let Some(lab) = Lab::with("indexes_beside_the_image", kind, super::LARGE) else {
            return;
        };
        let before = lab.result("src/app", "1");
        let _ = run(&mut lab.create("a tool")).ok();
        assert_eq!(lab.result("src/app", "1"), before, "the image itself");
        let tags = registry::tags(lab.registry.address(), "src/app");
        let tagged = tags.contains(&lab.fallback());
        assert_eq!(tagged, kind == Kind::Distribution, "{kind:?}: {tags:?}");
        let shown = run(&mut lab.command(&["inspect", &lab.proxy.image("src/app:1")])).ok();
        assert!(!shown.text().contains("no SOCI index"), "{shown}");
        assert!(shown.text().contains("v1  sha256:"), "{shown}");

        // A copy brings it along; removing it leaves the image.
        let copy = lab.proxy.image("copied:1");
        let _ = run(&mut lab.command(&["copy", &lab.proxy.image("src/app:1"), &copy])).ok();
        let shown = run(&mut lab.command(&["inspect", &copy])).ok();
        assert!(!shown.text().contains("no SOCI index"), "{shown}");
        assert!(shown.text().contains("v1  sha256:"), "{shown}");
        assert_eq!(lab.result("copied", "1"), before);
        let _ = run(&mut lab.command(&["rm", "--index", &copy])).ok();
        let shown = run(&mut lab.command(&["inspect", &copy])).ok();
        assert!(shown.text().contains("no SOCI index"), "{shown}");
        assert_eq!(lab.result("copied", "1"), before);
    }
}

#[test]
fn eight_at_once() {
    let Some(lab) = Lab::new("eight_at_once") else {
        return;
    };
    thread::scope(|scope| {
        for n in 0..8 {
            let mut create = lab.create(&format!("tool {n}"));
            scope.spawn(move || drop(run(&mut create).ok()));
        }
    });
    let address = lab.registry.address();
    let (list, _) = registry::manifest(address, "src/app", &lab.fallback()).expect("a list");
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    let entries = list["manifests"].as_array().expect("entries");
    assert_eq!(entries.len(), 8, "{list:#}");
    let found = registry::complete(address, "src/app", &lab.fallback());
    assert!(found.is_ok(), "{found:?}");
}

#[test]
fn batches_go_on() {
    let Some(lab) = Lab::new("batches_go_on") else {
        return;
    };
    let list = lab.dir.path().join("list");
    let mut file = std::fs::File::create(&list).expect("a file");
    for (from, to) in [
        ("src/app:1", "x:1"),
        ("missing:1", "y:1"),
        ("src/app:1", "z:1"),
    ] {
        let (from, to) = (lab.proxy.image(from), lab.proxy.image(to));
        writeln!(file, "{from} {to}").expect("write a list");
    }
    let mut batch = lab.command(&["convert", "--batch", &s(&list), "--json"]);
    batch.args(["--no-cache", "--min-layer-size", "0"]);
    let done = run(&mut batch);
    assert_eq!(done.code, Some(1), "{done}");
    let lines: Vec<Value> = done
        .text()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
        .collect();
    assert_eq!(lines.len(), 3, "{done}");
    assert!(lab.result("x", "1").is_some() && lab.result("z", "1").is_some());
    assert_eq!(lab.result("y", "1"), None);
}

#[test]
fn tags_by_pattern() {
    let Some(lab) = Lab::new("tags_by_pattern") else {
        return;
    };
    for tag in ["v1.0", "v1.1", "v2.0"] {
        registry::push_layout(&lab.image, lab.registry.address(), "many", tag);
    }
    let pattern = lab.proxy.image("many:v1.*");
    let mut command = lab.command(&["convert", "--repository", &pattern]);
    command.args([
        "--tag-suffix",
        "-soci",
        "--no-cache",
        "--min-layer-size",
        "0",
    ]);
    let _ = run(&mut command).ok();
    assert_eq!(
        registry::tags(lab.registry.address(), "many"),
        ["v1.0", "v1.0-soci", "v1.1", "v1.1-soci", "v2.0"]
    );
    assert!(lab.result("many", "v1.1-soci").is_some());
}

#[test]
fn small_files_of_large_layers() {
    let Some(lab) = Lab::with("small_files", Kind::Distribution, 8 << 20) else {
        return;
    };
    let _ = run(lab.convert().args(["--span-size", "262144"])).ok();
    lab.proxy.forget();
    let cat = run(&mut lab.command(&["cat", &lab.dest(), "/small.txt"])).ok();
    assert_eq!(cat.stdout, lab.small);
    let log = lab.proxy.log();
    let down: u64 = log.iter().map(|e| e.down).sum();
    assert!(down < 4 << 20, "{down} bytes\n{log}");
}

#[test]
fn mirrors_first() {
    let Some(lab) = Lab::new("mirrors_first") else {
        return;
    };
    let mirror = sociable_tests::proxy::Proxy::start(lab.registry.address());
    let named = format!("{}={}", lab.proxy.address(), mirror.address());
    let pull = |name: &str| {
        let to = format!("oci:{}", s(&lab.dir.path().join(name)));
        let mut command = lab.command(&["pull", &lab.proxy.image("src/app:1"), &to]);
        command.args(["--mirror", &named, "--plain-http", mirror.address()]);
        run(command.args(["--retries", "1"])).ok()
    };
    let _ = pull("from-mirror");
    assert!(mirror.log().count("GET", &lab.layer(0)) > 0);
    assert_eq!(
        lab.proxy.log().count("GET", "/blobs/"),
        0,
        "{}",
        lab.proxy.log()
    );
    mirror.add(Rule::on("*", "/v2/").does(Fault::status(500)));
    let _ = pull("from-registry");
    assert!(lab.proxy.log().count("GET", &lab.layer(0)) > 0);
}
